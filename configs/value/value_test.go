package value

import (
	"encoding"
	"fmt"
	"slices"
	"testing"
)

// read is what every kind of value does.
type read interface {
	encoding.TextUnmarshaler
	fmt.Stringer
	SetPos(Pos)
	At() Pos
}

func TestRoundTrip(t *testing.T) {
	f := func(v read, in, want string) {
		t.Helper()
		if err := v.UnmarshalText([]byte(in)); err != nil {
			t.Errorf("%q: %v", in, err)
			return
		}
		if got := v.String(); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
		if err := v.UnmarshalText([]byte(want)); err != nil || v.String() != want {
			t.Errorf("%q again: got %q, %v", want, v, err)
		}
		at := Pos{File: "a.yaml", Line: 3, Column: 7}
		v.SetPos(at)
		if got := v.At(); got != at {
			t.Errorf("%q: place: got %v, want %v", in, got, at)
		}
	}
	f(new(Duration), "90m", "1h30m")
	f(new(Duration), "permanent", "permanent")
	f(new(Size), "65000", "65000")
	f(new(Size), "8KiB", "8KiB")
	f(new(Size), "8k", "8KiB")
	f(new(Size), "64 MiB", "64MiB")
	f(new(Size), "2048m", "2GiB")
	f(new(Size), "0", "0")
	f(new(Size), "1025", "1025")
	f(new(Prefix), "192.0.2.1", "192.0.2.1")
	f(new(Prefix), "2001:db8::1/128", "2001:db8::1")
	f(new(Prefix), "192.0.2.0/24", "192.0.2.0/24")
	f(new(Prefix), "2001:DB8::/32", "2001:db8::/32")
	f(new(Prefix), "::ffff:192.0.2.1", "192.0.2.1")
	f(new(Prefix), "::ffff:192.0.2.0/120", "192.0.2.0/24")
	f(new(Ports), "22", "22")
	f(new(Ports), "mail", "mail")
	f(new(String), "any\x00thing", "any\x00thing")
	f(new(Int), "007", "7")
	f(new(Int), "4294967295", "4294967295")
	f(new(Bool), "true", "true")
	f(new(Bool), "false", "false")
}

func TestErrors(t *testing.T) {
	f := func(v encoding.TextUnmarshaler, in, want string) {
		t.Helper()
		err := v.UnmarshalText([]byte(in))
		if err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", in, err, want)
		}
	}
	f(new(Size), "", `"" is no size: write 65000, 8KiB, 16MiB`)
	f(new(Size), "-1", `"-1" is no size: write 65000, 8KiB, 16MiB`)
	f(new(Size), "8 TiB", `"8 TiB" has no unit " TiB": use KiB, MiB, GiB`)
	f(new(Size), "1099511627776", `"1099511627776" is no size: write 65000, 8KiB, 16MiB`)
	f(new(Size), "1099511627775GiB", `"1099511627775GiB" is too large`)
	f(new(Prefix), "192.0.2.1/24", `"192.0.2.1/24" has host bits: 192.0.2.0/24 is the network, 192.0.2.1 the address`)
	f(new(Prefix), "192.0.2.0/33", `"192.0.2.0/33" is no network`)
	f(new(Prefix), "example.net", `"example.net" is no address and no network`)
	f(new(Prefix), "fe80::1%eth0", `"fe80::1%eth0" is no address and no network`)
	f(new(Prefix), "192.0.2.01", `"192.0.2.01" is no address and no network`)
	f(new(Prefix), "::ffff:0:0/90", `"::ffff:0:0/90" is wider than all of IPv4`)
	f(new(Ports), "0", `"0" is no port: a number from 1 to 65535, or a name such as ssh, http, https, mail`)
	f(new(Ports), "65536", `"65536" is no port: a number from 1 to 65535, or a name such as ssh, http, https, mail`)
	f(new(Ports), "SSH", `"SSH" is no port: a number from 1 to 65535, or a name such as ssh, http, https, mail`)
	f(new(Int), "-1", `"-1" is no whole number`)
	f(new(Int), "1.5", `"1.5" is no whole number`)
	f(new(Int), "4294967296", `"4294967296" is no whole number`)
	f(new(Bool), "yes", `"yes" is neither true nor false`)
}

func TestPorts(t *testing.T) {
	f := func(in string, want ...uint16) {
		t.Helper()
		var p Ports
		if err := p.UnmarshalText([]byte(in)); err != nil || !slices.Equal(p.List, want) {
			t.Errorf("%q: got %v, %v, want %v", in, p.List, err, want)
		}
	}
	f("22", 22)
	f("ssh", 22)
	f("web", 80, 443)
	f("mail", 25, 110, 143, 465, 587, 993, 995, 4190)

	var a, b Ports
	_ = a.UnmarshalText([]byte("web"))
	_ = b.UnmarshalText([]byte("web"))
	a.List[0] = 1
	if b.List[0] != 80 {
		t.Error("two values share their ports")
	}
}

func TestBoolSet(t *testing.T) {
	var b Bool
	if b.Set {
		t.Error("set before it was read")
	}
	if err := b.UnmarshalText([]byte("false")); err != nil || !b.Set || b.B {
		t.Errorf("got %+v, %v, want false and set", b, err)
	}
}

func TestErrorText(t *testing.T) {
	var errs Errors
	if errs.Err() != nil {
		t.Error("no mistakes: got an error")
	}
	errs.Add(Pos{File: "a.yaml", Line: 3, Column: 7}, "did you mean maxretry?", "unknown key %s", "maxretires")
	errs.Add(Pos{File: "b.yaml"}, "", "not readable")
	errs.Add(Pos{}, "", "no jails")
	const want = "a.yaml:3:7: unknown key maxretires (did you mean maxretry?)\nb.yaml: not readable\nno jails"
	if err := errs.Err(); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
