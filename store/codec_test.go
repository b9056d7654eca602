package store

import (
	"bytes"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

var (
	genAddr = rapid.Custom(func(t *rapid.T) netip.Addr {
		if rapid.Bool().Draw(t, "v4") {
			return netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "addr")))
		}
		return netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "addr")))
	})
	genPrefix = rapid.Custom(func(t *rapid.T) netip.Prefix {
		a := genAddr.Draw(t, "addr")
		return netip.PrefixFrom(a, rapid.IntRange(0, a.BitLen()).Draw(t, "bits")).Masked()
	})
	genTime = rapid.Custom(func(t *rapid.T) time.Time {
		// The years 1 to 9999.
		return time.Unix(rapid.Int64Range(-62135596800, 253402300799).Draw(t, "s"), rapid.Int64Range(0, 1e9-1).Draw(t, "ns")).UTC()
	})
	genJail = rapid.StringMatching(`[a-z0-9-]{0,14}`)
)

func drawBan(t *rapid.T) event.Ban {
	text := rapid.StringN(0, -1, maxText)
	return event.Ban{
		Prefix: genPrefix.Draw(t, "prefix"), Jail: genJail.Draw(t, "jail"), Seq: rapid.Uint64().Draw(t, "seq"),
		Issued: genTime.Draw(t, "issued"), Until: genTime.Draw(t, "until"),
		Lifted: rapid.Bool().Draw(t, "lifted"), Observed: rapid.Bool().Draw(t, "observed"), Ports: rapid.Bool().Draw(t, "ports"),
		Strike: rapid.Int().Draw(t, "strike"), Score: rapid.Uint32().Draw(t, "score"),
		Reason: text.Draw(t, "reason"), Origin: text.Draw(t, "origin"), By: text.Draw(t, "by"), Sender: text.Draw(t, "sender"),
	}
}

func TestBanRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawBan(t)
		b := appendBan(nil, &want)
		if len(b) > banSize {
			t.Errorf("ban: got %d bytes, want at most %d", len(b), banSize)
		}
		got, err := readBan(b)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("ban: got %+v, %v, want %+v", got, err, want)
		}
	})
}

func TestForever(t *testing.T) {
	b, err := readBan(appendBan(nil, &event.Ban{Prefix: prefix("192.0.2.1"), Until: event.Forever}))
	if err != nil || !b.Until.Equal(event.Forever) || !b.Issued.IsZero() {
		t.Errorf("got %v, %v, %v, want %v", b.Issued, b.Until, err, event.Forever)
	}
}

func TestEvidenceRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.SliceOfN(rapid.Byte(), 0, maxName)
		want := Evidence{
			Time: genTime.Draw(t, "time"), Addr: genAddr.Draw(t, "addr"), Kind: event.Kind(rapid.Byte().Draw(t, "kind")),
			Sender: rapid.StringN(0, -1, maxHost).Draw(t, "sender"), Filter: "ssh", Rule: "Failed <user>",
			Host: raw.Draw(t, "host"), Program: raw.Draw(t, "program"), User: raw.Draw(t, "user"), Line: raw.Draw(t, "line"),
		}
		got, err := readEvidence(appendEvidence(nil, &want))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("evidence: got %+v, %v, want %+v", got, err, want)
		}
	})
}

// However long the fields are that senders and attackers choose, little of them is kept.
func TestEvidenceIsCut(t *testing.T) {
	long := bytes.Repeat([]byte("x"), 65000)
	b := appendEvidence(nil, &Evidence{Sender: string(long), Host: long, Program: long, Filter: string(long), Rule: string(long), User: long, Line: long})
	e, err := readEvidence(b)
	if err != nil || len(e.Line) != 512 || len(b) > 2200 {
		t.Errorf("got a line of %d in %d bytes, %v, want 512 in 2200", len(e.Line), len(b), err)
	}
	if e.Addr.IsValid() || !e.Time.IsZero() {
		t.Errorf("got %v and %v, want neither", e.Addr, e.Time)
	}
}

func TestKeyRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, jail := genPrefix.Draw(t, "prefix"), rapid.StringN(0, -1, maxJail).Draw(t, "jail")
		key := append(appendKey(nil, tableEvidence, jail, p), 7)
		q, rest, ok := splitPrefix(key)
		got, tail, ok2 := splitJail(rest)
		if !ok || !ok2 || q != p || got != jail || !bytes.Equal(tail, []byte{7}) || len(key) > maxKey {
			t.Fatalf("key %x: got %v %q %x, want %v %q", key, q, got, tail, p, jail)
		}
	})
}

// Keys order as (family, address, bits, jail).
func TestKeyOrder(t *testing.T) {
	want := []string{"0.0.0.0/0", "192.0.2.0/24", "192.0.2.0/32", "192.0.2.1/32", "192.0.2.255/32", "198.51.100.0/24",
		"::/0", "2001:db8::/32", "2001:db8::/64", "2001:db8::/128", "2001:db8::1/128", "2001:db8:0:1::/64"}
	var keys [][]byte
	for _, p := range want {
		for _, jail := range []string{"a", "z", "aa"} {
			keys = append(keys, appendKey(nil, tableRecord, jail, netip.MustParsePrefix(p)))
		}
	}
	if !slices.IsSortedFunc(keys, bytes.Compare) {
		t.Errorf("keys: got %x, want them sorted", keys)
	}
}

// Whatever lies on the disk is read as a ban or refused, and what is read is written back as it was.
func FuzzBan(f *testing.F) {
	b := ban("ssh", "192.0.2.1", math.MaxUint64, event.Forever)
	f.Add(appendBan(nil, &b))
	f.Add([]byte{banVersion})
	f.Fuzz(func(t *testing.T, in []byte) {
		b, err := readBan(in)
		if err != nil || max(len(b.Reason), len(b.Origin), len(b.By), len(b.Sender)) > maxText {
			return
		}
		again, err := readBan(appendBan(nil, &b))
		if err != nil || !reflect.DeepEqual(again, b) {
			t.Errorf("%x: got %+v, then %+v, %v", in, b, again, err)
		}
	})
}

// Evidence that is read lies inside what it was read from.
func FuzzEvidence(f *testing.F) {
	f.Add(appendEvidence(nil, &Evidence{Time: t0, Addr: netip.MustParseAddr("192.0.2.1"), Line: []byte(strings.Repeat("x", 600))}))
	f.Fuzz(func(t *testing.T, in []byte) {
		e, err := readEvidence(in)
		if err != nil {
			return
		}
		if n := len(e.Sender) + len(e.Host) + len(e.Program) + len(e.Filter) + len(e.Rule) + len(e.User) + len(e.Line); n > len(in) {
			t.Errorf("%x: got %d bytes of text", in, n)
		}
		again, err := readEvidence(appendEvidence(nil, &e))
		if err != nil || !again.Time.Equal(e.Time) || again.Addr != e.Addr || again.Kind != e.Kind {
			t.Errorf("%x: got %+v, then %+v, %v", in, e, again, err)
		}
	})
}

// A key that is no key of ours is refused; one that is ours names an offender that makes the same key.
func FuzzKey(f *testing.F) {
	f.Add(appendKey(nil, tableRecord, "ssh", prefix("192.0.2.1")))
	f.Add(appendKey(nil, tableEvidence, "ssh", prefix("2001:db8::/64")))
	f.Fuzz(func(t *testing.T, in []byte) {
		p, rest, ok := splitPrefix(in)
		if !ok {
			return
		}
		if again := append(appendPrefix(nil, in[0], p), rest...); !bytes.Equal(again, in) {
			t.Errorf("%x: got %v, whose key is %x", in, p, again)
		}
		if jail, tail, ok := splitJail(rest); ok && !bytes.Equal(append(appendJail(nil, jail), tail...), rest) {
			t.Errorf("%x: got jail %q and %x", rest, jail, tail)
		}
	})
}
