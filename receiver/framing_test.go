package receiver

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// cutUp frames data as if it had come in reads of the sizes that read returns. It does what bufio.Scanner does.
func cutUp(data string, limit int, read func() int) (got []string, lies int, err error) {
	f := framer{max: limit}
	buf := []byte{}
	for eof := false; ; {
		for {
			n, fr, ok, e := f.next(buf, eof, false)
			if e != nil {
				return got, f.lies, e
			}
			if ok {
				s := string(buf[fr.at:fr.end])
				switch fr.flaw {
				case cut:
					s += " [cut]"
				case lied:
					s += " [lied]"
				}
				got = append(got, s)
			}
			buf = buf[n:]
			if !ok {
				break
			}
		}
		if eof {
			return got, f.lies, nil
		}
		n := min(read(), len(data))
		eof = n == 0
		buf = append(slices.Clone(buf), data[:n]...)
		data = data[n:]
	}
}

func atOnce() func() int {
	done := false
	return func() int {
		if done {
			return 0
		}
		done = true
		return 1 << 30
	}
}

func TestFraming(t *testing.T) {
	long := strings.Repeat("x", 600)
	f := func(in string, want ...string) {
		t.Helper()
		got, _, err := cutUp(in, 512, atOnce())
		if err != nil {
			t.Errorf("%q: %v", in, err)
		}
		same(t, fmt.Sprintf("%q", in), got, want)
		for size := 1; size <= 7; size++ {
			got, _, err := cutUp(in, 512, func() int { return size })
			if err != nil {
				t.Errorf("%q in reads of %d: %v", in, size, err)
			}
			same(t, fmt.Sprintf("%q in reads of %d", in, size), strip(got), strip(want))
		}
	}
	// lines
	f("")
	f("a\nb\n", "a", "b")
	f("\n\na\n\n", "a")
	f("a\r\nb\x00\n", "a\r", "b\x00")
	f("<34>", "<34> [cut]")
	f("<34>\n<999>x\n", "<34>", "<999>x")
	f("a\nb", "a", "b [cut]")
	// counted frames, and both in turn
	f("5 <34>x", "<34>x")
	f("5 <34>x5 <34>y", "<34>x", "<34>y")
	f("5 <34>x\n5 <34>y\n", "<34>x", "<34>y")
	f("7 <34>a\nb<34>c\n5 <34>y<35>z\n", "<34>a\nb", "<34>c", "<34>y", "<35>z")
	f("00005 <34>x", "<34>x")
	f("0 <34>x\n", "<34>x")
	f("9 <34>x", "<34>x [cut]")
	f("14 <34>ab\n12 <34>message\n5 <34>c\n5 <34>y", "<34>ab\n12 <34> [lied]", "<34>c", "<34>y")
	f("12", "12 [cut]")
	f("12 ", "12  [cut]")
	f("12 <", "< [cut]")
	// no counts
	f("-5 x\n", "-5 x")
	f("-5 <34>x\n", "-5 <34>x")
	f("2024 was long ago\n", "2024 was long ago")
	f("123456 <34>x\n", "123456 <34>x")
	f("9223372036854775807 <34>x\n", "9223372036854775807 <34>x")
	f("5  <34>x\n", "5  <34>x")
	// too long
	f(long[:512]+"\n<34>b\n", long[:512], "<34>b")
	f(long[:513]+"\n<34>b\n", long[:512]+" [cut]", "<34>b")
	f(long+"\n<34>b\n", long[:512]+" [cut]", "<34>b")
	f(long, long[:512]+" [cut]")
	f("604 <34>"+long+"5 <34>y", "<34>"+long[:508]+" [cut]", "<34>y")
	f("604 <34>"+long+"<34>y\n", "<34>"+long[:508]+" [cut]", "<34>y")
	f("99999 <34>"+long, "<34>"+long[:508]+" [cut]")
	// counts that lie: too short, too long
	f("5 <34>hello\n<34>b\n5 <34>y", "<34>h [lied]", "<34>b", "<34>y")
	f("12 <34>ab\n12 <34>message\n5 <34>c\n5 <34>y", "<34>ab\n12 <3 [lied]", "4>message [lied]", "<34>c", "<34>y")
	// one digit short: what it cut off is the only sign
	f("17 <34>from 192.0.2.1\n<34>b\n", "<34>from 192.0.2. [lied]", "1 [lied]", "<34>b")
	f("604 <34>"+long+"x\n<34>b\n", "<34>"+long[:508]+" [cut]", "<34>b")
}

// strip takes the sign of a lie off: where a read ends just behind a frame, its lie shows too late.
func strip(list []string) []string {
	var out []string
	for _, s := range list {
		out = append(out, strings.TrimSuffix(s, " [lied]"))
	}
	return out
}

func TestLies(t *testing.T) {
	f := func(in string, read func() int, want int) {
		t.Helper()
		if _, got, _ := cutUp(in, 512, read); got != want {
			t.Errorf("%q: got %d lies noticed late, want %d", in, got, want)
		}
	}
	byByte := func() int { return 1 }
	f("5 <34>hello\n<34>b\n", byByte, 1)
	f("5 <34>hello\n<34>b\n", atOnce(), 0)
	f("5 <34>1\n", byByte, 0)
	f("5 <34>11\n<34>b\n", byByte, 1)
	f("5 <34>x5 <34>y\n", byByte, 0)
}

func TestLostConnection(t *testing.T) {
	f := func(gap int, want error) {
		t.Helper()
		in := "5 <34>h" + strings.Repeat("e", gap) + "\n<34>b\n"
		for _, read := range []func() int{atOnce(), func() int { return 3 }, func() int { return 100 }} {
			if _, _, err := cutUp(in, 512, read); err != want {
				t.Errorf("line end %d bytes behind a lying count: got %v, want %v", gap, err, want)
			}
		}
	}
	f(512, nil)
	f(513, errLost)
	f(5000, errLost)
}

func TestSoonWaits(t *testing.T) {
	f := framer{max: 512}
	if _, _, ok, _ := f.next([]byte("5 <34>x"), false, true); ok {
		t.Error("a counted frame at the end of what was read is handed on though more is at hand")
	}
	if _, _, ok, _ := f.next([]byte("5 <34>x"), false, false); !ok {
		t.Error("a counted frame at the end of what was read waits for traffic")
	}
}

func FuzzFraming(f *testing.F) {
	for _, s := range []string{
		"a\nb\n", "5 <34>x5 <34>y", "5 <34>hello\n<34>b\n", "-5 x\n", "<34>", "9223372036854775807 x\n", "0 <34>x\n",
		"99999 <34>x\n", "12 <34>ab\n12 <34>message\n5 <34>c\n", "17 <34>from 192.0.2.1\n",
	} {
		f.Add([]byte(s), uint64(1), uint16(16))
		f.Add([]byte(strings.Repeat(s, 20)), uint64(7), uint16(40))
	}
	f.Fuzz(func(t *testing.T, data []byte, seed uint64, limit uint16) {
		most := 8 + int(limit)%100
		whole, _, werr := cutUp(string(data), most, atOnce())
		rnd := rand.New(rand.NewPCG(seed, 1))
		parts, _, perr := cutUp(string(data), most, func() int { return 1 + rnd.IntN(40) })
		if !slices.Equal(strip(whole), strip(parts)) || werr != perr {
			t.Fatalf("framing depends on the reads:\nat once %q %v\nin parts %q %v", whole, werr, parts, perr)
		}
		for _, m := range whole {
			m = strings.TrimSuffix(strings.TrimSuffix(m, " [lied]"), " [cut]")
			if len(m) > most || m == "" {
				t.Fatalf("message of %d bytes, limit %d", len(m), most)
			}
			if !bytes.Contains(data, []byte(m)) {
				t.Fatalf("message %q stands nowhere in %q", m, data)
			}
		}
		if bytes.ContainsAny(data, "0123456789") { // a count may reach beyond
			return
		}
		all, _, _ := cutUp(string(data)+"\n<34>ok\n", most, atOnce())
		if got := all[len(all)-1]; got != "<34>ok" {
			t.Fatalf("what follows is not intact: got %q", got)
		}
	})
}
