package header

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rapsheet/rapsheet/integration/mix"
	"github.com/rapsheet/rapsheet/pipeline/event"
)

// A capture is a message as a real daemon sent it, and what stands in it.
type capture struct {
	Raw, Time, Host, Program, PID, Text string
	Pri                                 int
}

func captures(t testing.TB) []capture {
	t.Helper()
	file, err := os.Open("testdata/captures.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var list []capture
	for d := json.NewDecoder(file); d.More(); {
		var c capture
		if err := d.Decode(&c); err != nil {
			t.Fatal(err)
		}
		list = append(list, c)
	}
	return list
}

// parse parses raw in a slot that holds another message's fields, as slots of a batch do.
func parse(raw string) (*event.Message, bool) {
	stale := []byte("stale")
	m := &event.Message{
		Raw: []byte(raw), Facility: 99, Severity: 99, Time: time.Unix(1, 0),
		Host: stale, Program: stale, PID: stale, Text: stale,
	}
	return m, Parse(m)
}

func TestCaptures(t *testing.T) {
	for _, c := range captures(t) {
		m, ok := parse(c.Raw)
		if !ok {
			t.Errorf("header: %q is malformed", c.Raw)
		}
		f := func(what, got, want string) {
			t.Helper()
			if got != want {
				t.Errorf("header: %s of %q: got %q, want %q", what, c.Raw, got, want)
			}
		}
		var want time.Time
		if c.Time != "" {
			var err error
			if want, err = time.Parse(time.RFC3339Nano, c.Time); err != nil {
				t.Fatal(err)
			}
		}
		if !m.Time.Equal(want) {
			t.Errorf("header: time of %q: got %v, want %v", c.Raw, m.Time, want)
		}
		if got := int(m.Facility)*8 + int(m.Severity); got != c.Pri {
			t.Errorf("header: priority of %q: got %d, want %d", c.Raw, got, c.Pri)
		}
		f("host", string(m.Host), c.Host)
		f("program", string(m.Program), c.Program)
		f("pid", string(m.PID), c.PID)
		f("text", string(m.Text), c.Text)
	}
}

func TestParse(t *testing.T) {
	// want: host|program|pid|text, with ! before it where the message is malformed.
	f := func(in, want string) {
		t.Helper()
		m, ok := parse(in)
		got := strings.Join([]string{string(m.Host), string(m.Program), string(m.PID), string(m.Text)}, "|")
		if !ok {
			got = "!" + got
		}
		if got != want {
			t.Errorf("header: %q: got %q, want %q", in, got, want)
		}
	}

	// RFC 3164 on the wire
	f("<38>Nov 22 13:25:06 srv sshd[77]: msg", "srv|sshd|77|msg")
	f("<38>Nov  2 13:25:06 srv sshd[77]: msg", "srv|sshd|77|msg")
	f("<38>Nov 2 13:25:06 srv sshd[77]: msg", "srv|sshd|77|msg")
	f("<38>Nov 02 13:25:06 srv sshd[77]: msg", "srv|sshd|77|msg")
	f("<38>Nov 22 13:28:25 sshd[4711]: msg", "|sshd|4711|msg")
	f("<38>Nov 22 13:28:25 sshd[4711]:msg", "|sshd|4711|msg")
	f("<38>Nov 22 13:28:25 srv sshd:msg", "srv|sshd||msg")
	f("<38>Nov 22 13:28:25 srv sshd[77]:   msg", "srv|sshd|77|  msg")
	f("<38>Nov 22 13:28:25 srv sshd[77] msg", "srv|sshd|77|msg")
	f("<38>Nov 22 13:28:25 sshd[77] msg", "|sshd|77|msg")
	f("<38>Nov 22 13:28:25 srv sshd[77]:", "srv|sshd|77|")
	f("<85>Nov 22 13:28:25 srv auth: pam_unix(dovecot:auth): check pass", "srv|auth||pam_unix(dovecot:auth): check pass")
	f("<4>Nov 22 13:28:25 srv kernel: [ 12.3] x", "srv|kernel||[ 12.3] x")
	f("<37>Nov 22 13:28:27  nginx: 2026/11/22 13:28:27 [notice] x", "|nginx||2026/11/22 13:28:27 [notice] x")
	f("<134>Nov 22 13:28:28 haproxy[49]: 2001:db8::70:52026 [22/Nov/2026:13:28:28.737] f\n", "|haproxy|49|2001:db8::70:52026 [22/Nov/2026:13:28:28.737] f")
	f("<38>Nov 22 13:28:25 2001:db8::70 sshd[77]: msg", "2001:db8::70|sshd|77|msg")
	f("<38>Nov 22 13:28:25 2001:db8:: sshd[77]: msg", "2001:db8::|sshd|77|msg")
	f("<38>Nov 22 13:28:25 [2001:db8::70] sshd[77]: msg", "[2001:db8::70]|sshd|77|msg")
	f("<37>Nov 22 13:29:49 srv wordpress(198.51.100.1)[135]: msg", "srv|wordpress(198.51.100.1)|135|msg")
	f("<37>Nov 22 13:29:49 wordpress(a.example)[135]: msg", "|wordpress(a.example)|135|msg")
	f("<20>Nov 22 13:29:49 srv postfix/submission/smtpd[170]: msg", "srv|postfix/submission/smtpd|170|msg")
	f("<20>Nov 22 13:29:49 srv a.b@c-d_e/(f)[x.1]: msg", "srv|a.b@c-d_e/(f)|x.1|msg")
	f("<20>Nov 22 13:29:49 srv (sd-pam)[9]: msg", "srv|(sd-pam)|9|msg")
	f("<20>Nov 22 13:29:49 srv "+strings.Repeat("x", 3000)+"[9]: msg", "srv|"+strings.Repeat("x", 3000)+"|9|msg")
	f("<20>Nov 22 13:29:49 srv [sshd]: msg", "srv|sshd||msg")
	f("<20>Nov 22 13:29:49 srv srv sshd[77]: msg", "srv|sshd|77|msg")
	f("<20>Nov 22 13:29:49 srv Plex Media Server[12]: msg", "srv|Plex Media Server|12|msg")
	f("<20>Nov 22 13:29:49 srv a b: msg", "srv|||a b: msg")
	f("<20>Nov 22 13:29:49 srv last message repeated 3 times", "srv|||last message repeated 3 times")
	f("<20>Nov 22 13:29:49 srv from [192.0.2.1]: x", "srv|||from [192.0.2.1]: x")
	f("<20>Nov 22 13:29:49 srv {\"a\": \"b[1]: c\"}", "srv|||{\"a\": \"b[1]: c\"}")
	f("<20>Nov 22 13:29:49 word", "|||word")
	f("<20>Nov 22 13:29:49 ", "|||")
	f("<20>Nov 22 13:29:49", "|||")
	f("<38>Nov 22 13:28:25 srv sshd[31602]: [ID 800047 auth.info] Failed x", "srv|sshd|31602|Failed x")
	f("<38>Nov 22 13:28:25 srv sshd[31602]: [ID 800047 auth.whatever] x", "srv|sshd|31602|[ID 800047 auth.whatever] x")
	f("<38>Nov 22 13:28:25 srv sshd[31602]: [ID 800047", "srv|sshd|31602|[ID 800047")
	f("<166>Nov 22 2026 13:25:06: %ASA-6-302013: Built", "|%ASA-6-302013||Built")
	f("<166>Nov 22 2026 13:25:06 fw : %ASA-6-302013: Built", "fw|%ASA-6-302013||Built")
	f("<38>Nov 22 13:25:06.123 srv sshd[77]: msg", "srv|sshd|77|msg")
	f("<38>2026-11-22T13:25:06.123456+00:00 srv sshd[77]: msg", "srv|sshd|77|msg")
	f("<38>2026-11-22T13:25:06Z sshd[77]: msg", "|sshd|77|msg")

	// what daemons leave at the end
	f("<38>Nov 22 13:25:06 srv sshd[77]: msg\r\n", "srv|sshd|77|msg")
	f("<38>Nov 22 13:25:06 srv sshd[77]: msg\n\x00\x00", "srv|sshd|77|msg")
	f("<38>Nov 22 13:25:06 srv nginx: a\nb", "srv|nginx||a\nb")

	// no stamp, no PRI, no header at all
	f("<38>sshd[77]: msg", "|sshd|77|msg")
	f("<38>srv sshd[77]: msg", "srv|sshd|77|msg")
	f("<38>any text: with a colon", "|||any text: with a colon")
	f("<38>Nov 32 13:25:06 srv sshd[77]: msg", "|||Nov 32 13:25:06 srv sshd[77]: msg")
	f("<38>Nov 22 24:25:06 srv sshd[77]: msg", "|||Nov 22 24:25:06 srv sshd[77]: msg")
	f("<38>2026-02-29T13:25:06Z srv sshd[77]: msg", "|||2026-02-29T13:25:06Z srv sshd[77]: msg")
	f("no pri at all", "|||no pri at all")
	f("word", "|||word")
	f("Failed password for root from 192.0.2.7 port 4242 ssh2", "|||Failed password for root from 192.0.2.7 port 4242 ssh2")

	// log files
	f("Nov 22 13:25:06 srv sshd[77]: msg", "srv|sshd|77|msg")
	f("2026-11-22T13:25:06.123456+00:00 srv sshd[77]: msg", "srv|sshd|77|msg")
	f("2026-11-22T13:25:06+0100 srv sshd[77]: msg", "srv|sshd|77|msg")
	f("2026-11-22 13:25:06 srv sshd[77]: msg", "srv|sshd|77|msg")
	f("Nov 22 2026 13:25:06 srv sshd[77]: msg", "srv|sshd|77|msg")
	f("Nov 22 13:25:06 alpine auth.info sshd[77]: msg", "alpine|sshd|77|msg")
	f("2026-11-22T13:25:06.123456+00:00 srv sshd 77 - - msg", "srv|sshd|77|msg")
	f("Nov 22 13:25:06 <auth.info> srv sshd[77]: msg", "srv|sshd|77|msg")
	f("Nov 22 13:25:06 <auth.bad> srv sshd[77]: msg", "<auth.bad>|srv sshd|77|msg")
	f("Nov 22 13:25:06 sogod [77]: msg", "|sogod|77|msg")
	f("2026-11-22 13:25:06 H=(x) [192.0.2.1]: rejected", "|||H=(x) [192.0.2.1]: rejected")
	f("2026-11-22 13:25:06 login authenticator failed for x", "|||login authenticator failed for x")
	f("2026-11-22T13:25:06Z srv was told of it - so be it", "srv|||was told of it - so be it")

	// RFC 5424
	f("<38>1 2026-11-22T13:25:05.274657+00:00 srv useradd 50 - -  new group\n", "srv|useradd|50|new group")
	f("<38>1 2026-11-22T13:25:05.274657+00:00 srv sshd 50 - - msg", "srv|sshd|50|msg")
	f("<38>1 2026-11-22T13:25:05.274657+00:00 srv sshd 50 - -   msg", "srv|sshd|50| msg")
	f("<38>1 - - sshd 4711 - - msg", "|sshd|4711|msg")
	f("<38>1 - - - - - -", "|||")
	f("<38>1 - srv auth - - - msg", "srv|auth||msg")
	f("<38>1 - srv a 1 ID47 [a@1 b=\"c\"] msg", "srv|a|1|msg")
	f("<38>1 - srv a 1 ID47 [a@1 b=\"c\" d=\"e\"][f] msg", "srv|a|1|msg")
	f(`<38>1 - srv a 1 - [a b="\"\\\]] x \n"] msg`, "srv|a|1|msg")
	f(`<38>1 - srv a 1 - [a b=""]`, "srv|a|1|")
	f("<38>1 - srv a 1 - - \xef\xbb\xbfmsg", "srv|a|1|msg")
	f("<38>1 - srv a 1 - -  \xef\xbb\xbfmsg", "srv|a|1|msg")
	f("<38>1 - srv a 1 - - \xef\xbb\xbf msg", "srv|a|1|msg")
	f("<38>1 - srv wordpress(198.51.100.1) 135 - - msg", "srv|wordpress(198.51.100.1)|135|msg")
	f("<38>1 - 2001:db8::70 a 1 - - msg", "2001:db8::70|a|1|msg")

	// RFC 5424, malformed; the fields are read where they can be
	f("<38>1 2026-11-22T13:25:05 srv sshd 77 - - msg", "!srv|sshd|77|msg")
	f("<38>1 2026-13-22T13:25:05Z srv sshd 77 - - msg", "!srv|sshd|77|msg")
	f("<38>1 -  sshd 77 - - msg", "!|sshd|77|msg")
	f("<38>1 - srv sshd 77 - [a b=c] msg", "!srv|sshd|77|[a b=c] msg")
	f("<38>1 - srv sshd 77 - [a b=\"c\\\"] msg", "!srv|sshd|77|[a b=\"c\\\"] msg")
	f("<38>1 - srv sshd 77 - [] msg", "!srv|sshd|77|[] msg")
	f("<38>1 - srv sshd 77 - -msg", "!srv|sshd|77|-msg")
	f("<38>1 - srv sshd 77 - msg", "!|||- srv sshd 77 - msg")
	f("<38>1 2026-11-22T13:25:05", "!|||2026-11-22T13:25:05")
	f("<38>1 ", "!|||")
	f("<38>1", "|||1")

	// malformed
	f("", "!|||")
	f("\n", "!|||")
	f("<34>", "!|||")
	f("<34>\n", "!|||")
	f("<>", "!|||<>")
	f("<", "!|||<")
	f("<34", "!|||<34")
	f("<192>x", "!|||<192>x")
	f("<999>Nov 22 13:25:06 srv sshd[77]: msg", "!|||<999>Nov 22 13:25:06 srv sshd[77]: msg")
	f("<034>x", "!|||<034>x")
	f("<-1>x", "!|||<-1>x")
	f("<1234>x", "!|||<1234>x")
	f("<191>x", "|||x")
	f("<0>x", "|||x")
}

func TestPriority(t *testing.T) {
	f := func(in string, facility, severity uint8) {
		t.Helper()
		if m, _ := parse(in); m.Facility != facility || m.Severity != severity {
			t.Errorf("header: %q: got %d.%d, want %d.%d", in, m.Facility, m.Severity, facility, severity)
		}
	}
	f("<0>x", 0, 0)
	f("<86>x", 10, 6)
	f("<191>x", 23, 7)
	f("<34>", 4, 2)
	f("<192>x", 1, 5)
	f("x", 1, 5)
	f("", 1, 5)
}

func TestProcess(t *testing.T) {
	b := event.NewBatch(4, 1000)
	from := &event.Sender{}
	b.Add([]byte("<38>Nov 22 13:25:06 srv sshd[77]: a"), from, false)
	b.Add([]byte("<999>x"), from, false)
	b.Add([]byte("<38>Nov 22 13:25:06 srv sshd[78]: b"), from, true)
	b.Add([]byte("<>"), nil, false)
	New().Process(b)
	if got := from.Malformed.Load(); got != 1 {
		t.Errorf("header: got %d malformed, want 1", got)
	}
	if got := string(b.Messages[0].PID) + string(b.Messages[2].PID); got != "7778" {
		t.Errorf("header: got pids %q, want 7778", got)
	}
	if !b.Messages[2].Cut || len(b.Messages) != 4 {
		t.Error("header: the stage changed what the receiver set")
	}
}

func TestAllocs(t *testing.T) {
	b := event.NewBatch(4000, 1<<20)
	for _, f := range []mix.Format{mix.RFC3164, mix.RFC5424} {
		for _, l := range mix.Lines(mix.Quiet, 1000, f, 1) {
			b.Add(l, nil, false)
		}
	}
	for _, c := range captures(t) {
		b.Add([]byte(c.Raw), nil, false)
	}
	stage := New()
	if n := testing.AllocsPerRun(10, func() { stage.Process(b) }); n != 0 {
		t.Errorf("header: got %v allocations a batch of %d, want none", n, len(b.Messages))
	}
}
