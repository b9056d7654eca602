package configs

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rapsheet/rapsheet/configs/value"
	"github.com/rapsheet/rapsheet/pipeline/event"
	"github.com/rapsheet/rapsheet/pipeline/filter"
)

// host makes a configuration folder: name, content, name, content.
func host(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		name := filepath.Join(dir, files[i])
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(files[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// mistakes loads one file and compares what is wrong with it, below the name of the folder.
func mistakes(t *testing.T, got value.Errors, dir string, want ...string) {
	t.Helper()
	var lines []string
	for _, e := range got {
		lines = append(lines, strings.ReplaceAll(e.Error(), dir+"/", ""))
	}
	if g, w := strings.Join(lines, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("mistakes:\n got %s\nwant %s", g, w)
	}
}

// The defaults are the design's, to the letter.
func TestDefaults(t *testing.T) {
	r := Load(Options{Dir: t.TempDir()})
	mistakes(t, r.Errors, "")
	mistakes(t, r.Warnings, "")
	if r.Fatal || len(r.Files) != 0 {
		t.Errorf("got fatal %v, files %v, want none", r.Fatal, r.Files)
	}
	const day = 24 * time.Hour
	failure, ipset := []event.Kind{event.Failure}, []string{"ipset"}
	ban := func(d time.Duration) []time.Duration { return []time.Duration{d} }
	want := []*event.Jail{
		{Name: "mail", Filters: []string{"dovecot", "postfix"}, Count: failure, Sinks: ipset, Untrusted: day, Tiers: []event.Tier{
			{MaxRetry: 10, FindTime: 10 * time.Minute, BanTime: ban(10 * time.Minute), Ports: []uint16{25, 110, 143, 465, 587, 993, 995, 4190}},
			{Users: 10, FindTime: day, BanTime: ban(365 * day)},
		}},
		{Name: "ssh", Filters: []string{"ssh"}, Count: failure, Sinks: ipset, Untrusted: day, Tiers: []event.Tier{
			{MaxRetry: 7, FindTime: 10 * time.Minute, BanTime: ban(10 * time.Minute), Ports: []uint16{22}},
			{MaxRetry: 21, FindTime: 365 * day, BanTime: ban(365 * day)},
		}},
		{Name: "wordpress", Filters: []string{"wordpress"}, Count: failure, Sinks: ipset, Untrusted: day, Tiers: []event.Tier{
			{MaxRetry: 7, FindTime: 10 * time.Minute, BanTime: ban(10 * time.Minute), Ports: []uint16{80, 443}},
			{MaxRetry: 35, FindTime: 365 * day, BanTime: ban(365 * day)},
		}},
	}
	got := r.Config.EventJails()
	for i := range want {
		if i >= len(got) || !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("jail %s: got %+v, want %+v", want[i].Name, got[min(i, len(got)-1)], want[i])
		}
	}
	f := func(what string, got, want any) {
		t.Helper()
		if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
			t.Errorf("%s: got %s, want %s", what, g, w)
		}
	}
	c := r.Config
	f("mode", c.Mode, "enforce")
	f("log", c.Log, "info")
	f("listeners", []string{c.Listen[0].ID(), c.Listen[1].ID(), c.Listen[2].ID()},
		"[unix /run/rapsheet/log tcp 127.0.0.1:5514 udp 127.0.0.1:5514]")
	f("state", c.Store.State, "/var/lib/rapsheet")
	f("min_free", c.Store.MinFree, "64MiB")
	f("socket", c.Web.Socket, "/run/rapsheet/rapsheet.sock")
	f("maxelem", c.Sinks.IPSet.MaxElem, 131072)
	f("a default's place", c.Mode.At(), value.Pos{})
	f("a jail's place", c.Jails["ssh"].Pos, value.Pos{})
}

func TestOverlayOrder(t *testing.T) {
	dir := host(t,
		"rapsheet.yaml", "mode: observe\nlog: warn\njails:\n  ssh:\n    count: [failure, probe]\n  mail: off\n",
		"conf.d/20-b.yaml", "log: error\n",
		"conf.d/10-a.yaml", "log: debug\nlisten: {tcp: 127.0.0.1:6514}\njails: {wordpress: false}\n",
		"conf.d/.hidden.yaml", "nonsense",
		"conf.d/30-c.yaml.bak", "nonsense",
		"conf.d/30-c.yml", "nonsense")
	r := Load(Options{Dir: dir})
	mistakes(t, r.Errors, dir)
	mistakes(t, r.Warnings, dir, "conf.d/30-c.yml: not read (name it .yaml)")
	c := r.Config
	if c.Mode.S != "observe" || !c.Observe() || c.Log.S != "error" || len(c.Listen) != 1 {
		t.Errorf("got mode %s, log %s, %d listeners, want observe, error, 1", c.Mode, c.Log, len(c.Listen))
	}
	if got := keys(c.Jails); !slices.Equal(got, []string{"ssh"}) {
		t.Errorf("jails: got %v, want ssh alone", got)
	}
	if j := c.Jails["ssh"]; len(j.Count) != 2 || len(j.Tiers) != 2 || j.Pos.Line != 4 {
		t.Errorf("ssh: got count %v, %d tiers, at %s, want two kinds over the default tiers", j.Count, len(j.Tiers), j.Pos)
	}
	want := []string{dir + "/rapsheet.yaml", dir + "/conf.d/10-a.yaml", dir + "/conf.d/20-b.yaml"}
	if !slices.Equal(r.Files, want) {
		t.Errorf("files: got %v, want %v", r.Files, want)
	}
}

func TestFileInstead(t *testing.T) {
	dir := host(t, "rapsheet.yaml", "log: warn\n", "other.yaml", "mode: observe\n")
	r := Load(Options{Dir: dir, File: filepath.Join(dir, "other.yaml")})
	if r.Errors != nil || r.Config.Log.S != "info" || r.Config.Mode.S != "observe" {
		t.Errorf("got %v, log %s, mode %s, want none, info, observe", r.Errors, r.Config.Log, r.Config.Mode)
	}
	r = Load(Options{Dir: dir, File: filepath.Join(dir, "gone.yaml")})
	mistakes(t, r.Errors, dir, "gone.yaml: no such file or directory")
	if !r.Fatal || len(r.Config.Jails) != 3 {
		t.Errorf("file that is not there: got fatal %v, %d jails, want true and the defaults", r.Fatal, len(r.Config.Jails))
	}
}

// The story of the issue: three mistakes in one file are three errors, each with its place.
func TestThreeMistakes(t *testing.T) {
	dir := host(t, "rapsheet.yaml", `jails:
  ssh:
    tiers:
      - {maxretires: 7, findtime: 10m, bantime: 10m}
      - {maxretry: 21, findtime: 1 year, bantime: 1y}
listen:
  - tcpp: 127.0.0.1:5514
`)
	r := Load(Options{Dir: dir})
	mistakes(t, r.Errors, dir,
		"rapsheet.yaml:4:10: unknown key maxretires (did you mean maxretry?)",
		`rapsheet.yaml:5:34: findtime: "1 year" has no unit "": use s, m, h, d, w, mo, y`,
		"rapsheet.yaml:7:5: unknown key tcpp (did you mean tcp?)")
	const want = `    4 |       - {maxretires: 7, findtime: 10m, bantime: 10m}
      |          ^`
	if got := r.Errors[0].Excerpt; got != want {
		t.Errorf("excerpt:\n got %s\nwant %s", got, want)
	}
	if !r.Fatal {
		t.Error("a bad listener: got not fatal, want fatal")
	}
}

func TestOneBadJailCostsItself(t *testing.T) {
	dir := host(t, "rapsheet.yaml", `jails:
  ssh:
    tiers: [{maxretry: 0, findtime: 10m, bantime: 10m}]
  web:
    filters: [wordpres]
    tiers: [{maxretry: 5, findtime: 10m, bantime: 10m}]
  mial: off
`)
	r := Load(Options{Dir: dir})
	mistakes(t, r.Errors, dir,
		"rapsheet.yaml:3:24: maxretry is from 1 to 1000",
		"rapsheet.yaml:5:15: no filter wordpres (did you mean wordpress?)")
	mistakes(t, r.Warnings, dir, "rapsheet.yaml:7:3: there is no jail mial to switch off (did you mean mail?)")
	if got := keys(r.Config.Jails); r.Fatal || !slices.Equal(got, []string{"mail", "wordpress"}) {
		t.Errorf("got fatal %v, jails %v, want mail and wordpress to start", r.Fatal, got)
	}
}

func TestSyntaxErrorIsFatal(t *testing.T) {
	dir := host(t, "rapsheet.yaml", "mode: [enforce\n", "conf.d/a.yaml", "- mode: observe\n", "conf.d/b.yaml", "lgo: warn\n")
	r := Load(Options{Dir: dir})
	mistakes(t, r.Errors, dir, "rapsheet.yaml:1:7: sequence end token ']' not found",
		"conf.d/a.yaml:1:1: a configuration is a map, not a list", "conf.d/b.yaml:1:1: unknown key lgo (did you mean log?)")
	if !r.Fatal {
		t.Error("got not fatal, want fatal")
	}
}

func TestFilters(t *testing.T) {
	const good = "service: %s\nprograms: [x]\nrules:\n  - failure: \"no <user> from <addr>\"\n"
	dir := host(t,
		"rapsheet.yaml", "jails: {my: {filters: my, tiers: {maxretry: 3, findtime: 1h, bantime: [1h, 1d]}}}\n",
		"filters/my.yaml", fmt.Sprintf(good, "my"),
		"filters/again.yaml", fmt.Sprintf(good, "my"),
		"filters/dovecot.yaml", fmt.Sprintf(good, "dovecot"),
		"filters/ssh.yaml", "service: ssh\nrulez: []\n",
		"filters/unused.yaml", fmt.Sprintf(good, "unused"),
		"filters/empty.yaml", "",
		"filters/README.md", "no filter")
	r := Load(Options{Dir: dir})
	mistakes(t, r.Errors, dir,
		"filters/empty.yaml: filter is empty",
		"filters/my.yaml:1:10: service my stands already in filters/again.yaml",
		"filters/ssh.yaml:2:1: unknown key rulez (did you mean rules?)")
	mistakes(t, r.Warnings, dir,
		"filters/ssh.yaml: the built-in filter is used instead",
		"filters/unused.yaml:1:10: no jail uses filter unused (name it in a jail's filters)")
	if r.Fatal || r.Config.Jails["my"] == nil || r.Config.Jails["ssh"] == nil {
		t.Errorf("got fatal %v, jails %v, want my and ssh among them", r.Fatal, keys(r.Config.Jails))
	}
	places := map[string]string{}
	for _, f := range r.Filters {
		places[f.Service.S] = strings.TrimPrefix(f.Service.File, dir+"/")
	}
	for service, want := range map[string]string{"my": "filters/again.yaml", "dovecot": "filters/dovecot.yaml", "ssh": "built-in/filters/ssh.yaml"} {
		if got := places[service]; got != want {
			t.Errorf("filter %s: got %s, want %s", service, got, want)
		}
	}
}

func TestFiltersFolder(t *testing.T) {
	dir := host(t, "rapsheet.yaml", "filters: mine\n",
		"mine/zz.yaml", "service: zz\nprograms: [zz]\nrules: [{failure: \"no <user> from <addr>\"}]\n")
	r := Load(Options{Dir: dir})
	mistakes(t, r.Errors, dir)
	if !slices.ContainsFunc(r.Filters, func(f filter.Config) bool { return f.Service.S == "zz" }) {
		t.Error("a folder beside the file: got no filter zz")
	}
}

func TestUntrusted(t *testing.T) {
	f := func(listen string, want time.Duration) {
		t.Helper()
		r := Load(Options{Dir: host(t, "rapsheet.yaml", "listen: "+listen+"\n")})
		if r.Errors != nil {
			t.Fatal(r.Errors)
		}
		for _, j := range r.Config.EventJails() {
			if j.Untrusted != want {
				t.Errorf("%s: got %v, want %v", listen, j.Untrusted, want)
			}
		}
	}
	f("[{tcp: 127.0.0.1:1}]", 24*time.Hour)
	f("[{udp: 127.0.0.1:1, max_bantime: 1h}, {udp: 127.0.0.1:2}, {tcp: 127.0.0.1:1, max_bantime: 1m}]", time.Hour)
	f("[{udp: 127.0.0.1:1, max_bantime: 2d}, {tcp: 127.0.0.1:1, trusted: false, max_bantime: 3d}]", 48*time.Hour)
}

func TestWritableFileIsToldOf(t *testing.T) {
	dir := host(t, "rapsheet.yaml", "log: info\n")
	if err := os.Chmod(filepath.Join(dir, "rapsheet.yaml"), 0o666); err != nil {
		t.Fatal(err)
	}
	r := Load(Options{Dir: dir})
	mistakes(t, r.Warnings, dir, "rapsheet.yaml: every account may write this file (chmod o-w)")
}

// What is no file, and what no person wrote, is refused at once.
func TestStrangeFiles(t *testing.T) {
	f := func(name, want string, make func(path string) error) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "c.yaml")
		if err := make(path); err != nil {
			t.Fatal(err)
		}
		r := Load(Options{File: path})
		if !r.Fatal || !strings.Contains(r.Errors.Error(), want) {
			t.Errorf("%s: got %v, want %q", name, r.Errors, want)
		}
	}
	f("a pipe", "not a regular file", func(path string) error { return syscall.Mkfifo(path, 0o600) })
	f("a device", "not a regular file", func(path string) error { return os.Symlink("/dev/zero", path) })
	f("a folder", "not a regular file", func(path string) error { return os.Mkdir(path, 0o700) })
	f("deep brackets", "nested deeper", func(path string) error {
		return os.WriteFile(path, bytes.Repeat([]byte("["), 200_000), 0o600)
	})
	f("a huge file", "larger than", func(path string) error { return os.WriteFile(path, make([]byte, maxFile+1), 0o600) })
}
