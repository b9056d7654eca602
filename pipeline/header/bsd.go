package header

import (
	"bytes"
	"time"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

// readBSD reads what stands behind the PRI in a message of RFC 3164: stamp, host, tag and text, each of which may be
// missing. Nothing says whether the first word behind the stamp is a host or a tag, but that tags end with a colon or
// carry a pid.
func readBSD(m *event.Message, s []byte) {
	n, dated := bsd(s), false
	if n == 0 {
		m.Time, n, _ = iso(s)
		dated = n > 0
	}
	if n < len(s) && n > 0 && s[n] == ':' { // Cisco: Nov 22 13:25:06: %SYS-5
		n++
	}
	if n < len(s) && n > 0 && s[n] != ' ' { // 2026-11-22T13:25:06whatever
		n, m.Time, dated = 0, time.Time{}, false
	}
	stamped := n > 0
	s = s[n:]
	for len(s) > 0 && s[0] == ' ' { // nginx leaves the host empty: two spaces
		s = s[1:]
	}

	h := 0
	for h < len(s) && s[h] != ' ' && s[h] != '[' {
		h++
	}
	if h < len(s) && s[h] == '[' || h > 0 && s[h-1] == ':' {
		if name, pid, n := tag(s); n > 0 && !network(s[:h]) {
			m.Program, m.PID, m.Text = name, pid, solaris(skip(s[n:]))
			return
		}
		for h < len(s) && s[h] != ' ' {
			h++
		}
	}
	if h == len(s) { // one word
		m.Text = s
		return
	}
	host, rest := s[:h:h], s[h+1:]
	name, pid, n := tag(rest)
	if n > 0 && (stamped || numeric(pid)) {
		m.Host, m.Program, m.PID, m.Text = host, name, pid, solaris(skip(rest[n:]))
		return
	}
	if !stamped {
		m.Text = s
		return
	}
	if dated && readFields(m, s) && (m.PID == nil || numeric(m.PID)) { // RFC 5424 without PRI and version
		return
	}
	m.Host, m.Program, m.PID, m.Text = host, nil, nil, rest
	readOdd(m)
}

// tag reads name:, name[pid]: or name[123] at the start of s. n is its length, 0 where there is none.
func tag(s []byte) (name, pid []byte, n int) {
	i := 0
	for i < len(s) && s[i] != ':' && s[i] != '[' && s[i] != ' ' {
		i++
	}
	if i == len(s) || s[i] == ' ' || s[0] == '{' {
		return nil, nil, 0
	}
	if i == 0 {
		return bracketed(s)
	}
	if s[i] == ':' {
		return s[:i:i], nil, i + 1
	}
	j := i + 1
	for j < len(s) && s[j] != ']' && s[j] != ' ' {
		j++
	}
	if j+1 < len(s) && s[j] == ']' && s[j+1] == ':' {
		return s[:i:i], s[i+1 : j : j], j + 2
	}
	if j < len(s) && s[j] == ']' && (j+1 == len(s) || s[j+1] == ' ') && numeric(s[i+1:j]) {
		return s[:i:i], s[i+1 : j : j], j + 1
	}
	return nil, nil, 0
}

// bracketed reads the tag [name]: at the start of s.
func bracketed(s []byte) (name, pid []byte, n int) {
	if s[0] != '[' {
		return nil, nil, 0
	}
	i := 1
	for i < len(s) && s[i] != ']' && s[i] != '[' && s[i] != ' ' {
		i++
	}
	if i == 1 || i+1 >= len(s) || s[i] != ']' || s[i+1] != ':' {
		return nil, nil, 0
	}
	return s[1:i:i], nil, i + 2
}

// readOdd looks for the tag where no tag follows the host: behind the host once more, behind facility and severity
// (busybox), behind a colon (Cisco ASA), or in more than one word (Plex Media Server[123]:).
func readOdd(m *event.Message) {
	rest := m.Text
	word, behind, ok := cut(rest)
	if !ok {
		return
	}
	if bytes.Equal(word, m.Host) || selector(word) || len(word) == 1 && word[0] == ':' {
		if name, pid, n := tag(behind); n > 0 {
			m.Program, m.PID, m.Text = name, pid, solaris(skip(behind[n:]))
		}
		return
	}
	// Without a pid, a tag of words and a text with a colon in it look the same.
	i := len(word)
	for i < len(rest) && i < longestTag && rest[i] != '[' && rest[i] != ':' {
		i++
	}
	if i == len(rest) || rest[i] != '[' || rest[i-1] == ' ' {
		return
	}
	if _, pid, n := tag(rest[i-1:]); n > 0 && numeric(pid) && rest[i-1+n-1] == ':' {
		m.Program, m.PID, m.Text = rest[:i:i], pid, skip(rest[i-1+n:])
	}
}

// longestTag bounds tags of several words: beyond it, words are a text.
const longestTag = 48

// selector reports whether word is facility.severity, as in auth.info.
func selector(word []byte) bool {
	dot := bytes.IndexByte(word, '.')
	if dot < 0 {
		return false
	}
	switch string(word[:dot]) {
	case "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
		"local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7":
	default:
		return false
	}
	switch string(word[dot+1:]) {
	case "emerg", "alert", "crit", "err", "warn", "warning", "notice", "info", "debug":
		return true
	}
	return false
}

// network reports whether word, which ends with a colon, is an IPv6 address that ends with two: a host, no tag.
func network(word []byte) bool {
	n := len(word)
	if n < 3 || word[n-1] != ':' || word[n-2] != ':' {
		return false
	}
	for _, c := range word {
		if c != ':' && c-'0' > 9 && c|0x20-'a' > 'f'-'a' {
			return false
		}
	}
	return true
}

// numeric reports whether s is digits only, at least one.
func numeric(s []byte) bool {
	for _, c := range s {
		if c-'0' > 9 {
			return false
		}
	}
	return len(s) > 0
}

// solaris drops the message ID that Solaris puts before the text: [ID 800047 auth.info].
func solaris(s []byte) []byte {
	if len(s) < 4 || s[0] != '[' || string(s[:4]) != "[ID " {
		return s
	}
	i := 4
	for i < len(s) && s[i]-'0' <= 9 {
		i++
	}
	if i == 4 || i == len(s) || s[i] != ' ' {
		return s
	}
	end := bytes.IndexByte(s[i:], ']')
	if end < 0 || !selector(s[i+1:i+end]) {
		return s
	}
	return skip(s[i+end+1:])
}
