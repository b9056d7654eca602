package mix

import (
	"bytes"
	"net/netip"
	"regexp"
	"slices"
	"testing"
	"time"
)

func TestShares(t *testing.T) {
	const n = 30_000
	var lines [][]byte
	f := func(want float64, texts ...string) {
		t.Helper()
		count := 0
		for _, l := range lines {
			if slices.ContainsFunc(texts, func(s string) bool { return bytes.Contains(l, []byte(s)) }) {
				count++
			}
		}
		if got := float64(count) / n; got < want*0.85 || got > want*1.15 {
			t.Errorf("mix: got %.4f of %q, want %.4f", got, texts, want)
		}
	}
	lines = Lines(Auth, n, RFC3164, 1)
	f(0.60, "Failed password", "Invalid user")
	f(0.30, "Failed password for invalid user")
	f(0.10, "Connection closed by authenticating user")
	lines = Lines(Quiet, n, RFC3164, 1)
	f(0.01, "Failed password", "Invalid user", "auth failed")
	f(0.21, "CRON[")
	f(0.18, ": connect from", ": disconnect from")
}

func TestShape(t *testing.T) {
	f := func(mix string, format Format, pattern string) {
		t.Helper()
		p := regexp.MustCompile(pattern)
		for _, l := range Lines(mix, 2000, format, 1) {
			if !p.Match(l) || len(l) > longest || bytes.ContainsAny(l, "{}\n") {
				t.Fatalf("mix: %s: got line %q, want %s", mix, l, pattern)
			}
		}
	}
	bsd := `^<\d{1,3}>Nov 22 1[23]:\d\d:\d\d srv [\w/-]+(\[\d+\])?: [ \S]+$`
	ietf := `^<\d{1,3}>1 2026-11-22T1[23]:\d\d:\d\d\.\d{6}\+00:00 srv [\w/-]+ (\d+|-) - -  [ \S]+$`
	f(Auth, RFC3164, bsd)
	f(Auth, RFC5424, ietf)
	f(Quiet, RFC3164, bsd)
	f(Quiet, RFC5424, ietf)
}

func TestSameSeedSameLines(t *testing.T) {
	one, two := Lines(Auth, 1000, RFC5424, 7), Lines(Auth, 1000, RFC5424, 7)
	other, bsd := Lines(Auth, 1000, RFC5424, 8), Lines(Auth, 1000, RFC3164, 7)
	same := 0
	for i := range one {
		if !bytes.Equal(one[i], two[i]) {
			t.Fatalf("mix: line %d: got %q, then %q", i, one[i], two[i])
		}
		if bytes.Equal(one[i], other[i]) {
			same++
		}
		_, text, _ := bytes.Cut(one[i], []byte(" - -  "))
		if !bytes.HasSuffix(bsd[i], append([]byte(": "), text...)) {
			t.Fatalf("mix: line %d: got %q in one format and %q in the other", i, one[i], bsd[i])
		}
	}
	if same > 100 {
		t.Errorf("mix: %d of 1000 lines are the same with another seed", same)
	}
}

func TestTimes(t *testing.T) {
	end := time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
	lines := Spec{Mix: Quiet, Format: RFC5424, Lines: 100, End: end, Span: 100 * time.Second}.Make()
	f := func(i int, want string) {
		t.Helper()
		if got := string(bytes.Fields(lines[i])[1]); got != want {
			t.Errorf("mix: line %d: got stamp %s, want %s", i, got, want)
		}
	}
	f(0, "2027-01-02T03:02:26.000000+00:00")
	f(99, "2027-01-02T03:04:05.000000+00:00")
}

func TestAddresses(t *testing.T) {
	var reserved []netip.Prefix // RFC 6890, what IsGlobalUnicast and IsPrivate let pass
	for _, s := range []string{"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4"} {
		reserved = append(reserved, netip.MustParsePrefix(s))
	}
	seen, six := make(map[netip.Prefix]bool, Addresses+Clients), 0
	f := func(a netip.Addr) {
		bits := 32
		if a.Is6() {
			bits, six = 64, six+1
		}
		p := netip.PrefixFrom(a, bits).Masked()
		if !a.IsGlobalUnicast() || a.IsPrivate() || seen[p] {
			t.Fatalf("mix: %s is private, reserved, or there already", a)
		}
		for _, r := range reserved {
			if r.Contains(a) {
				t.Fatalf("mix: %s lies in %s", a, r)
			}
		}
		seen[p] = true
	}
	for i := range Addresses {
		f(Address(i))
	}
	if six != Addresses/20 {
		t.Errorf("mix: got %d IPv6 addresses, want %d", six, Addresses/20)
	}
	for i := range Clients {
		f(Client(i))
	}
}

// The first offenders have the most failures, and many others come as well.
func TestSpread(t *testing.T) {
	count := map[string]int{}
	for _, l := range Lines(Auth, 30_000, RFC3164, 1) {
		if _, rest, ok := bytes.Cut(l, []byte("Failed password for root from ")); ok {
			addr, _, _ := bytes.Cut(rest, []byte(" "))
			count[string(addr)]++
		}
	}
	f := func(i, least, most int) {
		t.Helper()
		if got := count[Address(i).String()]; got < least || got > most {
			t.Errorf("mix: got %d failures of offender %d, want %d to %d", got, i, least, most)
		}
	}
	f(0, 10, 50)
	f(1, 10, 50)
	f(1000, 0, 6)
	if len(count) < 3000 {
		t.Errorf("mix: got %d offenders in 6000 failures, want 3000 and more", len(count))
	}
}

func TestWriteFrames(t *testing.T) {
	lines := [][]byte{[]byte("<1>one"), []byte("<1>seven seven")}
	f := func(octet bool, want string) {
		t.Helper()
		var b bytes.Buffer
		if err := WriteFrames(&b, lines, octet); err != nil || b.String() != want {
			t.Errorf("mix: got %q, %v, want %q", &b, err, want)
		}
	}
	f(false, "<1>one\n<1>seven seven\n")
	f(true, "6 <1>one14 <1>seven seven")
}

func BenchmarkLines(b *testing.B) {
	b.ReportAllocs()
	size := 0
	for b.Loop() {
		size = 0
		for _, l := range Lines(Quiet, 10000, RFC5424, 1) {
			size += len(l)
		}
	}
	b.SetBytes(int64(size))
}
