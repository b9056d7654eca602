package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rapsheet/rapsheet/configs"
	"github.com/rapsheet/rapsheet/integration/lab"
)

// How a command of the documentation is tested.
type how int

const (
	unknown how = iota
	here        // run as it stands, by any account; it must succeed
	host        // run in a host of the lab beside a daemon; it must succeed, or say that it found nothing
	parse       // its sub-command and flags exist; why it is not run stands beside it
	paths       // what it names in the repository is there
	never       // only read
)

// The first line that matches a command decides. sudo is taken off before.
var commands = []struct {
	pattern string
	how     how
	why     string
}{
	{`^go run \./cmd/rapsheet demo$|^rapsheet demo$`, parse, "has a test of its own, which looks at the host's ruleset too"},
	{`^go test \./\.\.\.$`, never, "is what runs this test"},
	{`^(go run \./cmd/)?rapsheet (version|check|help|completion)\b`, here, ""},
	{`^(go run \./cmd/)?rapsheet( [a-z]+)? --help$`, here, ""},
	{`^(echo .* \| )?rapsheet test (--[a-z]+( ssh[a-z]*)? )*('|"|-$)`, here, ""},
	{`^rapsheet run\b`, parse, "does not end; the daemon in the lab's host is one"},
	{`^rapsheet (test|status|list|show|ban|unban|arm|disarm)\b`, host, ""},
	{`^(cp|install|ln) `, paths, "writes to the machine"},
	{`^just( [a-z]+)?$`, paths, "its recipes run what CI runs"},
	{`^(apt|apt-get|dnf|apk|pacman) `, never, "changes the machine; .ci/run does it"},
	{`^(go build|go install|CGO_ENABLED=0 go build) `, never, "every story builds the command"},
	{`^(go test|RAPSHEET_[A-Z_]+=1 go test) `, never, "runs a part of what runs this test"},
	{`^(systemctl|systemd-[a-z]+|journalctl|rc-service|service) `, never, "the lab's hosts have no systemd"},
	{`^(mkdir|tee|chmod|chown|useradd|adduser|usermod|touch|rm) `, never, "writes to the machine"},
	{`^(nft|ipset|iptables|modprobe|sysctl|semanage|setcap) `, never, "changes the machine's kernel"},
	{`^(logger|ssh|tail|less|cat|curl|git clone|cd|jq|nc|watch|man|grep) ?`, never, "not ours"},
}

func TestCommandsInTheDocumentation(t *testing.T) {
	bin := lab.Build(t)
	all := files(t)
	var readme []string
	for _, c := range documented(all) {
		if c.file == "README.md" {
			readme = append(readme, c.text)
		}
		switch text := c.text; c.how() {
		case unknown:
			t.Errorf("%s:%d: %s: run it, or say why not: no line in the table of commands covers it", c.file, c.line, text)
		case here:
			cmd := exec.Command("/bin/sh", "-c", text)
			cmd.Dir = lab.Root(t)
			cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(bin)+":"+os.Getenv("PATH"))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s:%d: %s: %v\n%s", c.file, c.line, text, err, out)
			}
			c.exists(t, bin)
		case host, parse:
			c.exists(t, bin)
		case paths:
			c.namesFiles(t, all)
		}
	}
	for _, want := range []string{"go run ./cmd/rapsheet demo", "go test ./..."} {
		if !slices.Contains(readme, want) {
			t.Errorf("README.md: no block of commands holds %q", want)
		}
	}
}

// The README names every sub-command, and those that need nothing work from a checkout.
func TestCommandsAreInTheReadme(t *testing.T) {
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("go", append([]string{"run", "./cmd/rapsheet"}, args...)...)
		cmd.Dir = lab.Root(t)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("rapsheet %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	if out := run("version"); !strings.HasPrefix(out, "rapsheet ") {
		t.Errorf("version: got %q, want rapsheet and its version", out)
	}
	run("check")
	readme := files(t)["README.md"]
	_, list, _ := strings.Cut(run("--help"), "Available Commands:\n")
	list, _, _ = strings.Cut(list, "\n\n")
	n := 0
	for l := range strings.Lines(list) {
		name := strings.Fields(l)[0]
		if name == "help" || name == "completion" { // the library's
			continue
		}
		n++
		if !regexp.MustCompile("`" + name + "[` ]").MatchString(readme) {
			t.Errorf("README.md: nothing of rapsheet %s", name)
		}
	}
	if n < 12 {
		t.Errorf("sub-commands: got %d, want 12 or more in %q", n, list)
	}
}

// What the documentation types on a protected host, in its order, on one.
func TestCommandsInTheDocumentationOnAHost(t *testing.T) {
	lab.NeedRoot(t)
	bin := lab.Build(t)
	l := lab.Up(t, lab.Srv)
	srv := l.Host("srv")
	srv.WriteFile("/var/log/auth.log", "Nov 22 13:25:06 srv sshd[77]: Failed password for root from 203.0.113.7 port 4711 ssh2\n")
	d := srv.Rapsheet(bin, "mode: enforce\n")
	for _, c := range documented(files(t)) {
		if c.how() != host {
			continue
		}
		out, code := srv.CLI("/bin/sh", "-c", "PATH="+filepath.Dir(bin)+":$PATH; "+c.text)
		if code != 0 && code != 3 {
			t.Errorf("%s:%d: %s: exit code %d, want 0, or 3 for not found\n%s", c.file, c.line, c.text, code, out)
		}
	}
	d.Stop()
}

// A command is one line of a block of commands.
type command struct {
	file string
	line int
	text string // without sudo and comment
}

func (c command) how() how {
	for _, row := range commands {
		if regexp.MustCompile(row.pattern).MatchString(c.text) {
			return row.how
		}
	}
	return unknown
}

// exists asks the binary whether it has the sub-command and the flags.
func (c command) exists(t *testing.T, bin string) {
	t.Helper()
	_, text, ours := strings.Cut(c.text, "rapsheet ")
	if !ours || strings.ContainsAny(text, "|<>;&") {
		return
	}
	args := words(text)
	out, err := exec.Command(bin, append(args, "--help")...).CombinedOutput()
	if usage := "rapsheet " + args[0]; err != nil || !strings.HasPrefix(args[0], "-") && args[0] != "help" && !strings.Contains(string(out), usage) {
		t.Errorf("%s:%d: %s: no such sub-command or flag (%v)\n%s", c.file, c.line, c.text, err, out)
	}
}

// namesFiles checks that the files and recipes a command names are in the repository. What a build makes is not.
func (c command) namesFiles(t *testing.T, all map[string]string) {
	t.Helper()
	args := words(c.text)
	for _, arg := range args[1:] {
		_, found := all[arg]
		switch {
		case args[0] == "just":
			if !slices.Contains(recipes(all["Justfile"]), arg) {
				t.Errorf("%s:%d: %s: the Justfile has no recipe %s", c.file, c.line, c.text, arg)
			}
		case strings.Contains(arg, "/") && !filepath.IsAbs(arg) && !strings.HasPrefix(arg, "dist/") && !found:
			t.Errorf("%s:%d: %s: there is no file %s", c.file, c.line, c.text, arg)
		}
	}
}

// documented returns the commands of README.md and docs, in order of file and line.
func documented(all map[string]string) []command {
	var list []command
	for _, b := range blocks(all) {
		if lang, _, _ := strings.Cut(b.info, " "); !slices.Contains([]string{"sh", "bash", "shell", "console"}, lang) {
			continue
		}
		text, heredoc := "", ""
		for i, l := range strings.Split(b.text, "\n") {
			if heredoc != "" {
				if strings.TrimSpace(l) == heredoc {
					heredoc = ""
				}
				continue
			}
			text += strings.TrimSpace(comment.ReplaceAllString(l, ""))
			if s, more := strings.CutSuffix(text, `\`); more {
				text = s
				continue
			}
			text = strings.TrimPrefix(strings.TrimPrefix(text, "$ "), "sudo ")
			if text != "" {
				list = append(list, command{b.file, b.line + 1 + i, text})
			}
			if m := heredocs.FindStringSubmatch(text); m != nil {
				heredoc = m[1]
			}
			text = ""
		}
	}
	return list
}

var (
	comment  = regexp.MustCompile(`(^|\s+)#\s.*$`)
	heredocs = regexp.MustCompile(`<<-?\s*['"]?([A-Z]+)['"]?`)
)

func TestDocumented(t *testing.T) {
	f := func(doc string, want ...string) {
		t.Helper()
		var got []string
		for _, c := range documented(map[string]string{"README.md": doc}) {
			got = append(got, c.text)
		}
		if !slices.Equal(got, want) {
			t.Errorf("commands in %q: got %q, want %q", doc, got, want)
		}
	}
	f("```\nno commands\n```\n\n```sh\nsudo rapsheet arm   # now\n\n# not this\n$ rapsheet show \\\n  203.0.113.7\n```\n", "rapsheet arm", "rapsheet show 203.0.113.7")
	f("```sh\ncat >x <<'EOF'\nrapsheet run\nEOF\nrapsheet list\n```\n", "cat >x <<'EOF'", "rapsheet list")
	f("text `rapsheet list`\n")
}

// Every example of a configuration in the documentation is right, and those that are shown as wrong are.
func TestConfigurationInTheDocumentation(t *testing.T) {
	n := 0
	for _, b := range blocks(files(t)) {
		lang, kind, _ := strings.Cut(b.info, " ")
		if lang != "yaml" {
			continue
		}
		n++
		dir := t.TempDir()
		name := "rapsheet.yaml"
		if strings.HasPrefix(b.text, "service:") {
			name = "filters/documented.yaml"
		}
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(b.text), 0o644); err != nil {
			t.Fatal(err)
		}
		errs := configs.Load(configs.Options{Dir: dir}).Errors
		if wrong := kind == "wrong"; wrong != (len(errs) > 0) {
			t.Errorf("%s:%d: configuration: got %d mistakes, shown as wrong: %t: %v", b.file, b.line, len(errs), wrong, errs)
		}
	}
	if n == 0 {
		t.Error("the documentation has no configuration")
	}
}

// A block is what stands between two fences.
type block struct {
	file string
	line int // of the opening fence
	info string
	text string
}

// blocks returns the fenced blocks of README.md and docs, in order of file and line.
func blocks(all map[string]string) []block {
	var names []string
	for name := range all {
		if name == "README.md" || strings.HasPrefix(name, "docs/") && filepath.Ext(name) == ".md" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	fence := regexp.MustCompile("(?ms)^[ \t]*```([^\n`]*)\n(.*?)^[ \t]*```[ \t]*$")
	var list []block
	for _, name := range names {
		text := all[name]
		for _, m := range fence.FindAllStringSubmatchIndex(text, -1) {
			list = append(list, block{name, line(text, m[0]), strings.TrimSpace(text[m[2]:m[3]]), text[m[4]:m[5]]})
		}
	}
	return list
}

// words splits a command line at its spaces, those in quotes apart.
func words(text string) []string {
	var list []string
	for _, m := range regexp.MustCompile(`'([^']*)'|"([^"]*)"|(\S+)`).FindAllStringSubmatch(text, -1) {
		list = append(list, m[1]+m[2]+m[3])
	}
	return list
}
