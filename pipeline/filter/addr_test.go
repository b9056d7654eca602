package filter

import (
	"net/netip"
	"testing"
)

var addresses = []string{
	"192.0.2.1", "0.0.0.0", "255.255.255.255", "256.0.0.1", "192.030.0.6", "1.2.3", "1.2.3.4.5", "1.2.3.4.", ".1.2.3.4", "1..2.3",
	"::", "::1", "1::", "2001:db8::1", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2:3:4:5:6:7", "2001:db8:1:2:3:4:5::", "::2:3:4:5:6:7:8",
	"1:2:3:4:5:6:7::8", "::ffff:192.0.2.1", "::192.0.2.1", "1:2:3:4:5:6:192.0.2.1", "1:2:3:4:5:6:7:192.0.2.1", "::ffff:192.0.2.256",
	"fe80::1%eth0", "fe80::1%", "::ffff:192.0.2.1%eth0", "192.0.2.1%eth0", "1:::2", ":1", "1:", ":::", "12345::", "g::", "", ":", "a", "fe80::1%%",
	"192.0.2.1.example.com", "2001:db8::1.example", "1.2.3.4:5", "00001::1", "::1:", "abcd", "a.b.c.d",
}

func TestParseAddr(t *testing.T) {
	for _, s := range addresses {
		same(t, s)
	}
}

func FuzzParseAddr(f *testing.F) {
	for _, s := range addresses {
		f.Add(s)
	}
	f.Fuzz(same)
}

// same compares parseAddr with netip.
func same(t *testing.T, s string) {
	t.Helper()
	for _, c := range []byte(s) {
		if !addr.has(c) {
			return
		}
	}
	want, err := netip.ParseAddr(s)
	want = want.WithZone("").Unmap()
	if len(s) > longest[addr] {
		return
	}
	got, ok := parseAddr([]byte(s))
	if ok != (err == nil) || ok && got != want {
		t.Errorf("address %q: got %v %v, want %v %v", s, got, ok, want, err)
	}
}

func BenchmarkParseAddr(b *testing.B) {
	for _, s := range []string{"198.51.100.66", "2001:db8:1:2::66"} {
		b.Run(s, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := parseAddr([]byte(s)); !ok {
					b.Fatal(s)
				}
			}
		})
	}
}
