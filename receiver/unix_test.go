package receiver

import (
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rapsheet/rapsheet/configs/value"
	"github.com/rs/zerolog"
)

func TestUnix(t *testing.T) {
	r := start(t, nil, unixConfig(t))
	c := r.dial(0)
	send(t, c, "<34>one\nline")
	send(t, c, "")
	send(t, c, strings.Repeat("x", 9000))
	same(t, "messages", r.texts(2), []string{"<34>one\nline", strings.Repeat("x", 8192) + " [cut]"})
	if f := r.got[0].from; !f.Trusted || f.UID != os.Geteuid() || f.Addr.IsValid() || !f.Local() {
		t.Errorf("sender: got %+v", f)
	}
	info, err := os.Lstat(r.addr(0))
	if err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("mode: got %v, %v", info.Mode(), err)
	}
}

func TestUnixMode(t *testing.T) {
	cfg := unixConfig(t)
	cfg.Mode, cfg.Owner = text("0660"), text(strconv.Itoa(os.Geteuid())+":"+strconv.Itoa(os.Getegid()))
	r := start(t, nil, cfg)
	info, err := os.Lstat(r.addr(0))
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("mode: got %v, %v", info.Mode(), err)
	}
	f := func(owner, want string) {
		t.Helper()
		cfg := unixConfig(t)
		cfg.Owner = text(owner)
		_, err := Listen([]Config{cfg}, zerolog.Nop())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("owner %q: got %v, want %q", owner, err, want)
		}
	}
	f("no-such-account", `no account "no-such-account"`)
	f("0:no-such-group", `no group "no-such-group"`)
	cfg = unixConfig(t)
	cfg.UIDs = []value.String{text("no-such-account")}
	if _, err := Listen([]Config{cfg}, zerolog.Nop()); err == nil {
		t.Error("uids with an unknown account: no error")
	}
}

func TestUnixStaleFile(t *testing.T) {
	cfg := unixConfig(t)
	old, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: cfg.Unix.S, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Listen([]Config{cfg}, zerolog.Nop()); err == nil {
		t.Error("a socket in use was taken away")
	}
	old.Close()
	r := start(t, nil, cfg)
	send(t, r.dial(0), "<34>one")
	r.texts(1)

	plain := unixConfig(t)
	if err := os.WriteFile(plain.Unix.S, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen([]Config{plain}, zerolog.Nop()); err == nil {
		t.Error("a plain file was taken for a socket")
	}
	if b, _ := os.ReadFile(plain.Unix.S); string(b) != "precious" {
		t.Errorf("file: got %q", b)
	}
}

// The next daemon's socket stays when the last one ends late.
func TestUnixRemovesOnlyItsOwn(t *testing.T) {
	cfg := unixConfig(t)
	r := start(t, nil, cfg)
	if err := os.Rename(cfg.Unix.S, cfg.Unix.S+".old"); err != nil {
		t.Fatal(err)
	}
	next := start(t, nil, cfg)
	r.stop()
	send(t, next.dial(0), "<34>one")
	next.texts(1)
}

const stranger = 65533

// TestMain lets the test binary be a sender: of a benchmark, or of another account, which sends 21 lines and waits until it
// may end.
func TestMain(m *testing.M) {
	if spec := os.Getenv("RECEIVER_TEST_BLAST"); spec != "" {
		if err := blaster(spec); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(3)
		}
		os.Exit(0)
	}
	network, address, ok := strings.Cut(os.Getenv("RECEIVER_TEST_SEND"), " ")
	if !ok {
		os.Exit(m.Run())
	}
	c, err := net.Dial(network, address)
	if err != nil {
		os.Exit(3)
	}
	for range 21 {
		c.Write([]byte("<38>sshd[1]: Failed password for root from 192.0.2.9 port 22 ssh2\n"))
	}
	if os.Getenv("RECEIVER_TEST_CLOSE") != "" {
		c.Close()
	}
	os.Stdin.Read(make([]byte, 1))
	os.Exit(0)
}

// asStranger sends 21 forged lines as an account that may not send, and stays connected until the returned function is
// called, unless it is to close at once.
func asStranger(t *testing.T, network, address string, closing bool) (end func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can send as somebody else")
	}
	dir, err := os.MkdirTemp("/tmp", "receiver")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "sender")
	if err := os.WriteFile(bin, self, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin)
	cmd.Dir = "/"
	cmd.Env = []string{"RECEIVER_TEST_SEND=" + network + " " + address, "GORACE=atexit_sleep_ms=0"}
	if closing {
		cmd.Env = append(cmd.Env, "RECEIVER_TEST_CLOSE=1")
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stranger, Gid: stranger}}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("sender: %v", err)
		}
	}
}

func TestForgedUnix(t *testing.T) {
	cfg := unixConfig(t)
	cfg.Mode = text("0666")
	for d := filepath.Dir(cfg.Unix.S); len(d) > len(os.TempDir()); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r := start(t, nil, cfg)
	asStranger(t, "unixgram", cfg.Unix.S, false)()
	poll(t, "refusals", func() bool { return r.Stats()[0].Refused[RefusedUID] == 21 })
	if s := r.Stats()[0]; s.Received != 0 || len(s.Senders) != 0 {
		t.Errorf("stats: got %+v", s)
	}
}

func TestAllowedUnix(t *testing.T) {
	cfg := unixConfig(t)
	cfg.Mode, cfg.UIDs = text("0666"), []value.String{text(strconv.Itoa(stranger))}
	for d := filepath.Dir(cfg.Unix.S); len(d) > len(os.TempDir()); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r := start(t, nil, cfg)
	asStranger(t, "unixgram", cfg.Unix.S, false)()
	r.texts(21)
	if f := r.got[0].from; f.UID != stranger {
		t.Errorf("uid: got %d, want %d", f.UID, stranger)
	}
}
