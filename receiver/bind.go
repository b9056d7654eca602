package receiver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// How soon a TCP connection whose peer vanished is given up: after 60 s of silence and 4 probes.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: time.Minute, Interval: 15 * time.Second, Count: 4}

func bindTCP(c *Config) (*net.TCPListener, error) {
	lc := net.ListenConfig{KeepAliveConfig: keepAlive}
	lc.SetMultipathTCP(false) // the kernel finds the owners of plain TCP only
	lc.Control = control(func(fd int) error {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_SAVE_SYN, 1) // without it nobody is vouched for
		return nil
	})
	ln, err := lc.Listen(context.Background(), "tcp", c.TCP.S)
	if err != nil {
		return nil, hint(err, "tcp", c.TCP.S)
	}
	return ln.(*net.TCPListener), nil
}

func bindUDP(c *Config) (*net.UDPConn, error) {
	var lc net.ListenConfig
	lc.Control = control(func(fd int) error { return receiveBuffer(fd, int(c.Buffer.Bytes)) })
	pc, err := lc.ListenPacket(context.Background(), "udp", c.UDP.S)
	if err != nil {
		return nil, hint(err, "udp", c.UDP.S)
	}
	return pc.(*net.UDPConn), nil
}

// hint adds what most often keeps a port from being opened.
func hint(err error, proto, addr string) error {
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	_, port, _ := cutPort(addr)
	return fmt.Errorf("%w (below port 1024 this needs CAP_NET_BIND_SERVICE; with SELinux: semanage port -a -t syslogd_port_t -p %s %s)",
		err, proto, port)
}

// bindUnix opens a unix datagram socket that nobody but the configured accounts can write to, from its first moment.
func bindUnix(c *Config) (*net.UnixConn, os.FileInfo, error) {
	path := c.Unix.S
	uid, gid, err := ownerIDs(c.Owner.S)
	if err != nil {
		return nil, nil, err
	}
	mode, err := parseMode(c.Mode.S)
	if err != nil {
		return nil, nil, err
	}
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, nil, err
	}
	if err := clearStale(path); err != nil {
		return nil, nil, err
	}
	var lc net.ListenConfig
	lc.Control = control(func(fd int) error {
		// The file that bind makes gets the socket's own mode: so it is closed without touching the process's umask.
		if err := unix.Fchmod(fd, 0); err != nil {
			return err
		}
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
	})
	pc, err := lc.ListenPacket(context.Background(), "unixgram", path)
	if err != nil {
		return nil, nil, err
	}
	u := pc.(*net.UnixConn)
	info, err := open(path, uid, gid, mode)
	if err != nil {
		u.Close()
		os.Remove(path)
		return nil, nil, err
	}
	return u, info, nil
}

// open gives the socket file its owner, then its mode.
func open(path string, uid, gid int, mode uint32) (os.FileInfo, error) {
	if uid >= 0 || gid >= 0 {
		if err := os.Lchown(path, uid, gid); err != nil {
			return nil, err
		}
	}
	if err := os.Chmod(path, os.FileMode(mode)); err != nil {
		return nil, err
	}
	return os.Lstat(path)
}

// clearStale removes a socket file that nobody listens on any more. Anything else at its place is an error.
func clearStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is no socket: it is left as it is", path)
	}
	c, err := net.Dial("unixgram", path)
	if err == nil {
		c.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("%s is in use by another program", path)
	}
	return os.Remove(path)
}

// removeOwn removes the socket file, unless somebody else's is there by now.
func removeOwn(path string, own os.FileInfo) {
	if info, err := os.Lstat(path); err == nil && os.SameFile(info, own) {
		os.Remove(path)
	}
}

// control makes f a net.ListenConfig's Control: it is called before bind.
func control(f func(fd int) error) func(string, string, syscall.RawConn) error {
	return func(_, _ string, raw syscall.RawConn) error {
		var err error
		if e := raw.Control(func(fd uintptr) { err = f(int(fd)) }); e != nil {
			return e
		}
		return err
	}
}

// localhost makes a name that Validate allows an address, so that no resolver is asked.
func localhost(addr string) string {
	if port, ok := strings.CutPrefix(addr, "localhost:"); ok {
		return "127.0.0.1:" + port
	}
	return addr
}
