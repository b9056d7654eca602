package receiver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// A diag asks the kernel whose socket the other end of a TCP connection is, when that end is on this host. It looks at the
// network namespace that it was opened in. It serves one goroutine.
//
// netlink.SocketGet of vishvananda/netlink does not do here: it asks for a dump, which the kernel filters by ports alone, so
// that another account's socket with the same two ports at another address may be the answer.
type diag struct {
	fd        int
	remembers bool // the kernel knows whose a socket was that its process has closed
}

var (
	errNoSocket = errors.New("no such socket") // the other end is on another host, or gone
	errOrphan   = errors.New("socket was closed before its owner could be asked for")
)

func openDiag() (*diag, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	d := &diag{fd, remembers()}
	// The kernel answers within the call; a second is for ever.
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1}); err != nil {
		d.close()
		return nil, err
	}
	return d, unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

func (d *diag) close() { unix.Close(d.fd) }

// remembers reports whether this is Linux 6.17 or newer. What it can't read is older.
func remembers() bool {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return false
	}
	var major, minor int
	_, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor)
	return err == nil && (major > 6 || major == 6 && minor >= 17)
}

// From linux/sock_diag.h and linux/inet_diag.h: struct inet_diag_req_v2, and struct inet_diag_msg, which begins with family,
// state, timer, retrans, then struct inet_diag_sockid.
const (
	sockDiagByFamily = 20
	reqSize          = 56
	msgSize          = 72
	noCookie         = ^uint32(0)
	tcpFinWait1      = 4
	tcpListen        = 10
)

// uid returns the user id of the process behind remote, the other end of our connection at local.
func (d *diag) uid(local, remote netip.AddrPort) (int, error) {
	src, dst := remote.Addr().Unmap(), local.Addr().Unmap() // the other end's: its source is our remote
	req := make([]byte, unix.SizeofNlMsghdr+reqSize)
	binary.NativeEndian.PutUint32(req[0:], uint32(len(req)))
	binary.NativeEndian.PutUint16(req[4:], sockDiagByFamily)
	binary.NativeEndian.PutUint16(req[6:], unix.NLM_F_REQUEST) // no dump: this socket, or ENOENT
	seq := uint32(time.Now().UnixNano())
	binary.NativeEndian.PutUint32(req[8:], seq)
	body := req[unix.SizeofNlMsghdr:]
	body[0], body[1] = unix.AF_INET6, unix.IPPROTO_TCP
	if src.Is4() {
		body[0] = unix.AF_INET
	}
	binary.NativeEndian.PutUint32(body[4:], ^uint32(0)) // any state
	id := body[8:]
	binary.BigEndian.PutUint16(id[0:], remote.Port())
	binary.BigEndian.PutUint16(id[2:], local.Port())
	copy(id[4:20], src.AsSlice())
	copy(id[20:36], dst.AsSlice())
	binary.NativeEndian.PutUint32(id[36:], zoneIndex(remote.Addr().Zone()))
	binary.NativeEndian.PutUint32(id[40:], noCookie)
	binary.NativeEndian.PutUint32(id[44:], noCookie)
	if err := unix.Sendto(d.fd, req, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return -1, fmt.Errorf("ask for a socket's owner: %w", err)
	}
	var buf [4096]byte
	for {
		n, _, err := unix.Recvfrom(d.fd, buf[:], 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return -1, fmt.Errorf("ask for a socket's owner: %w", err)
		}
		if n >= unix.SizeofNlMsghdr && binary.NativeEndian.Uint32(buf[8:]) == seq {
			return d.readOwner(buf[:n], netip.AddrPortFrom(src.WithZone(""), remote.Port()), netip.AddrPortFrom(dst.WithZone(""), local.Port()))
		}
	}
}

// readOwner reads the kernel's answer about the socket from src to dst.
func (d *diag) readOwner(b []byte, src, dst netip.AddrPort) (int, error) {
	kind := binary.NativeEndian.Uint16(b[4:])
	b = b[unix.SizeofNlMsghdr:]
	switch {
	case kind == unix.NLMSG_ERROR && len(b) >= 4:
		if e := -int32(binary.NativeEndian.Uint32(b)); e != int32(unix.ENOENT) {
			return -1, fmt.Errorf("ask for a socket's owner: %w", unix.Errno(e))
		}
		return -1, errNoSocket
	case kind != sockDiagByFamily || len(b) < msgSize:
		return -1, errors.New("ask for a socket's owner: no answer to it")
	}
	// Where no connection matches, the kernel names a listener at the same port: not who we are talking to.
	if b[1] == tcpListen || idEnd(b[0], b[4:], b[8:]) != src || idEnd(b[0], b[6:], b[24:]) != dst {
		return -1, errNoSocket
	}
	uid, inode := binary.NativeEndian.Uint32(b[64:]), binary.NativeEndian.Uint32(b[68:])
	// Before Linux 6.17 a socket that its process has closed is root's, and once all it sent has been acknowledged it still
	// is: to connect, send and close at once would be to send as root. But rsyslogd closes a connection that takes nothing
	// while we hang, and opens the next: what it wrote into each must not be lost.
	if inode == 0 && uid == 0 && !(d.remembers && b[1] == tcpFinWait1) {
		return -1, errOrphan
	}
	return int(uid), nil
}

// idEnd reads one end of a struct inet_diag_sockid. An IPv6 socket may well talk IPv4.
func idEnd(family byte, port, addr []byte) netip.AddrPort {
	a := netip.AddrFrom4([4]byte(addr[:4]))
	if family == unix.AF_INET6 {
		a = netip.AddrFrom16([16]byte(addr[:16])).Unmap()
	}
	return netip.AddrPortFrom(a, binary.BigEndian.Uint16(port))
}

func zoneIndex(zone string) uint32 {
	if zone == "" {
		return 0
	}
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n)
	}
	if i, err := net.InterfaceByName(zone); err == nil {
		return uint32(i.Index)
	}
	return 0
}

// isLocal reports whether a is an address of this host; where it can't tell, it says so.
func isLocal(a netip.Addr) bool {
	if a.IsLoopback() {
		return true
	}
	list, err := net.InterfaceAddrs()
	if err != nil {
		return true
	}
	for _, l := range list {
		if n, ok := l.(*net.IPNet); ok {
			if own, ok := netip.AddrFromSlice(n.IP); ok && own.Unmap() == a.WithZone("") {
				return true
			}
		}
	}
	return false
}
