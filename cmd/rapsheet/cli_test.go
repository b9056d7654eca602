package main

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rapsheet/rapsheet/configs"
	"github.com/rapsheet/rapsheet/configs/value"
	"github.com/rapsheet/rapsheet/pipeline/event"
)

// What attackers choose reaches no terminal as more than text.
func TestPlain(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := plain(in); got != want {
			t.Errorf("plain(%q): got %q, want %q", in, got, want)
		}
	}
	f("root", "root")
	f("müller 用户", "müller 用户")
	f("\x1b[2J\r\n", `\x1b[2J\r\n`)
	f("a\xffb", `a\xffb`)
	f("\u202egnp.exe", `\u202egnp.exe`)
	f("nul\x00", `nul\x00`)
	if got, want := plainLines("one \x1b\ntwo\n"), "one \\x1b\ntwo\n"; got != want {
		t.Errorf("plainLines: got %q, want %q", got, want)
	}
}

func FuzzPlain(f *testing.F) {
	f.Add("\x1b]0;x\a")
	f.Fuzz(func(t *testing.T, s string) {
		for _, r := range plain(s) {
			if r < 0x20 || r == 0x7f || r >= 0x80 && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
				t.Errorf("plain(%q) holds %U", s, r)
			}
		}
	})
}

func TestSpan(t *testing.T) {
	f := func(in time.Duration, want string) {
		t.Helper()
		if got := span(in); got != want {
			t.Errorf("span(%v): got %s, want %s", in, got, want)
		}
	}
	f(-time.Second, "0s")
	f(59*time.Second+999*time.Millisecond, "59s")
	f(10*time.Minute, "10m")
	f(3*time.Hour+2*time.Minute+time.Second, "3h2m")
	f(364*24*time.Hour+23*time.Hour+5*time.Minute, "364d23h")
	f(2*24*time.Hour, "2d")
}

func TestCovers(t *testing.T) {
	f := func(asked, banned string, want bool) {
		t.Helper()
		p, err := value.ParsePrefix(asked)
		if err != nil {
			t.Fatal(err)
		}
		if got := covers(p)(&event.Ban{Prefix: netip.MustParsePrefix(banned)}); got != want {
			t.Errorf("unban %s of a ban on %s: got %v, want %v", asked, banned, got, want)
		}
		if got := coversAny([]netip.Prefix{netip.MustParsePrefix("192.0.2.1/32"), p})(&event.Ban{Prefix: netip.MustParsePrefix(banned)}); got != want {
			t.Errorf("unban %s among others of a ban on %s: got %v, want %v", asked, banned, got, want)
		}
	}
	f("198.51.100.66", "198.51.100.66/32", true)
	f("198.51.100.66", "198.51.100.0/24", true)
	f("2001:db8::66", "2001:db8::/64", true)
	f("198.51.100.66", "198.51.100.67/32", false)
	f("198.51.100.0/24", "198.51.100.67/32", true)
	f("198.51.100.0/25", "198.51.100.0/24", false) // half of a banned network is not lifted by lifting all of it
	f("198.51.100.66", "2001:db8::/64", false)
}

func TestMarks(t *testing.T) {
	m := marks{filepath.Join(t.TempDir(), "state")}
	if mode, err := m.mode(); mode != "" || err != nil {
		t.Errorf("marks: fresh mode %q, %v", mode, err)
	}
	if err := m.setMode(disarmed); err != nil {
		t.Fatal(err)
	}
	if mode, err := m.mode(); mode != disarmed || err != nil {
		t.Errorf("marks: mode %q, %v", mode, err)
	}
	at := time.Now().Truncate(time.Millisecond)
	for _, p := range []string{"198.51.100.66/32", "2001:db8::/64"} {
		if err := m.addLift(p, "uid 7", at); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.OpenFile(m.liftsFile(), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.WriteString("half a li")
	f.Close()
	lifts, err := m.lifts()
	if err != nil || len(lifts) != 2 || !lifts[1].at.Equal(at) || lifts[1].by != "uid 7" || lifts[1].prefix.String() != "2001:db8::/64" {
		t.Errorf("marks: lifts %+v, %v", lifts, err)
	}
	if err := m.clearLifts(); err != nil {
		t.Error(err)
	}
	if lifts, err := m.lifts(); lifts != nil || err != nil {
		t.Errorf("marks: after clearing: %v, %v", lifts, err)
	}
}

// A plain user's daemon keeps its state where the user may write; root's and the configured places stay.
func TestOwnPaths(t *testing.T) {
	if os.Geteuid() == 0 {
		cfg := configs.Load(configs.Options{Dir: t.TempDir()}).Config
		if ownPaths(cfg) || cfg.Store.State.S != systemState {
			t.Errorf("root's state was moved to %s", cfg.Store.State.S)
		}
		return
	}
	home := t.TempDir()
	t.Setenv("XDG_STATE_HOME", home)
	cfg := configs.Load(configs.Options{Dir: t.TempDir()}).Config
	if !ownPaths(cfg) {
		t.Skip("this user may write to " + systemState)
	}
	for _, p := range []string{cfg.Store.State.S, cfg.Web.Socket.S, cfg.Listen[0].Unix.S} {
		if !strings.HasPrefix(p, home) {
			t.Errorf("plain user's path %s is not below %s", p, home)
		}
	}
}

// A user without a daemon of his own asks the system's.
func TestAnswering(t *testing.T) {
	dir := t.TempDir()
	own, system := filepath.Join(dir, "own"), filepath.Join(dir, "system")
	f := func(want string) {
		t.Helper()
		if got := answering(own, system); got != want {
			t.Errorf("socket: got %q, want %q", got, want)
		}
	}
	f(own)
	if err := os.WriteFile(system, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f(system)
	if err := os.WriteFile(own, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f(own)
}

// JSON that people look at holds nothing that steers their terminal, and still says the same.
func TestEncodeJSON(t *testing.T) {
	for _, s := range []string{"root", "a\u009b31mb", "\u202egnp.exe", "\x7f", "\U000e0041", "用户\x1b[2J\n"} {
		var out strings.Builder
		if err := encodeJSON(&out, s, ""); err != nil {
			t.Fatal(err)
		}
		text := strings.TrimSuffix(out.String(), "\n")
		if plain(text) != text {
			t.Errorf("encodeJSON(%q): %q reaches the terminal", s, text)
		}
		var back string
		if err := json.Unmarshal([]byte(text), &back); err != nil || back != s {
			t.Errorf("encodeJSON(%q): reads as %q, %v", s, back, err)
		}
	}
}
