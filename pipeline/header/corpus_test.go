package header

import (
	"encoding/json"
	"os"
	"slices"
	"testing"
)

// The corpus says of log file lines which program wrote them, as best its makers could tell: lines without a header have
// a tag or none, and some tags are a word of the text. So only the services that matter most must agree, but for those.
func TestCorpus(t *testing.T) {
	file, err := os.Open(shared + "/corpus/dev.jsonl")
	if err != nil {
		t.Skip("skipped: the shared corpus is not here")
	}
	defer file.Close()
	lines, wrong := 0, 0
	for d := json.NewDecoder(file); d.More(); {
		var c struct {
			Service, Line string
			Tag           *string
		}
		if err := d.Decode(&c); err != nil {
			t.Fatal(err)
		}
		want := ""
		if c.Tag != nil {
			want = *c.Tag
		}
		lines++
		if m, _ := parse(c.Line); string(m.Program) != want {
			wrong++
			say := t.Logf
			main := slices.Contains([]string{"sshd", "wordpress", "dovecot", "postfix"}, c.Service)
			if main && want != "" && !slices.Contains([]string{"Info", "Invalid", "password"}, want) {
				say = t.Errorf
			}
			say("%s: got %q, tag %q: %.140s", c.Service, m.Program, want, c.Line)
		}
	}
	t.Logf("%d of %d lines differ", wrong, lines)
}
