package ipset

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

func TestNames(t *testing.T) {
	f := func(jail string, fam family, ports bool, want string) {
		t.Helper()
		name := setName(jail, fam, ports)
		if name != want {
			t.Errorf("name: got %q, want %q", name, want)
		}
		if len(name+filling+growing) > nl.IPSET_MAXNAMELEN-1 {
			t.Errorf("name: %s has no room for what goes behind it", name)
		}
		if j, fa, p, ok := parseName(name); j != jail || fa != fam || p != ports || !ok {
			t.Errorf("parse %s: got %q, %v, %v, %v", name, j, fa, p, ok)
		}
	}
	f("ssh", v4, false, "rapsheet-ssh-4")
	f("ssh", v6, true, "rapsheet-ssh-6p")
	f("a-4p", v4, true, "rapsheet-a-4p-4p")
	f("p", v6, false, "rapsheet-p-6")
	f(strings.Repeat("x", maxJail), v6, true, "rapsheet-xxxxxxxxxxxxxx-6p")

	g := func(name string) {
		t.Helper()
		if jail, _, _, ok := parseName(name); ok {
			t.Errorf("parse %q: got jail %q, want none", name, jail)
		}
	}
	g("")
	g("rapsheet-")
	g("rapsheet--4")
	g("rapsheet-ssh")
	g("rapsheet-ssh-5")
	g("rapsheet-ssh-4pp")
	g("rapsheet-ssh-4.n")
	g("rapsheet-ssh-6p.n.g")
	g("other-ssh-4")
}

// A request is what the kernel reads: every message whole, every attribute in its message.
func TestRequest(t *testing.T) {
	f := func(p, want string) {
		t.Helper()
		var r request
		r.entry(nl.IPSET_CMD_ADD, 0, "rapsheet-ssh-4", netip.MustParsePrefix(p), 600)
		r.entry(nl.IPSET_CMD_DEL, 0, "rapsheet-ssh-4", netip.MustParsePrefix(p), never)
		r.ack()
		r.end()
		n := 0
		each(r.buf, func(typ uint16, seq uint32, body []byte) bool {
			if int(seq) != n || typ>>8 != unix.NFNL_SUBSYS_IPSET {
				t.Errorf("message %d: got type %x, seq %d", n, typ, seq)
			}
			n++
			attributes(body[nl.SizeofNfgenmsg:], func(typ uint16, v []byte) {
				if typ != nl.IPSET_ATTR_DATA {
					return
				}
				got, timeout, ok := readEntry(v)
				if !ok || got.String() != want || timeout != 600*uint32(2-n) {
					t.Errorf("entry: got %s, %d, %v, want %s", got, timeout, ok, want)
				}
			})
			return true
		})
		if n != 2 || r.acked != 1 {
			t.Errorf("messages: got %d, acked %d, want 2, 1", n, r.acked)
		}
	}
	f("192.0.2.66/32", "192.0.2.66/32")
	f("192.0.2.0/24", "192.0.2.0/24")
	f("2001:db8::/64", "2001:db8::/64")
}

func TestRequestAllocatesNothing(t *testing.T) {
	var r request
	p := netip.MustParsePrefix("2001:db8::/64")
	n := testing.AllocsPerRun(100, func() {
		r.reset()
		for range chunk {
			r.entry(nl.IPSET_CMD_ADD, 0, "rapsheet-ssh-6", p, 600)
		}
		r.ack()
		r.end()
	})
	if n != 0 {
		t.Errorf("allocations: got %v, want 0", n)
	}
}

func BenchmarkRequest(b *testing.B) {
	var r request
	p := netip.MustParsePrefix("192.0.2.66/32")
	b.ReportAllocs()
	for b.Loop() {
		r.reset()
		r.entry(nl.IPSET_CMD_ADD, 0, "rapsheet-ssh-4", p, 600)
	}
	b.SetBytes(int64(len(r.buf)))
}

// FuzzDump reads what a kernel might answer: no byte outside the input is touched, and every entry is a prefix.
func FuzzDump(f *testing.F) {
	var r request
	r.set(nl.IPSET_CMD_LIST, 0, v4, "rapsheet-ssh-4")
	r.str(nl.IPSET_ATTR_TYPENAME, setType)
	adt := r.nest(nl.IPSET_ATTR_ADT)
	data := r.nest(nl.IPSET_ATTR_DATA)
	ip := r.nest(nl.IPSET_ATTR_IP)
	r.bytes(nl.IPSET_ATTR_IPADDR_IPV4|order, []byte{192, 0, 2, 66})
	r.close(ip)
	r.u32(nl.IPSET_ATTR_TIMEOUT|order, 5)
	r.close(data)
	r.close(adt)
	r.end()
	f.Add(r.buf)
	var rules request
	id := uint32(0)
	if err := rules.rule(v6, rule{name: "rapsheet-ssh-6p", ports: []uint16{22}}, &id); err != nil {
		f.Fatal(err)
	}
	rules.end()
	f.Add(rules.buf)
	f.Fuzz(func(t *testing.T, b []byte) {
		whole := bytes.Clone(b)
		each(b, func(_ uint16, _ uint32, body []byte) bool {
			if len(body) < nl.SizeofNfgenmsg {
				return true
			}
			body = body[nl.SizeofNfgenmsg:]
			h, n := readSet(body, func(p netip.Prefix, _ uint32) {
				if !p.IsValid() || p.Bits() > p.Addr().BitLen() {
					t.Errorf("entry: got %v", p)
				}
			})
			if n*8 > len(body) || len(h.name) > len(body) {
				t.Errorf("%d entries and a name of %d from %d bytes", n, len(h.name), len(body))
			}
			if l, table := readRule(body); len(l.name)+len(table) > len(body) {
				t.Errorf("rule: got %q of %q from %d bytes", l.name, table, len(body))
			}
			return true
		})
		if !bytes.Equal(b, whole) {
			t.Error("the input was changed")
		}
	})
}

// A stamped request numbers its messages on from the last request's.
func TestStamp(t *testing.T) {
	c := &conn{seq: 7}
	var r request
	r.table(unix.NFT_MSG_DELTABLE, 0, v4, 0)
	r.table(unix.NFT_MSG_DELTABLE, 0, v6, 0)
	if first := c.stamp(&r); first != 8 || c.seq != 9 {
		t.Errorf("stamp: got %d to %d, want 8 to 9", first, c.seq)
	}
	if got := binary.NativeEndian.Uint32(r.buf[8:]); got != 8 {
		t.Errorf("sequence number: got %d, want 8", got)
	}
}
