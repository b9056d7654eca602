package receiver

import (
	"encoding/binary"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Room for one struct ucred behind its header. Descriptors that a sender passes find none, and the kernel closes them.
const controlBytes = 32

// credential returns the user id in a control message, -1 where there is none. The kernel has checked it: only who may
// become that user can claim to be it.
func credential(control []byte) int {
	const head, cred = unix.SizeofCmsghdr, unix.SizeofUcred
	if len(control) < head+cred {
		return -1
	}
	c := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
	if c.Level != unix.SOL_SOCKET || c.Type != unix.SCM_CREDENTIALS || c.Len != head+cred {
		return -1
	}
	return int(binary.NativeEndian.Uint32(control[head+4:])) // pid, uid, gid
}

// receiveBuffer sets the kernel's receive buffer, beyond net.core.rmem_max where we may. The kernel doubles n for its own
// book-keeping.
func receiveBuffer(fd, n int) error {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, n) == nil {
		return nil
	}
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, n)
}

// The index of the drops in what SO_MEMINFO returns, and the number of its fields (linux/sock_diag.h).
const (
	memInfoDrops = 8
	memInfoVars  = 9
)

// drops returns how many datagrams the kernel has dropped at the socket. It is exact, and wraps.
func drops(fd int) (uint32, error) {
	var info [memInfoVars]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0, errno
	}
	return info[memInfoDrops], nil
}

// A lostCount sums up what drops returns.
type lostCount struct {
	mu    sync.Mutex
	last  uint32
	total uint64
}

func (c *lostCount) update(n uint32) {
	c.mu.Lock()
	c.total += uint64(n - c.last)
	c.last = n
	c.mu.Unlock()
}

func (c *lostCount) load() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.total
}

// shut lets nothing more into a datagram socket: what it has queued can still be read. A unix socket's senders are told
// (EPIPE), and what is sent by UDP counts as dropped by the kernel.
func shut(fd int, unixgram bool) error {
	if unixgram {
		return unix.Shutdown(fd, unix.SHUT_RD)
	}
	none := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &none})
}
