package configs

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const whole = `mode: observe
allow: [198.51.100.10, home.example.net, "file:/etc/rapsheet/allow.txt"]
proxies: cloudflare
nat64: 2001:db8:64::/96
admins: [alice, "1000"]
listen:
  - unix: /run/rapsheet/log
    mode: 0660
    uids: [www-data]
  - {name: "web 2", tcp: "192.0.2.1:5514", senders: [192.0.2.2, 2001:db8::2], max_line: 16KiB}
jails:
  mail: off
  ssh:
    count: [failure, probe]
  web-2:
    filters: all
    mode: enforce
    sinks: []
    tiers:
      - {maxretry: 5, findtime: 90m, bantime: [10m, 1d, permanent], jitter: 5%, ports: [8080, web]}
      - {strikes: 3, findtime: 1y, bantime: 1y}
`

func effective(t *testing.T, r *Result) string {
	t.Helper()
	var b strings.Builder
	if err := r.Effective(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// What Effective writes means the same, and says where everything comes from.
func TestEffective(t *testing.T) {
	dir := host(t, "rapsheet.yaml", whole)
	r := Load(Options{Dir: dir})
	if r.Errors != nil {
		t.Fatal(r.Errors)
	}
	text := effective(t, r)
	f := func(value, origin string) {
		t.Helper()
		for line := range strings.Lines(text) {
			if strings.HasPrefix(strings.TrimSpace(line), value) {
				_, got, _ := strings.Cut(strings.TrimSpace(line), "  # ")
				if got = strings.TrimPrefix(got, dir+"/"); got != origin {
					t.Errorf("%s: origin: got %q, want %q", value, got, origin)
				}
				return
			}
		}
		t.Errorf("%s: not in\n%s", value, text)
	}
	f("mode: observe", "rapsheet.yaml:1")
	f("log: info", "default")
	f("allow: [198.51.100.10, home.example.net, file:/etc/rapsheet/allow.txt]", "rapsheet.yaml:2")
	f("proxies: [cloudflare]", "rapsheet.yaml:3")
	f("ban_private: false", "default")
	f("- name: unix /run/rapsheet/log", "default")
	f("mode: 0660", "rapsheet.yaml:8")
	f("senders: [192.0.2.2, 2001:db8::2]", "rapsheet.yaml:10")
	f("buffer: 8MiB", "default")
	f("count: [failure, probe]", "rapsheet.yaml:14")
	f("filters: [ssh]", "default")
	f("bantime: [10m, 1d, permanent]", "rapsheet.yaml:20")
	f("jitter: 0.05", "rapsheet.yaml:20")
	f("sinks: []", "rapsheet.yaml:18")
	f("maxelem: 131072", "default")
	if strings.Contains(text, "mail:") {
		t.Errorf("a jail that is off: got it in\n%s", text)
	}

	again := Load(Options{Dir: host(t, "rapsheet.yaml", text+"\n")})
	if again.Errors != nil {
		t.Fatalf("read again: %v\n%s", again.Errors, text)
	}
	delete(again.Config.Jails, "mail")      // the defaults lie below again
	delete(again.Config.Jails, "wordpress") // and its origin is a file now
	delete(r.Config.Jails, "wordpress")
	if got, want := again.Config.EventJails(), r.Config.EventJails(); !reflect.DeepEqual(got, want) {
		t.Errorf("jails read again: got %+v, want %+v", got, want)
	}
	if got, want := bare(effective(t, again)), bare(effective(t, r)); got != want {
		t.Errorf("read again:\n got %s\nwant %s", got, want)
	}
}

// bare is the text without its origins.
func bare(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		line, _, _ = strings.Cut(line, "  # ")
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return b.String()
}

func TestEffectiveDefaults(t *testing.T) {
	r := Load(Options{Dir: t.TempDir()})
	for line := range strings.Lines(effective(t, r)) {
		line = strings.TrimSuffix(line, "\n")
		if !strings.HasSuffix(line, ":") && !strings.HasSuffix(line, "  # default") {
			t.Errorf("got %q, want a default", line)
		}
	}
}

func TestQuote(t *testing.T) {
	words := []string{"", "a", "a b", "a: b", "off", "null", "~", "- a", "#a", "a #b", "a,b", "[::1]:5514", "::1", "2001:db8::", "2001:db8::/32",
		"&a", "*a", "!a", "'a'", `"a"`, `\`, "a\nb", "\x1b[31m", "é", "0600", "1_000", "%a", "@a", "`a`", "?", "a:", "{a}", "|", ">", "true", "x\u202e"}
	var src strings.Builder
	for _, w := range words {
		src.WriteString("- " + quote(w) + "\n")
	}
	src.WriteString("- [")
	for _, w := range words {
		src.WriteString(quote(w) + ", ")
	}
	src.WriteString("end]\n- {k: [")
	for _, w := range words {
		src.WriteString(quote(w) + ", ")
	}
	src.WriteString("end]}\n")
	d := decoder{}
	n := parse("t.yaml", []byte(src.String()), false, &d.errs)
	if d.errs != nil {
		t.Fatal(d.errs)
	}
	for i, w := range words {
		for _, got := range []*node{n.list[i], n.list[len(words)].list[i], n.list[len(words)+1].get("k").list[i]} {
			if got.kind != scalar || got.text != w {
				t.Errorf("%q: written %s, read %s %q", w, quote(w), got.kind, got.text)
			}
		}
	}
}

// The configuration that the design shows must load; the sink that is not there yet is only told of.
func TestScreens(t *testing.T) {
	src, err := os.ReadFile(filepath.Join("..", "..", "shared", "screens.md"))
	if err != nil {
		t.Skip("no ../shared beside the repository: the design's screens are not there to be read")
	}
	blocks := codeBlocks(string(src), "yaml")
	if len(blocks) != 1 {
		t.Fatalf("screens.md: got %d blocks of yaml, want 1", len(blocks))
	}
	dir := host(t, "rapsheet.yaml", blocks[0])
	r := Load(Options{Dir: dir})
	mistakes(t, r.Errors, dir)
	mistakes(t, r.Warnings, dir, "rapsheet.yaml:9:20: this version has no sink mail: it is left out")
	defaults := Load(Options{Dir: t.TempDir()})
	if got, want := r.Config.EventJails(), defaults.Config.EventJails(); !reflect.DeepEqual(got, want) {
		t.Errorf("its jails are the defaults: got %+v, want %+v", got, want)
	}
}

// codeBlocks returns the fenced blocks of a language.
func codeBlocks(src, language string) []string {
	var blocks []string
	for _, part := range strings.Split(src, "\n```"+language+"\n")[1:] {
		body, _, _ := strings.Cut(part, "\n```")
		blocks = append(blocks, body+"\n")
	}
	return blocks
}
