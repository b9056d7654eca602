package ipset

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/rapsheet/rapsheet/integration/netns"
	"github.com/rapsheet/rapsheet/pipeline/event"
)

const stranger = 65534

// keeping listens on a socket that keeps the SYN of each connection.
func keeping(t *testing.T, addr string) *net.TCPListener {
	t.Helper()
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		e := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_SAVE_SYN, 1) })
		must(t, e)
		return err
	}}
	ln, err := lc.Listen(t.Context(), "tcp", addr)
	must(t, err)
	t.Cleanup(func() { ln.Close() })
	return ln.(*net.TCPListener)
}

// knock has an account open and close a connection, and returns the urgent pointer of its SYN.
func knock(t *testing.T, ln *net.TCPListener, to string, uid int) uint16 {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // it ends with the goroutine
		if _, err := unix.SetfsuidRetUid(uid); err != nil {
			done <- err
			return
		}
		c, err := net.Dial("tcp", to)
		for try := 0; try < 5 && errors.Is(err, unix.EHOSTUNREACH); try++ { // IPv6 on a loaded machine: a link that is new
			c, err = net.Dial("tcp", to)
		}
		if err == nil {
			err = c.Close()
		}
		done <- err
	}()
	must(t, <-done)
	c, err := ln.AcceptTCP()
	must(t, err)
	defer c.Close()
	raw, err := c.SyscallConn()
	must(t, err)
	var b [256]byte
	n := uint32(len(b))
	must(t, raw.Control(func(fd uintptr) {
		if _, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.IPPROTO_TCP, unix.TCP_SAVED_SYN, uintptr(unsafe.Pointer(&b)), uintptr(unsafe.Pointer(&n)), 0); e != 0 {
			t.Fatalf("the SYN of %s: %v", to, e)
		}
	}))
	header := 20
	if b[0]>>4 == 6 {
		header = 40
	}
	if int(n) < header+20 {
		t.Fatalf("the SYN of %s: got %x", to, b[:n])
	}
	return binary.BigEndian.Uint16(b[header+18:])
}

func TestVouch(t *testing.T) {
	inLab(t, func(l *lab) {
		const mark, other = 0x7273, 0x7373
		all, four, six := keeping(t, ":0"), keeping(t, "127.0.0.1:0"), keeping(t, "[::1]:0")
		port := func(ln *net.TCPListener) string { _, p, _ := net.SplitHostPort(ln.Addr().String()); return p }
		at := func(addr string, ln *net.TCPListener) netip.AddrPort {
			return netip.MustParseAddrPort(net.JoinHostPort(addr, port(ln)))
		}
		vouches := []Vouch{
			{"all", at("::", all), []uint32{0, 7}, mark},
			{"four", at("127.0.0.1", four), []uint32{0}, mark},
			{"four, by another address", at("127.0.0.2", four), []uint32{0}, other},
			{"four, by the other family", at("::1", four), []uint32{0}, other},
			{strings.Repeat("long ", 100), at("::1", six), []uint32{0}, mark},
		}
		ask := func(ln *net.TCPListener, addr string, uid int, want uint16) {
			t.Helper()
			if got := knock(t, ln, net.JoinHostPort(addr, port(ln)), uid); got != want {
				t.Errorf("SYN of %d to %s: got %#x, want %#x", uid, addr, got, want)
			}
		}
		none := func() {
			t.Helper()
			ask(all, "127.0.0.1", 0, 0)
			ask(six, "::1", 0, 0)
		}
		mapped := uids(t)
		stands := func() {
			t.Helper()
			for _, addr := range []string{"127.0.0.1", "::1", "::ffff:127.0.0.1", us4, us6} {
				ask(all, addr, 0, mark)
			}
			ask(four, "127.0.0.1", 0, mark)
			ask(six, "::1", 0, mark)
			if mapped {
				ask(all, "127.0.0.1", 7, mark)
				for _, addr := range []string{"127.0.0.1", "::1", "::ffff:127.0.0.1", us4, us6} {
					ask(all, addr, stranger, 0)
				}
				ask(four, "127.0.0.1", 7, 0)
				ask(six, "::1", stranger, 0)
			}
		}
		none()
		open := func(vouches ...Vouch) *Sink {
			t.Helper()
			return openWith(t, Config{}, vouches, sshJail)
		}
		s := open(vouches...)
		stands()
		apply(t, s, ban("ssh", attacker4+"/32"))
		must(t, s.Configure([]*event.Jail{sshJail, mailJail}))
		stands()
		if what, _ := s.wrongLocked(); what != "" {
			t.Errorf("what was just written is wrong: %s", what)
		}
		for _, f := range families { // somebody else's doing: on our own socket, for the kernel lets no other
			var r request
			r.transaction()
			r.chain(f, outputName, unix.NF_INET_LOCAL_OUT, priorityFilter)
			r.conclude()
			must(t, s.c.commit(&r))
		}
		none()
		s.guard()
		stands()
		l.arrives(attacker4, false)

		// As after kill -9: what stands holds, and is adopted; a configuration without listeners takes it away.
		must(t, s.Close())
		stands()
		s = open(vouches...)
		stands()
		must(t, s.Close())
		s = open()
		none()
		if what, _ := s.wrongLocked(); what != "" {
			t.Errorf("what was just written is wrong: %s", what)
		}
		must(t, s.Close())

		// While nobody owned the table, somebody else made a chain of our name.
		c, err := dial()
		must(t, err)
		defer c.close()
		var r request
		r.transaction()
		r.chain(v4, outputName, unix.NF_INET_LOCAL_IN, priorityFilter)
		r.conclude()
		must(t, c.commit(&r))
		must(t, open(vouches...).Close())
		stands()
		l.arrives(attacker4, false)
		_, err = Disarm(false)
		must(t, err)
		none()
	})
}

// uids reports whether this namespace has more accounts than root.
func uids(t *testing.T) bool {
	t.Helper()
	var mapped bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		_ = unix.Setfsuid(stranger)
		now, _ := unix.SetfsuidRetUid(-1)
		mapped = now == stranger
	}()
	<-done
	return mapped
}

// Where the network namespace is not our user namespace's, its accounts are not ours.
func TestSameAccounts(t *testing.T) {
	const child = "RAPSHEET_IPSET_ACCOUNTS"
	if os.Getenv(child) != "" {
		fmt.Printf("accounts: %v\n", sameAccounts())
		return
	}
	netns.Run(t, func(t *testing.T) {
		must(t, sameAccounts())
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestSameAccounts$")
		cmd.Env = append(os.Environ(), child+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
		out, err := cmd.CombinedOutput()
		if err != nil {
			netns.Skip(t, "no user namespace: %v: %s", err, out)
		}
		if got := string(out); !strings.Contains(got, "accounts: ") || strings.Contains(got, "accounts: <nil>") {
			t.Errorf("in another user namespace: got %q, want an error", got)
		}
	})
}
