// Package netns runs code in network namespaces of its own, so that tests and the demo touch real kernel sets, rules and
// packets without touching the host's. It needs no root where the kernel lets ordinary users make user namespaces.
package netns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ErrForbidden says that this host lets us make no namespaces.
var ErrForbidden = errors.New("namespaces are forbidden here: run as root, or allow them with " +
	"`sysctl -w kernel.unprivileged_userns_clone=1` (Debian), `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0` " +
	"(Ubuntu), `sysctl -w user.max_user_namespaces=10000` (Red Hat)")

// ErrModules says that the kernel knows no ipset. It loads modules itself when root asks, but not for a user namespace.
var ErrModules = errors.New("kernel modules are missing: run `modprobe -a ip_set ip_set_hash_net xt_set nft_compat nf_tables` once as root")

// marker is set in the environment of a process that was started by Isolate.
const marker = "RAPSHEET_NETNS"

// Inside reports whether this process was started by Isolate.
func Inside() bool { return os.Getenv(marker) != "" }

// Isolate makes cmd start in a network namespace of its own: as root in that alone, as anybody else in a user namespace
// too, where it is root. It dies with the thread that starts it, so that thread is to be locked: Command does it.
func Isolate(cmd *exec.Cmd) {
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, marker+"=1")
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	cmd.SysProcAttr = attr
}

// Command runs cmd isolated and waits for its end. The error is ErrForbidden, cmd's own exit, or what hindered it.
func Command(cmd *exec.Cmd) error {
	Isolate(cmd)
	runtime.LockOSThread() // Pdeathsig means the thread's death, not the process's
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return Explain(err)
	}
	return cmd.Wait()
}

// Explain turns an error of starting an isolated process, or of its first steps inside, into ErrForbidden where that
// is its cause.
func Explain(err error) error {
	// EPERM: a sysctl or a policy; ENOSPC, EUSERS: the limit on namespaces is 0; EINVAL: a kernel without them.
	for _, e := range []error{unix.EPERM, unix.EACCES, unix.ENOSPC, unix.EUSERS, unix.EINVAL} {
		if errors.Is(err, e) {
			return fmt.Errorf("netns: %w (%w)", ErrForbidden, err)
		}
	}
	return err
}

// Ready brings the loopback interface of the current namespace up, which a new one needs first. Ubuntu lets anybody make
// a namespace and refuses the rights inside, so that only here it shows.
func Ready() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("netns: lo: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return Explain(err)
	}
	return nil
}

// Modules asks the kernel for ipset's protocol, which loads it where that is allowed: nil, or ErrModules.
func Modules() (err error) {
	defer func() { // the library asserts on the error's type
		if p := recover(); p != nil {
			err = fmt.Errorf("netns: %w (%v)", ErrModules, p)
		}
	}()
	if _, _, e := netlink.IpsetProtocol(); e != nil {
		return fmt.Errorf("netns: %w (%v)", ErrModules, e)
	}
	return nil
}
