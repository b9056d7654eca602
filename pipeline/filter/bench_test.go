package filter

import (
	"slices"
	"strings"
	"testing"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

// A host's log under attack: program and text.
var mixed = []string{
	"sshd", "Failed password for root from 198.51.100.66 port 50492 ssh2",
	"cron", "pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)",
	"sshd", "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=198.51.100.66  user=root",
	"sshd", "Connection closed by authenticating user root 198.51.100.66 port 50492 [preauth]",
	"kernel", "[12345.678901] eth0: link up, 1000Mbps, full-duplex, lpa 0xFFFF",
	"sshd", "pam_unix(sshd:session): session opened for user alice(uid=1001) by (uid=0)",
	"postfix/smtpd", "warning: unknown[198.51.100.66]: SASL LOGIN authentication failed: UGFzc3dvcmQ6",
	"postfix/qmgr", "4F1A2B3C: from=<a@example.org>, size=1234, nrcpt=1 (queue active)",
	"dovecot", "imap(alice)<178><BKZRgd1gJObGM2RC>: Disconnected: Logged out in=12 out=477 deleted=0 expunged=0 trashed=0",
	"dovecot", "imap-login: Disconnected: Aborted login by logging out (auth failed, 1 attempts in 3 secs): user=<alice>, method=PLAIN, rip=198.51.100.66, lip=198.51.100.1, session=<eDHOgN1gXojGM2RC>",
	"wordpress(www.example.org)", "Authentication failure for admin from 198.51.100.66",
	"sshd", "Failed publickey for alice from 198.51.100.66 port 22 ssh2: ED25519 SHA256:abcdefghijklmnop",
}

const mixedEvents = 6

// Messages that give no event cost no allocation, and once the batch has grown neither do those that give one. Left out
// are lines that a regex is tried on: it tells where it matched by allocating.
func TestAllocs(t *testing.T) {
	s := compiled(t)
	lines := append([]string{}, mixed...)
	for _, c := range shipped(t) {
		var regexes []string
		for _, r := range c.Rules {
			if r.Regex.S != "" {
				_, must, _ := newRegex(r.Regex.S)
				regexes = append(regexes, must)
			}
		}
		for _, x := range c.Samples {
			if !slices.ContainsFunc(regexes, func(must string) bool { return strings.Contains(x.Line.S, must) }) {
				lines = append(lines, strings.Replace(c.Programs[0].S, "*", "", 1), x.Line.S)
			}
		}
	}
	b := batch(&event.Sender{}, lines...)
	s.Process(b)
	if len(b.Events) < 100 || len(b.Messages) < len(b.Events)+30 {
		t.Errorf("got %d events of %d messages, want more to be sure of", len(b.Events), len(b.Messages))
	}
	if got := testing.AllocsPerRun(20, func() {
		b.Events = b.Events[:0]
		s.Process(b)
	}); got > 0 {
		t.Errorf("allocations: got %v for %d messages, want none", got, len(b.Messages))
	}
}

func BenchmarkProcess(b *testing.B) {
	s := compiled(b)
	f := func(name string, lines ...string) {
		b.Run(name, func(b *testing.B) {
			x := batch(&event.Sender{}, lines...)
			n := 0
			for _, m := range x.Messages {
				n += len(m.Text)
			}
			b.ReportAllocs()
			b.SetBytes(int64(n))
			for b.Loop() {
				x.Events = x.Events[:0]
				s.Process(x)
			}
			b.ReportMetric(float64(b.N)*float64(len(x.Messages))/b.Elapsed().Seconds(), "lines/s")
		})
	}
	f("mixed", mixed...)
	f("other", "systemd", "Started Session 42 of User alice.")
	f("otherpath", "postfix/qmgr", "4F1A2B3C: from=<a@example.org>, size=1234, nrcpt=1 (queue active)")
	f("sshd", "sshd", "pam_unix(sshd:session): session opened for user alice(uid=1001) by (uid=0)")
	f("sshdclose", "sshd", "Connection closed by foreign host")
	f("dovecot", "dovecot", "imap(alice)<178><BKZRgd1gJObGM2RC>: Disconnected: Logged out in=12 out=477 deleted=0 expunged=0 trashed=0")
	f("failed", mixed[0], mixed[1])
	f("pam", mixed[4], mixed[5])
	f("close", mixed[6], mixed[7])
	f("sasl", mixed[12], mixed[13])
	f("imap", mixed[18], mixed[19])
	f("wordpress", mixed[20], mixed[21])
}
