package receiver

import (
	"encoding/hex"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"

	"github.com/rapsheet/rapsheet/configs/value"
	"github.com/rs/zerolog"
)

func TestVouches(t *testing.T) {
	other := tcpConfig()
	other.TCP, other.Name, other.UIDs = text("[::1]:0"), text("six"), []value.String{text("4711"), text("4712")}
	more := tcpConfig()
	more.TCP = text(":0")
	r, err := Listen([]Config{tcpConfig(), udpConfig(), unixConfig(t), other, more}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	list := r.Vouches()
	if len(list) != 3 {
		t.Fatalf("vouches: got %+v, want one for each TCP listener", list)
	}
	f := func(v Vouch, name, addr string, port net.Addr, uids ...uint32) {
		t.Helper()
		if v.Listener != name || v.Addr != netip.AddrPortFrom(netip.MustParseAddr(addr), addrPort(port).Port()) {
			t.Errorf("vouch: got %s %s, want %s %s", v.Listener, v.Addr, name, addr)
		}
		for _, uid := range append(uids, 0, uint32(os.Geteuid())) {
			if !slices.Contains(v.UIDs, uid) {
				t.Errorf("%s: got %v, want %d among them", name, v.UIDs, uid)
			}
		}
		if !slices.IsSorted(v.UIDs) || v.Mark == 0 {
			t.Errorf("%s: got %+v", name, v)
		}
	}
	f(list[0], "tcp 127.0.0.1:0", "127.0.0.1", r.Addrs()[0])
	f(list[1], "six", "::1", r.Addrs()[3], 4711, 4712)
	f(list[2], "tcp :0", "::", r.Addrs()[4])
	if list[0].Mark == list[1].Mark || list[0].Mark != list[2].Mark {
		t.Errorf("marks: got %#x, %#x and %#x: those of the same accounts are the same, others not", list[0].Mark, list[1].Mark, list[2].Mark)
	}
}

// Who has closed his connection before it was accepted is taken at the kernel's word, and refused without it. No rule
// stands here: a listener that waits for the mark 0 believes that one does.
func TestVouchedFor(t *testing.T) {
	f := func(listen, dial string, vouched bool) {
		t.Helper()
		const n = 50
		cfg := tcpConfig()
		cfg.TCP = text(listen)
		rc, err := Listen([]Config{cfg}, zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}
		if vouched {
			rc.listeners[0].mark = 0
		}
		d, err := openDiag()
		if err != nil {
			t.Fatal(err)
		}
		defer d.close()
		_, port, _ := net.SplitHostPort(rc.Addrs()[0].String())
		var ends []netip.AddrPort
		for range n { // before Run accepts, they are not only closed but forgotten
			c, err := net.Dial("tcp", net.JoinHostPort(dial, port))
			if err != nil {
				t.Fatal(err)
			}
			send(t, c, "<34>in a hurry\n")
			ends = append(ends, addrPort(c.LocalAddr()))
			c.Close()
		}
		at := netip.MustParseAddrPort(net.JoinHostPort(dial, port))
		poll(t, "the end of their sockets", func() bool {
			return !slices.ContainsFunc(ends, func(a netip.AddrPort) bool { _, err := d.uid(at, a); return err != errOrphan })
		})
		r := run(t, rc, nil)
		poll(t, "all to be judged", func() bool {
			s := r.Stats()[0]
			return s.Received+s.Refused[RefusedUID] == n
		})
		r.stop()
		s := r.Stats()[0]
		want := uint64(0)
		if vouched {
			want = n
		}
		if s.Received != want || s.Processed != want {
			t.Errorf("%s, vouched for: %t: got %+v, want %d received", dial, vouched, s, want)
		}
		for _, from := range s.Senders {
			if a, _ := netip.ParseAddr(from.Addr); from.UID != -1 || !a.IsLoopback() {
				t.Errorf("sender: got %+v", from)
			}
		}
	}
	f("127.0.0.1:0", "127.0.0.1", true)
	f("127.0.0.1:0", "127.0.0.1", false)
	f("[::1]:0", "::1", true)
	f("[::1]:0", "::1", false)
}

// Two SYNs as the kernel saves them, from 127.0.0.1 and ::1, and where their TCP headers are.
var (
	syn4 = unhex("4510003c1c4640004006207f7f0000017f000001d0be158a" + "4e2a1c3300000000" + "a002" + "ffd7" + "fe30" + "7273" + "0204ffd70402080a0000000000000000" + "01030307")
	syn6 = unhex("6002a3f2002806400000000000000000000000000000000100000000000000000000000000000001d0be158a" + "4e2a1c3300000000" + "a002" + "ffc4" + "0030" + "7273" + "0204ffc40402080a0000000000000000" + "01030307")
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func TestSynMark(t *testing.T) {
	f := func(what string, b []byte, change func(ip, tcp []byte) []byte, want uint16, ok bool) {
		t.Helper()
		b = slices.Clone(b)
		n := 20
		if b[0]>>4 == 6 {
			n = 40
		}
		if change != nil {
			b = change(b, b[n:])
		}
		if got, is := synMark(b); got != want || is != ok {
			t.Errorf("%s: got %#x, %t, want %#x, %t", what, got, is, want, ok)
		}
	}
	for _, b := range [][]byte{syn4, syn6} {
		f("whole", b, nil, 0x7273, true)
		f("with urgent data", b, func(ip, tcp []byte) []byte { tcp[13] |= 0x20; return ip }, 0, false)
		f("with ECN", b, func(ip, tcp []byte) []byte { tcp[13] |= 0xc0; return ip }, 0x7273, true)
		f("no SYN", b, func(ip, tcp []byte) []byte { tcp[13] = 0x10; return ip }, 0, false)
		f("no mark", b, func(ip, tcp []byte) []byte { tcp[18], tcp[19] = 0, 0; return ip }, 0, true)
		f("nothing", b, func([]byte, []byte) []byte { return nil }, 0, false)
		f("short", b, func(ip, _ []byte) []byte { return ip[:len(ip)-21] }, 0, false)
		f("another version", b, func(ip, _ []byte) []byte { ip[0] = 5<<4 | 5; return ip }, 0, false)
	}
	f("options", syn4, func(ip, _ []byte) []byte { ip[0] = 0x46; return slices.Insert(ip, 20, 1, 1, 1, 0) }, 0x7273, true)
	f("a lying length", syn4, func(ip, _ []byte) []byte { ip[0] = 0x44; return ip }, 0, false)
	f("UDP", syn4, func(ip, _ []byte) []byte { ip[9] = 17; return ip }, 0, false)
	f("extensions", syn6, func(ip, _ []byte) []byte { ip[6] = 60; return ip }, 0, false)
}

func FuzzSynMark(f *testing.F) {
	f.Add(syn4)
	f.Add(syn6)
	f.Fuzz(func(t *testing.T, b []byte) {
		mark, ok := synMark(b)
		if !ok && mark != 0 {
			t.Errorf("a mark without a SYN: %#x", mark)
		}
		if ok && len(b) < 40 {
			t.Errorf("a SYN of %d bytes", len(b))
		}
	})
}
