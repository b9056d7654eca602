package filter

import (
	"testing"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

func TestNearest(t *testing.T) {
	s := compiled(t)
	f := func(text, rule string, at int) {
		t.Helper()
		r, n := s.Nearest(&event.Message{Program: []byte("sshd"), Text: []byte(text)})
		got := ""
		if r != nil {
			got = r.Name
		}
		if got != rule || n != at {
			t.Errorf("nearest to %q: got %q at %d, want %q at %d", text, got, n, rule, at)
		}
	}
	const failed = "Failed <word> for [[invalid user ]]<user> from <addr> port <port> ssh<int>[[: <text>]]"
	f("Failed password for alice from 198.51.100.66 port x", failed, 50)
	f("Failed password for alice from 198.51.100.66 port 22 telnet", failed, 53)
	f("Failed password for alice from ?", failed, 31)
	f("message repeated 2 times: [ Failed password for alice from ?]", failed, 59)
	f("ROOT LOGIN REFUSED BY MAGIC", "ROOT LOGIN REFUSED FROM <addr>[[ port <port>]][[ [preauth]]]", 19)
	f("zzz", "", 0)
	f("", "", 0)
	if r, _ := s.Nearest(&event.Message{Program: []byte("cron"), Text: []byte("Failed x")}); r != nil {
		t.Errorf("nearest of another program: got %q, want none", r.Name)
	}
}
