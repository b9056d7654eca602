package receiver

import (
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/rapsheet/rapsheet/configs/value"
	"golang.org/x/sys/unix"
)

// forge has another account send to a listener, and expects that it is refused.
func forge(t *testing.T, cfg Config, dial string, closing bool) {
	t.Helper()
	r := start(t, nil, cfg)
	_, port, _ := net.SplitHostPort(r.addr(0))
	end := asStranger(t, "tcp", net.JoinHostPort(dial, port), closing)
	poll(t, "refusal", func() bool { return r.Stats()[0].Refused[RefusedUID] == 1 })
	end()
	if s := r.Stats()[0]; s.Received != 0 {
		t.Errorf("stats: got %+v", s)
	}
}

func TestForgedTCP(t *testing.T) {
	f := func(listen, dial string, closing bool) {
		t.Helper()
		forge(t, Config{TCP: text(listen)}, dial, closing)
	}
	f("127.0.0.1:0", "127.0.0.1", false)
	f("[::1]:0", "::1", false)
	f("127.0.0.1:0", "127.0.0.1", true)
	f("[::1]:0", "::1", true)
}

// By a socket for both families, and by an address that is not loopback: who connects to that is no other host.
func TestForgedTCPAnywhere(t *testing.T) {
	newNetwork(t)
	f := func(dial string) {
		t.Helper()
		all := []value.Prefix{prefix("0.0.0.0/0"), prefix("::/0")}
		forge(t, Config{TCP: text(":0"), Senders: all}, dial, false)
	}
	f("127.0.0.1")
	f("::1")
	f("192.0.2.1")
}

// newNetwork gives the test a network namespace of its own, with 192.0.2.1 beside the loopback addresses.
func newNetwork(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can make a network namespace here")
	}
	runtime.LockOSThread() // for good: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("no network namespaces here: %v", err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	lo, _ := unix.NewIfreq("lo")
	lo.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		t.Fatal(err)
	}
	second, _ := unix.NewIfreq("lo:1")
	second.SetInet4Addr([]byte{192, 0, 2, 1})
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFADDR, second); err != nil {
		t.Fatal(err)
	}
}

// Whose a connection is that was closed before anybody accepted it, with data that does not fit: a new kernel knows.
func TestOwnerOfClosed(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: to be another account")
	}
	d, err := openDiag()
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	f := func(owner int) {
		t.Helper()
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		var c net.Conn
		done := make(chan struct{})
		go func() {
			defer close(done)
			runtime.LockOSThread() // it ends with the goroutine
			if owner != 0 {
				_ = unix.Setfsuid(owner)
			}
			c, err = net.Dial("tcp", ln.Addr().String())
		}()
		if <-done; err != nil {
			t.Fatal(err)
		}
		c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		for err == nil {
			_, err = c.Write(make([]byte, 1<<16))
		}
		c.Close()
		s, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		uid, err := d.uid(addrPort(s.LocalAddr()), addrPort(s.RemoteAddr()))
		switch {
		case d.remembers && (uid != owner || err != nil):
			t.Errorf("closed by %d: got %d, %v", owner, uid, err)
		case !d.remembers && err != errOrphan:
			t.Errorf("closed by %d: got %d, %v, want %v", owner, uid, err, errOrphan)
		}
	}
	f(0)
	f(65534)
}

func TestOwner(t *testing.T) {
	d, err := openDiag()
	if err != nil {
		t.Fatal(err)
	}
	defer func(d *diag) { d.close() }(d)
	f := func(listen, dial string) {
		t.Helper()
		ln, err := net.Listen("tcp", listen)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		c, err := net.Dial("tcp", net.JoinHostPort(dial, port))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		s, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		local, remote := addrPort(s.LocalAddr()), addrPort(s.RemoteAddr())
		if uid, err := d.uid(local, remote); uid != os.Geteuid() || err != nil {
			t.Errorf("%s to %s: got %d, %v", remote, local, uid, err)
		}
		if _, err := d.uid(remote, local); err != nil {
			t.Errorf("our own end: %v", err)
		}
		local = addrPort(&net.TCPAddr{IP: net.ParseIP(dial), Port: int(local.Port()) ^ 1})
		if uid, err := d.uid(local, remote); err != errNoSocket {
			t.Errorf("another port: got %d, %v", uid, err)
		}
		c.Close()
		s.Close()
		if uid, err := d.uid(addrPort(s.LocalAddr()), remote); err == nil {
			t.Errorf("a closed one: got %d", uid)
		}
	}
	f("127.0.0.1:0", "127.0.0.1")
	f("[::1]:0", "::1")
	t.Run("both families", func(t *testing.T) { // IPv4 through IPv6 sockets
		newNetwork(t)
		own, err := openDiag()
		if err != nil {
			t.Fatal(err)
		}
		d = own
		defer own.close()
		f(":0", "127.0.0.1")
		f(":0", "::1")
	})
}

func TestIsLocal(t *testing.T) {
	f := func(addr string, want bool) {
		t.Helper()
		if got := isLocal(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: got %v, want %v", addr, got, want)
		}
	}
	f("127.0.0.77", true)
	f("::1", true)
	f("192.0.2.77", false)
	f("2001:db8::77", false)
	list, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		f(a.(*net.IPNet).IP.String(), true)
	}
}
