package allow

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// resolvConfs name the host's DNS servers. Behind a stub on loopback the true ones stand in the files after the first.
var resolvConfs = []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf", "/run/NetworkManager/no-stub-resolv.conf"}

// resolvers returns the name servers that the files name, each once. A file that is not there names none.
func resolvers(paths []string) []netip.Addr {
	var list []netip.Addr
	for _, p := range paths {
		if text, err := os.ReadFile(p); err == nil {
			list = append(list, nameservers(string(text))...)
		}
	}
	return union(list, nil)
}

// nameservers reads resolv.conf(5).
func nameservers(text string) []netip.Addr {
	var list []netip.Addr
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(f[1]); err == nil {
			list = append(list, a.Unmap().WithZone(""))
		}
	}
	return list
}

// maxAncestors bounds the way up to the first process.
const maxAncestors = 64

// sessions returns the clients of the SSH sessions that this process and its ancestors run in, each once. sudo and many
// a login shell drop the variable, so the nearest process that still has it may be far up. Where proc is hidden the way
// ends.
func sessions(proc string) []netip.Addr {
	var list []netip.Addr
	for pid, n := os.Getpid(), 0; pid > 0 && n < maxAncestors; n++ {
		dir := filepath.Join(proc, strconv.Itoa(pid))
		if env, err := os.ReadFile(filepath.Join(dir, "environ")); err == nil {
			if a := client(env); a.IsValid() && !slices.Contains(list, a) {
				list = append(list, a)
			}
		}
		stat, err := os.ReadFile(filepath.Join(dir, "stat"))
		if err != nil {
			break
		}
		if pid, err = parent(stat); err != nil {
			break
		}
	}
	return list
}

// client reads the client's address from SSH_CONNECTION, which sshd sets to client, port, server, port. Env is as proc
// has it, each variable ended by a NUL.
func client(env []byte) netip.Addr {
	for v := range bytes.SplitSeq(env, []byte{0}) {
		value, ok := bytes.CutPrefix(v, []byte("SSH_CONNECTION="))
		if !ok {
			continue
		}
		first, _, _ := strings.Cut(string(value), " ")
		a, err := netip.ParseAddr(first)
		if err != nil {
			return netip.Addr{}
		}
		return a.Unmap().WithZone("")
	}
	return netip.Addr{}
}

// parent reads the parent's pid from /proc/PID/stat: the second field after the name, which is in parentheses and may
// hold anything, more of them too.
func parent(stat []byte) (int, error) {
	after := stat[bytes.LastIndexByte(stat, ')')+1:]
	f := bytes.Fields(after)
	if len(f) < 2 {
		return 0, fmt.Errorf("no parent in %q", stat)
	}
	return strconv.Atoi(string(f[1]))
}
