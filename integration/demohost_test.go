package integration

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rapsheet/rapsheet/integration/lab"
	"github.com/rapsheet/rapsheet/integration/netns"
)

// Root's demo, on a host that is protected by a rapsheet already: sets and tables of the very names stand there. The
// host is a network namespace, so that the machine is in no danger from a demo that is wrong.
func TestDemoAsRootTouchesNothing(t *testing.T) {
	const binary = "RAPSHEET_DEMO_BINARY"
	if !netns.Inside() {
		t.Setenv(binary, lab.Build(t))
	}
	netns.Run(t, func(t *testing.T) {
		bin := os.Getenv(binary)
		protect(t, bin)
		before := snapshot(t)
		if !strings.Contains(before, hex.EncodeToString([]byte("rapsheet-ssh-4\x00"))) {
			t.Fatalf("snapshot: the set rapsheet-ssh-4 is not in it:\n%s", before)
		}

		ctx, cancel := context.WithTimeout(t.Context(), demoLimit)
		defer cancel()
		cmd, out, errs := demoCommand(ctx, bin, demoName(t))
		err := cmd.Run()
		proves(t, err, out, errs)
		if after := snapshot(t); after != before {
			t.Errorf("host after the demo: got\n%s\nwant\n%s", after, before)
		}
		gone(t, cmd.Args[0])
	})
}

// protect runs a rapsheet until it has banned somebody, and kills it.
func protect(t *testing.T, bin string) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "rapsheet.yaml")
	config := fmt.Sprintf("mode: enforce\nlisten: [{unix: %[1]s/log}]\nstate: %[1]s/state\nsocket: %[1]s/socket\n", dir)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	daemon := exec.Command(bin, "run", "--config", file)
	var log bytes.Buffer
	daemon.Stdout, daemon.Stderr = &log, &log
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = daemon.Process.Kill()
		_ = daemon.Wait() // killed
		if t.Failed() {
			t.Logf("daemon: %s", &log)
		}
	}()
	lab.Wait(t, "a ban by hand", func() bool {
		return exec.Command(bin, "ban", "--config", file, "--for", "permanent", "203.0.113.7", "2001:db8:7::/64").Run() == nil
	})
}

// What a snapshot asks nfnetlink for (linux/netfilter/nfnetlink.h, nf_tables.h, ipset/ip_set.h).
var snapshots = []struct {
	what      string
	typ       uint16
	attribute []byte
}{
	{"tables", 10<<8 | 1, nil},
	{"chains", 10<<8 | 4, nil},
	{"rules", 10<<8 | 7, nil},
	{"nftables sets", 10<<8 | 10, nil},
	{"objects", 10<<8 | 19, nil},
	{"ipsets", 6<<8 | 7, []byte{5, 0, 1, 0, 6, 0, 0, 0}}, // protocol 6
}

// snapshot is what the kernel says of the ruleset and the sets, byte by byte, with the number that it gives to every
// change of the ruleset, and the interfaces with their addresses.
func snapshot(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, s := range snapshots {
		fmt.Fprintf(&all, "%s\n", s.what)
		for _, m := range dump(t, s.typ, s.attribute) {
			if s.what == "ipsets" {
				stopClock(m[4:], ipsetAttrs)
			}
			fmt.Fprintf(&all, "  %x\n", m)
		}
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range interfaces {
		addrs, err := i.Addrs()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&all, "%v %v\n", i, addrs)
	}
	return all.String()
}

// dump asks for all of a kind, and returns the bodies of the answers.
func dump(t *testing.T, typ uint16, attribute []byte) (bodies [][]byte) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, syscall.NETLINK_NETFILTER)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	var req []byte
	req = binary.NativeEndian.AppendUint32(req, uint32(syscall.NLMSG_HDRLEN+4+len(attribute)))
	req = binary.NativeEndian.AppendUint16(req, typ)
	req = binary.NativeEndian.AppendUint16(req, syscall.NLM_F_REQUEST|syscall.NLM_F_DUMP)
	req = append(req, 1, 0, 0, 0, 0, 0, 0, 0) // number 1, to the kernel
	req = append(req, 0, 0, 0, 0)             // any family
	req = append(req, attribute...)
	if err := syscall.Sendto(fd, req, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1<<16)
	for {
		n, _, err := syscall.Recvfrom(fd, buf, 0)
		if err != nil {
			t.Fatal(err)
		}
		list, err := syscall.ParseNetlinkMessage(buf[:n])
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range list {
			switch m.Header.Type {
			case syscall.NLMSG_DONE:
				return bodies
			case syscall.NLMSG_ERROR:
				t.Fatalf("dump of %#x: %v", typ, syscall.Errno(-int32(binary.NativeEndian.Uint32(m.Data))))
			}
			bodies = append(bodies, bytes.Clone(m.Data))
		}
	}
}

// ipsetAttrs is the way to the time that an entry has left: IPSET_ATTR_ADT, _DATA, _TIMEOUT.
var ipsetAttrs = []uint16{8, 7, 6}

// stopClock blanks the attributes at the end of the way.
func stopClock(b []byte, way []uint16) {
	for len(b) >= 4 {
		n := int(binary.NativeEndian.Uint16(b))
		if n < 4 || n > len(b) {
			return
		}
		if typ := binary.NativeEndian.Uint16(b[2:]) & 0x3fff; typ == way[0] {
			if len(way) == 1 {
				clear(b[4:n])
			} else {
				stopClock(b[4:n], way[1:])
			}
		}
		b = b[min((n+3)&^3, len(b)):]
	}
}
