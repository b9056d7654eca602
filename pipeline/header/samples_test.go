package header

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

const shared = "../../../shared"

// The captures of real daemons, in three patterns that say what a header is without any care for speed.
var (
	ietf  = regexp.MustCompile(`(?s)^<(\d+)>1 (\S+) (\S+) (\S+) (\S+) \S+ (?:-|(?:\[(?:[^"\]]|"(?:\\.|[^"\\])*")*\])+)(?:  ?(.*?))?[\n\x00]*$`)
	local = regexp.MustCompile(`(?s)^<(\d+)>(\w\w\w [ \d]\d \d\d:\d\d:\d\d) ( ?)([^\s:\[]+)(?:\[(\d+)\])?: (.*?)[\n\x00]*$`)
	hosts = regexp.MustCompile(`(?s)^<(\d+)>(\w\w\w [ \d]\d \d\d:\d\d:\d\d) (\S+) ([^\s:\[]+)(?:\[(\d+)\])?: (.*?)[\n\x00]*$`)
)

func TestSamples(t *testing.T) {
	files, err := filepath.Glob(shared + "/samples/*.raw")
	if err != nil || len(files) == 0 {
		t.Skip("skipped: the shared captures are not here; testdata/captures.jsonl stands for them")
	}
	n := 0
	for _, name := range files {
		for _, raw := range frames(t, name) {
			n++
			checkSample(t, filepath.Base(name), raw)
		}
	}
	t.Logf("%d messages", n)
	if n < 2500 {
		t.Errorf("samples: got %d messages, want all 2500 and more", n)
	}
}

func checkSample(t *testing.T, name string, raw []byte) {
	t.Helper()
	var want []string
	for _, pattern := range []*regexp.Regexp{ietf, local, hosts} {
		if want = pattern.FindStringSubmatch(string(raw)); want != nil {
			break
		}
	}
	if want == nil {
		t.Errorf("%s: no pattern for %q", name, raw)
		return
	}
	for i := range want {
		if want[i] == "-" || want[i] == " " {
			want[i] = ""
		}
	}
	m := event.Message{Raw: raw}
	if !Parse(&m) {
		t.Errorf("%s: %q is malformed", name, raw)
	}
	pri := strconv.Itoa(int(m.Facility)*8 + int(m.Severity))
	got := []string{pri, string(m.Host), string(m.Program), string(m.PID), string(m.Text)}
	want = append(want[1:2], want[3:]...)
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("%s: %q: got %q, want %q", name, raw, got, want)
	}
}

// frames returns the messages of a capture: each datagram, or the frames of a stream.
func frames(t *testing.T, name string) [][]byte {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(name, "relp") { // not syslog's own framing
		return nil
	}
	boxes := regexp.MustCompile(`\.(udp|devlog|error|access|haproxy|rfc)`).MatchString(filepath.Base(name))
	if lines, err := os.ReadFile(strings.TrimSuffix(name, ".raw") + ".jsonl"); boxes && err == nil {
		return datagrams(t, lines)
	}
	var list [][]byte
	for len(raw) > 0 {
		n := bytes.IndexByte(raw, '\n') + 1
		if head, rest, ok := bytes.Cut(raw, []byte(" ")); ok && raw[0] != '<' {
			if count, err := strconv.Atoi(string(head)); err == nil {
				raw, n = rest, count
			}
		}
		if n <= 0 || n > len(raw) {
			n = len(raw)
		}
		list, raw = append(list, raw[:n:n]), raw[n:]
	}
	return list
}

func datagrams(t *testing.T, lines []byte) [][]byte {
	t.Helper()
	var list [][]byte
	for d := json.NewDecoder(bytes.NewReader(lines)); d.More(); {
		var one struct{ S string }
		if err := d.Decode(&one); err != nil {
			t.Fatal(err)
		}
		list = append(list, []byte(one.S))
	}
	return list
}
