package header

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

// Every field lies inside Raw and grows into nothing, stale fields change no result, and what is no part of the header
// is in the text.
func FuzzParse(f *testing.F) {
	for _, c := range captures(f) {
		f.Add([]byte(c.Raw))
	}
	for _, s := range []string{
		"", "<", "<34>", "<999>x", "<34>1 ", "<34>1 - - - - [", "<34>1 - - - - [a b=\"\\", "<34>Nov 22 13:25:06",
		"<34>Nov 22 13:25:06 a [1]: b", "Nov  2 2026 13:25:06 : x: y", "Nov 22 13:25:06 <auth.info> a b.c[1]: d",
		"2026-11-22 13:25:06,123 a b c[1]: d", "2026-11-22T13:25:06+01:00 a b 1 - [c] d", "a b[1]: [ID 1 auth.info] c",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		kept := bytes.Clone(raw)
		fresh := event.Message{Raw: raw}
		stale, ok := parse(string(raw))
		if Parse(&fresh) != ok {
			t.Fatal("header: two answers to one message")
		}
		if !bytes.Equal(raw, kept) {
			t.Fatal("header: Raw was changed")
		}
		if fresh.Facility > 23 || fresh.Severity > 7 {
			t.Fatalf("header: facility %d, severity %d", fresh.Facility, fresh.Severity)
		}
		if !fresh.Time.Equal(stale.Time) || fresh.Facility != stale.Facility || fresh.Severity != stale.Severity {
			t.Fatal("header: what the slot held before shows")
		}
		a := [][]byte{fresh.Host, fresh.Program, fresh.PID, fresh.Text}
		b := [][]byte{stale.Host, stale.Program, stale.PID, stale.Text}
		for i := range a {
			if !bytes.Equal(a[i], b[i]) {
				t.Fatalf("header: what the slot held before shows: %q, %q", a[i], b[i])
			}
			if !inside(a[i], raw) {
				t.Fatalf("header: field %q is not inside Raw", a[i])
			}
			if cap(a[i]) != len(a[i]) {
				t.Fatalf("header: field %q can grow into what follows it", a[i])
			}
		}
		if rest := bytes.TrimRight(raw, "\r\n\x00"); len(fresh.Text) > 0 && !bytes.HasSuffix(rest, fresh.Text) {
			t.Fatalf("header: text %q is not the end of %q", fresh.Text, raw)
		}
	})
}

// inside reports whether part is empty or lies in the memory of whole.
func inside(part, whole []byte) bool {
	if len(part) == 0 {
		return true
	}
	at, from := uintptr(unsafe.Pointer(&part[0])), uintptr(unsafe.Pointer(unsafe.SliceData(whole)))
	return at >= from && at+uintptr(len(part)) <= from+uintptr(len(whole))
}

// What is written as the RFCs say is read as it was meant.
func FuzzRoundTrip(f *testing.F) {
	f.Add("srv", "sshd", "77", "Failed password for root from 192.0.2.7 port 4242 ssh2", int64(1795353905123456789))
	f.Add("2001:db8::70", "wordpress(a.example)", "1", "a \"b\\]\n c", int64(0))
	f.Fuzz(func(t *testing.T, host, program, pid, text string, nano int64) {
		word := func(s, bad string) bool {
			return s != "" && s != "-" && !strings.ContainsAny(s, " "+bad)
		}
		at := time.Unix(0, nano).UTC()
		if !word(host, "") || !word(program, "") || !word(pid, "") || at.Year() < 0 || at.Year() > 9999 {
			t.Skip("nothing that a header holds")
		}
		if text != strings.TrimRight(text, "\r\n\x00") || strings.HasPrefix(text, " ") || strings.HasPrefix(text, "\xef\xbb\xbf") {
			t.Skip("nothing that a text begins or ends with")
		}
		f := func(format string, args ...any) {
			raw := fmt.Sprintf(format, args...)
			m, ok := parse(raw)
			got := fmt.Sprintf("%q %q %q %q %v", m.Host, m.Program, m.PID, m.Text, ok)
			if want := fmt.Sprintf("%q %q %q %q true", host, program, pid, text); got != want {
				t.Errorf("header: %q: got %s, want %s", raw, got, want)
			}
			if strings.HasPrefix(raw, "<38>1 2") && !m.Time.Equal(at) {
				t.Errorf("header: %q: got %v, want %v", raw, m.Time, at)
			}
		}
		stamp := at.Format(time.RFC3339Nano)
		f("<38>1 %s %s %s %s - - %s\n", stamp, host, program, pid, text)
		f("<38>1 %s %s %s %s - -  %s", stamp, host, program, pid, text)
		value := strings.NewReplacer(`\`, `\\`, `"`, `\"`, `]`, `\]`).Replace(text)
		f("<38>1 %s %s %s %s - [x@1 y=\"%s\" z=\"\"][q] %s", stamp, host, program, pid, value, text)
		if word(host, "[:<") && word(program, "[:{\"") && word(pid, "]") && !strings.HasPrefix(text, "[ID ") {
			f("<38>Nov 22 13:25:06 %s %s[%s]: %s", host, program, pid, text)
		}
	})
}
