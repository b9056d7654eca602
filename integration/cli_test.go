package integration

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/rapsheet/rapsheet/integration/lab"
)

// A cli runs the command as its user would, with a configuration of its own and where no daemon is.
type cli struct {
	t   *testing.T
	bin string
	dir string
}

func newCLI(t *testing.T, config string) *cli {
	c := &cli{t, lab.Build(t), t.TempDir()}
	c.write("rapsheet.yaml", config+fmt.Sprintf("state: %[1]s/state\nsocket: %[1]s/socket\n", c.dir))
	return c
}

func (c *cli) write(name, text string) string {
	c.t.Helper()
	name = filepath.Join(c.dir, name)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return name
}

// run returns what a command says, and its exit code.
func (c *cli) run(stdin string, args ...string) (out, errs string, code int) {
	c.t.Helper()
	cmd := exec.Command(c.bin, append([]string{"--config", "rapsheet.yaml"}, args...)...)
	var o, e bytes.Buffer
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = c.dir, strings.NewReader(stdin), &o, &e
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		c.t.Fatal(err)
	}
	return o.String(), e.String(), cmd.ProcessState.ExitCode()
}

// Every mistake is named at once, with its place, its line and what was probably meant.
func TestCheckNamesEveryMistake(t *testing.T) {
	c := newCLI(t, `mode: enforc
listen:
  - tcp: 127.0.0.1
jails:
  ssh:
    tiers:
      - {maxrety: 7, findtime: 10m, bantime: 10m}
`)
	for _, args := range [][]string{{"check"}, {"run"}} {
		out, errs, code := c.run("", args...)
		if code != 2 || out != "" {
			t.Errorf("rapsheet %s: exit code %d, want 2: %s", args, code, out)
		}
		for _, want := range []string{
			"rapsheet.yaml:1:7: mode cannot be enforc (did you mean enforce?)\n    1 | mode: enforc\n      |       ^\n",
			`rapsheet.yaml:3:10: "127.0.0.1" is no address:port (127.0.0.1:5514)` + "\n    3 |   - tcp: 127.0.0.1\n      |          ^\n",
			"rapsheet.yaml:7:10: unknown key maxrety (did you mean maxretry?)\n    7 |       - {maxrety: 7,",
		} {
			if !strings.Contains(errs, want) {
				t.Errorf("rapsheet %s: no %q in:\n%s", args, want, errs)
			}
		}
		if n := len(regexp.MustCompile(`(?m)^\S*rapsheet\.yaml:\d+:\d+: `).FindAllString(errs, -1)); n != 3 {
			t.Errorf("rapsheet %s: got %d mistakes, want 3:\n%s", args, n, errs)
		}
	}
	if out, errs, code := newCLI(t, "").run("", "check"); code != 0 || !strings.HasPrefix(out, "configuration is right: 3 listeners, 3 jails, ") || errs != "" {
		t.Errorf("check of the defaults: exit code %d: %s%s", code, out, errs)
	}
}

// The JSON of rapsheet test is what others build on: its keys, their order, one object a line.
func TestJSONOfTest(t *testing.T) {
	c := newCLI(t, "")
	const line = "Nov 22 13:25:06 srv sshd[77]: Failed password for invalid user alice from 198.51.100.66 port 4242 ssh2"
	const want = `{"n":1,"program":"sshd","pid":"77","host":"srv","text":"Failed password for invalid user alice from 198.51.100.66 port 4242 ssh2",` +
		`"event":{"kind":"failure","addr":"198.51.100.66","name":"","user":"alice","filter":"ssh","rule":"RULE","count":1}}` + "\n"
	rule := regexp.MustCompile(`"rule":"[^"]+"`)
	f := func(want, stdin string, args ...string) {
		t.Helper()
		out, errs, code := c.run(stdin, append([]string{"test", "--json"}, args...)...)
		if got := rule.ReplaceAllString(out, `"rule":"RULE"`); got != want || code != 0 || errs != "" {
			t.Errorf("rapsheet test %q: exit code %d, %s\ngot  %swant %s", args, code, errs, got, want)
		}
	}
	f(want, "", line)
	f(want, "", "<38>"+line)
	f(want, line, "-")
	f(want, line+"\n", "-")
	f(want, "", c.write("auth.log", line+"\n"))
	f(want, "", c.write("with a space", line+"\n"))
	f(strings.Replace(strings.Replace(want, `"77"`, `""`, 1), `"srv"`, `""`, 1), "", "--program", "sshd", line[len("Nov 22 13:25:06 srv sshd[77]: "):])
	f(`{"n":1,"program":"cron","pid":"12","host":"srv","text":"hello","event":null}
{"n":2,"program":"","pid":"","host":"","text":"","event":null}
{"n":3,"program":"","pid":"","host":"","text":"x","event":null}
`, "<38>1 2026-11-22T13:25:06Z srv cron 12 - - hello\n\nx", "-")
	f(`{"n":1,"program":"sshd","pid":"","host":"","text":"message repeated 3 times: [ Failed password for bob from attacker.example port 4242 ssh2]",`+
		`"event":{"kind":"failure","addr":"","name":"attacker.example","user":"bob","filter":"ssh","rule":"RULE","count":3}}
`, "", "--program", "sshd", "message repeated 3 times: [ Failed password for bob from attacker.example port 4242 ssh2]")
	f("", "", "-")
}

// Scripts tell outcomes by the exit code: 0 done, 1 failed, 2 wrong usage or configuration. 3, not found, needs a daemon.
func TestExitCodes(t *testing.T) {
	c := newCLI(t, "")
	f := func(code int, want string, args ...string) {
		t.Helper()
		out, errs, got := c.run("", args...)
		if got != code || !strings.Contains(out+errs, want) {
			t.Errorf("rapsheet %q: got exit code %d, want %d and %q:\n%s%s", args, got, code, want, out, errs)
		}
		if code != 0 && out != "" {
			t.Errorf("rapsheet %q: failed, and says on standard output: %s", args, out)
		}
	}
	f(0, "rapsheet ", "version")
	f(0, `"version": "`, "version", "--json")
	f(0, "Usage:", "--help")
	f(0, "configuration is right", "check")
	f(0, "no event", "test", "hello there")
	none := "rapsheet: no rapsheet daemon answers on " + c.dir + "/socket\n"
	f(1, none, "status")
	f(1, none, "list")
	f(1, none, "list", "--json")
	f(1, none, "ban", "203.0.113.1")
	f(1, "directory", "test", ".")
	f(2, "unknown command", "juggle")
	f(2, "unknown flag", "list", "--juggle")
	f(2, "arg", "ban")
	f(2, "arg", "show")
	f(2, "203.0.113.1", "list", "203.0.113.1")
	f(2, "no address", "show", "attacker.example")
	f(2, "no address", "unban", "203.0.113.256")
	f(2, "soon", "ban", "--for", "soon", "203.0.113.1")

	// A configuration with mistakes keeps nobody from being let in.
	wrong := newCLI(t, "mode: enforc\n")
	if _, errs, code := wrong.run("", "list"); code != 1 || !strings.Contains(errs, "no rapsheet daemon answers on "+wrong.dir) {
		t.Errorf("list with a wrong configuration: exit code %d: %s", code, errs)
	}
}

// What an attacker calls himself cannot move a cursor, retitle a window, or write from right to left.
func TestNoControlCharactersOnTheTerminal(t *testing.T) {
	users := []string{"\x1b[2J\x1b]0;pwned\x07", "a\rroot", "\x7f\x08\x08", "\u009b31m", "\u202egpj.exe", "\u2066x\u2069", "\xff\xfe", "\U000e0041", "tab\there"}
	hostile := func(s string) string {
		for i, r := range s {
			_, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 || r != '\n' && !unicode.IsPrint(r) {
				return fmt.Sprintf("%q in %q", s[i:i+n], s)
			}
		}
		return ""
	}
	c := newCLI(t, "")
	var lines bytes.Buffer
	for _, u := range users {
		fmt.Fprintf(&lines, "<38>Nov 22 13:25:06 srv sshd[77]: Failed password for %s from 198.51.100.66 port 4242 ssh2\n", u)
		fmt.Fprintf(&lines, "<38>Nov 22 13:25:06 %s %s[%[1]s]: x\n", u, u)
	}
	for _, args := range [][]string{{"test", "-"}, {"test", "--json", "-"}, {"test", "--program", users[0], "-"}} {
		out, _, _ := c.run(lines.String(), args...)
		if bad := hostile(out); bad != "" {
			t.Errorf("rapsheet %q: %s", args, bad)
		}
		if n := strings.Count(out, "\n"); n < 2*len(users) {
			t.Errorf("rapsheet %q: %d lines of output", args, n)
		}
	}
	for _, args := range [][]string{{users[0]}, {"show", users[0]}, {"list", "--" + users[0]}, {"ban", "--for", users[0], "203.0.113.1"}} {
		out, errs, _ := c.run("", args...)
		if bad := hostile(out + errs); bad != "" {
			t.Errorf("rapsheet %q: %s", args, bad)
		}
	}

	lab.NeedRoot(t)
	srv := lab.Up(t, lab.Srv).Host("srv")
	d := srv.Rapsheet(c.bin, "")
	tell(t, srv, d, 2*len(users), lines.Bytes())
	waitBan(t, d, "ssh", lab.Atk4+"/32")
	for _, args := range [][]string{{"show", lab.Atk4}, {"show", "--json", lab.Atk4}, {"list"}, {"list", "--json"}, {"status"}, {"status", "--json"},
		{"ban", "--reason", users[0], "203.0.113.1"}, {"list"}, {"show", "203.0.113.1"}} {
		if bad := hostile(string(d.MustCLI(args...))); bad != "" {
			t.Errorf("rapsheet %q: %s", args, bad)
		}
	}
	if bad := hostile(string(d.Output())); bad != "" {
		t.Errorf("the daemon's log: %s", bad)
	}
	if out := string(d.MustCLI("show", lab.Atk4)); !strings.Contains(out, `Failed password for \x1b[2J\x1b]0;pwned\a from`) {
		t.Errorf("show: the attacker's name is not shown escaped:\n%s", out)
	}
}
