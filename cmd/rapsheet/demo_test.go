package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rapsheet/rapsheet/integration/netns"
	"github.com/rapsheet/rapsheet/sinks/ipset"
)

func TestRefusalNamesOneRemedy(t *testing.T) {
	f := func(root bool, err error, sysctl, want string) {
		t.Helper()
		name, value, _ := strings.Cut(sysctl, "=")
		h := hostFacts{root: root, self: "sudo rapsheet", sysctl: func(s string) string {
			if s == name {
				return value
			}
			return ""
		}}
		got := h.refusal(err)
		if !strings.HasSuffix(got, want) || strings.Count(got, "Run") != 1 || strings.Contains(got, "\n") {
			t.Errorf("refusal of %v, %s: got %q, want one line that ends in %q", err, sysctl, got, want)
		}
	}
	f(false, unix.EPERM, "kernel.unprivileged_userns_clone=0", "(kernel.unprivileged_userns_clone is 0). Run: sudo rapsheet demo")
	f(false, unix.ENOSPC, "user.max_user_namespaces=0", "(user.max_user_namespaces is 0). Run: sudo rapsheet demo")
	f(false, unix.EUSERS, "", "(too many users). Run: sudo rapsheet demo")
	f(false, unix.EINVAL, "", "(invalid argument). Run: sudo rapsheet demo")
	f(false, fmt.Errorf("tmpfs: %w", unix.EACCES), "kernel.apparmor_restrict_unprivileged_userns=1", "(kernel.apparmor_restrict_unprivileged_userns is 1). Run: sudo rapsheet demo")
	f(false, netns.Explain(unix.EPERM), "", "(operation not permitted). Run: sudo rapsheet demo")
	f(false, fmt.Errorf("ipset: %w (%w)", ipset.ErrPermission, unix.EPERM), "", "Run: sudo rapsheet demo")
	f(false, unix.ENOSPC, "user.max_net_namespaces=0", "Run: sudo sysctl -w user.max_net_namespaces=1000")
	f(true, unix.ENOSPC, "user.max_mnt_namespaces=0", "Run: sysctl -w user.max_mnt_namespaces=1000")
	f(true, unix.EPERM, "", "(operation not permitted). Run it on the host itself")
	f(false, fmt.Errorf("ipset: %w", ipset.ErrModules), "", "Run: sudo modprobe -a ip_set ip_set_hash_net xt_set nft_compat nf_tables veth")
	f(false, netns.ErrModules, "", "Run: sudo modprobe -a ip_set ip_set_hash_net xt_set nft_compat nf_tables veth")
	f(true, fmt.Errorf("netns: veth: %w", unix.EOPNOTSUPP), "", "Run: modprobe -a ip_set ip_set_hash_net xt_set nft_compat nf_tables veth")
}

func TestRefusalLeavesOtherErrorsAlone(t *testing.T) {
	if got := (hostFacts{}).refusal(errors.New("netns: lo: gone")); got != "demo: netns: lo: gone" {
		t.Errorf("refusal: got %q, want the error itself", got)
	}
}

func TestCallable(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := callable(in); got != want {
			t.Errorf("callable %s: got %q, want %q", in, got, want)
		}
	}
	f("rapsheet", "sudo rapsheet")
	f("./rapsheet", "sudo ./rapsheet")
	f("/tmp/go-build123/b001/exe/rapsheet", "go build ./cmd/rapsheet && sudo ./rapsheet")
}

func TestFold(t *testing.T) {
	f := func(in string, width int, want string) {
		t.Helper()
		if got := strings.Join(fold(in, width), "\n"); got != want {
			t.Errorf("fold %q at %d: got %q, want %q", in, width, got, want)
		}
	}
	f("", 10, "")
	f("one two", 10, "one two")
	f("one two three", 10, "one two\n  three")
	f("one two  three", 7, "one two\n  three")
	f("one two three four five", 9, "one two\n  three\n  four\n  five")
	f("0123456789abcdef", 10, "0123456789\n  abcdef")
	f("a\nb", 10, "a\nb")
	f("ééé ééé", 5, "ééé\n  ééé")
}

func FuzzFold(f *testing.F) {
	f.Add("one two three", 10)
	f.Add("  \xff 0123456789abcdef\n", 4)
	f.Fuzz(func(t *testing.T, in string, width int) {
		if width < 4 || width > 200 {
			return
		}
		words := func(s string) string { return strings.Join(strings.Fields(string([]rune(s))), "") }
		all := fold(in, width)
		for _, line := range all {
			if n := len([]rune(line)); n > width {
				t.Fatalf("fold %q: got a line of %d, want at most %d", in, n, width)
			}
		}
		if got, want := words(strings.Join(all, "\n")), words(in); got != want {
			t.Fatalf("fold %q: got %q, want the same words", in, got)
		}
	})
}

func TestPageLine(t *testing.T) {
	f := func(colour bool, text, detail, result, want string) {
		t.Helper()
		var b strings.Builder
		p := &demoPage{w: &b, colour: colour, n: 4}
		p.line(text, detail, result)
		if got := b.String(); got != want+"\n" {
			t.Errorf("line: got %q, want %q", got, want)
		}
	}
	f(false, "packets from 203.0.113.7  (attacker)", "3 sent   0 arrived", "ok",
		" 4  packets from 203.0.113.7  (attacker)      3 sent   0 arrived          ok")
	f(true, "a", "", "ok", " 4  a"+strings.Repeat(" ", 69)+"\x1b[32mok\x1b[0m")
	f(false, "a", "b", "", " 4  a"+strings.Repeat(" ", 41)+"b")
	f(false, strings.Repeat("x", 75), "", "ok", " 4  "+strings.Repeat("x", 75)+" ok")
}

func TestPageSaysWhatFailed(t *testing.T) {
	var b strings.Builder
	p := &demoPage{w: &b, n: 4}
	p.fail("packets", &mismatch{"packets from 203.0.113.7", "0 arrived", "2 arrived"}, []string{"last\x1b words"})
	want := ` 4  packets                                                           FAILED
    packets from 203.0.113.7:
    expected  0 arrived
    saw       2 arrived

The daemon's last lines:
  last\x1b words
`
	if b.String() != want {
		t.Errorf("fail: got %q, want %q", b.String(), want)
	}
}

func TestAwait(t *testing.T) {
	gone := errors.New("gone")
	alive := func() error { return nil }
	seen := []string{"0", "1", "2"}
	i := 0
	look := func() (string, error) {
		got := seen[min(i, len(seen)-1)]
		i++
		return got, nil
	}
	p := &demoPage{running: alive}
	if err := p.await(t.Context(), "x", "2", look); err != nil || i != 3 {
		t.Errorf("await: got %v after %d looks, want none after 3", err, i)
	}
	if err := p.await(t.Context(), "x", "2", func() (string, error) { return "", gone }); err != gone {
		t.Errorf("await an error: got %v, want %v", err, gone)
	}
	ended := &demoPage{running: func() error { return gone }}
	if err := ended.await(t.Context(), "x", "never", look); err != gone {
		t.Errorf("await of a daemon that has ended: got %v, want %v", err, gone)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.await(ctx, "x", "never", look); !errors.Is(err, context.Canceled) {
		t.Errorf("await after an interrupt: got %v, want %v", err, context.Canceled)
	}
}

// Whoever calls --inside by hand must not ban on his own host.
func TestInsideRefusesANetworkInUse(t *testing.T) {
	netns.Run(t, func(t *testing.T) { // there loopback is up
		var out, errs strings.Builder
		if code := execute(t.Context(), []string{"demo", "--inside", "root"}, strings.NewReader(""), &out, &errs); code != exitFailed {
			t.Errorf("exit code: got %d, want %d", code, exitFailed)
		}
		if !strings.Contains(errs.String(), "without --inside") || out.Len() > 0 {
			t.Errorf("output: got %q, %q, want a refusal", &out, &errs)
		}
	})
}
