package web_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rapsheet/rapsheet/configs/value"
	"github.com/rapsheet/rapsheet/web"
)

// serve starts a server with a path of each kind and returns its socket.
func serve(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "web") // t.TempDir is not passable for others
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "api.sock")
	s, err := web.Listen(web.Config{Socket: value.String{S: path}})
	if err != nil {
		t.Fatal(err)
	}
	s.Read("/v1/echo/{addr...}", func(_ context.Context, r *web.Request) (any, error) {
		return map[string]any{"addr": r.Args["addr"], "n": r.Args["n"], "uid": r.UID}, nil
	})
	s.Read("/v1/none", func(context.Context, *web.Request) (any, error) {
		return nil, fmt.Errorf("%w: 192.0.2.1", web.ErrNotFound)
	})
	s.Change("POST", "/v1/bans", func(_ context.Context, r *web.Request) (any, error) {
		var in struct{ Prefix string }
		return in, r.Decode(&in)
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("web: Run: %v", err)
		}
	})
	return path
}

func TestCalls(t *testing.T) {
	path := serve(t)
	var out struct {
		Addr, N string
		UID     int
	}
	if err := web.Call(context.Background(), path, "GET", "/v1/echo/2001:db8::/64?n=3", nil, &out); err != nil {
		t.Fatal(err)
	}
	if out.Addr != "2001:db8::/64" || out.N != "3" || out.UID != os.Geteuid() {
		t.Errorf("web: got %+v", out)
	}
	err := web.Call(context.Background(), path, "GET", "/v1/none", nil, nil)
	if !errors.Is(err, web.ErrNotFound) || err.Error() != "not found: 192.0.2.1" {
		t.Errorf("web: got %v", err)
	}
	if err := web.Call(context.Background(), path, "POST", "/v1/bans", "no object", nil); !errors.Is(err, web.ErrUsage) {
		t.Errorf("web: got %v", err)
	}
	if err := web.Call(context.Background(), path+".not", "GET", "/", nil, nil); !errors.Is(err, web.ErrNoDaemon) {
		t.Errorf("web: got %v", err)
	}
	if _, err := web.Listen(web.Config{Socket: value.String{S: path}}); err == nil || !strings.Contains(err.Error(), "another rapsheet") {
		t.Errorf("web: second server on the socket: %v", err)
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	s, err := web.Listen(web.Config{Socket: value.String{S: path}})
	if err != nil {
		t.Fatalf("web: stale socket: %v", err)
	}
	s.Close()
}

// Other accounts may read where the socket's mode lets them in, and change nothing.
func TestOtherAccountsChangeNothing(t *testing.T) {
	if path := os.Getenv("WEB_TEST_SOCKET"); path != "" {
		err := web.Call(context.Background(), path, "POST", "/v1/bans", map[string]string{}, nil)
		fmt.Println("change:", errors.Is(err, web.ErrDenied))
		fmt.Println("read:", web.Call(context.Background(), path, "GET", "/v1/echo/x", nil, nil) == nil)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root to become another account")
	}
	path := serve(t)
	bin := filepath.Join(filepath.Dir(path), "test")
	exe, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(bin, exe, 0o755); err != nil {
		t.Fatal(err)
	}
	run := func() string {
		cmd := exec.Command(bin, "-test.run", "^TestOtherAccountsChangeNothing$")
		cmd.Env = append(os.Environ(), "WEB_TEST_SOCKET="+path)
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("web: %v: %s", err, out)
		}
		return string(out)
	}
	if out := run(); !strings.Contains(out, "change: true\nread: false") {
		t.Errorf("web: as another account, socket 0660: %s", out)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if out := run(); !strings.Contains(out, "change: true\nread: true") {
		t.Errorf("web: as another account, socket 0666: %s", out)
	}
}

// A daemon that hangs still owns its socket, also when nobody fits into its backlog any more.
func TestHungDaemonKeepsItsSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.sock")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	addr := &syscall.SockaddrUnix{Name: path}
	if err := errors.Join(syscall.Bind(fd, addr), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	for full := false; !full; {
		c, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer syscall.Close(c)
		full = errors.Is(syscall.Connect(c, addr), syscall.EAGAIN)
	}
	if _, err := web.Listen(web.Config{Socket: value.String{S: path}}); err == nil || !strings.Contains(err.Error(), "another rapsheet") {
		t.Errorf("web: beside a hung daemon: %v", err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("web: the hung daemon's socket: %v", err)
	}
}
