package header

import (
	"bytes"
	"time"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

// readBSD reads what stands behind the PRI in a message of RFC 3164: stamp, host, tag and text, each of which may be
// missing.
func readBSD(m *event.Message, s []byte) {
	n, dated := bsd(s), false
	if n == 0 {
		m.Time, n, _ = iso(s)
		dated = n > 0
	}
	if n > 0 && n < len(s) && s[n] == ':' { // Cisco: Nov 22 13:25:06: %SYS-5
		n++
	}
	if n > 0 && n < len(s) && s[n] != ' ' { // 2026-11-22T13:25:06whatever
		n, m.Time, dated = 0, time.Time{}, false
	}
	spaced := dated && s[10] == ' '
	stamped, s := n > 0, spaces(s[n:]) // two of them: nginx leaves the host empty
	if stamped && len(s) > 0 && s[0] == '<' {
		s = listed(s)
	}
	host := readTag(m, s, stamped)
	switch {
	case host == 0 || !stamped:
	case dated && readFields(m, s) && (m.PID == nil || numeric(m.PID)): // RFC 5424 without PRI and version
	default:
		m.Host, m.Program, m.PID, m.Text = s[:host:host], nil, nil, s[host+1:]
		readOdd(m)
		// A stamp with a space is the program's own, of a file that knows no hosts: what looked like one is text.
		if spaced && m.Program == nil {
			m.Host, m.Text = nil, s
		}
	}
}

// readTag reads s as tag and text, or as host, tag and text. Nothing says whether the first word is a host or a tag,
// but that tags end with a colon or carry a pid. Where there is neither it makes all of s the text and returns the
// length of what may be a host. Without a stamp in front, a host is one only where a tag with a pid follows.
func readTag(m *event.Message, s []byte, stamped bool) (host int) {
	h := 0
	for h < len(s) && s[h] != ' ' && s[h] != '[' {
		h++
	}
	if h < len(s) && s[h] == '[' || h > 0 && s[h-1] == ':' {
		if name, pid, n := tag(s); n > 0 && !network(s[:h]) {
			m.Program, m.PID, m.Text = name, pid, solaris(skip(s[n:]))
			return 0
		}
		for h < len(s) && s[h] != ' ' {
			h++
		}
	}
	if h < len(s) {
		rest := s[h+1:]
		if name, pid, n := tag(rest); n > 0 && (stamped || numeric(pid)) {
			m.Host, m.Program, m.PID, m.Text = s[:h:h], name, pid, solaris(skip(rest[n:]))
			return 0
		}
	}
	m.Text = s
	if h == len(s) {
		return 0 // one word
	}
	return h
}

// tag reads name:, name[pid]: or name[123] at the start of s. n is its length, 0 where there is none.
func tag(s []byte) (name, pid []byte, n int) {
	i := 0
	for i < len(s) && s[i] != ':' && s[i] != '[' && s[i] != ' ' {
		i++
	}
	if i == len(s) || s[i] == ' ' || s[0] == '{' || s[0] == '"' {
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

// bracketed reads the tag [name]: at the start of s. It must begin with a letter: [192.0.2.1]: is a peer, [77]: a pid.
func bracketed(s []byte) (name, pid []byte, n int) {
	if s[0] != '[' {
		return nil, nil, 0
	}
	i := 1
	for i < len(s) && s[i] != ']' && s[i] != '[' && s[i] != ' ' && s[i] != ':' {
		i++
	}
	if i == 1 || s[1]|0x20-'a' > 'z'-'a' || i+1 >= len(s) || s[i] != ']' || s[i+1] != ':' {
		return nil, nil, 0
	}
	return s[1:i:i], nil, i + 2
}

// readOdd looks for the tag where no tag follows the host: behind the host once more, behind facility and severity
// (busybox), behind a colon (Cisco ASA), in more than one word (Plex Media Server[123]:), or in the host's place (SOGo
// leaves a space before the pid).
func readOdd(m *event.Message) {
	rest := m.Text
	word, behind, ok := cut(rest)
	if !ok {
		return
	}
	if n := len(word); n > 3 && word[0] == '[' && word[n-2] == ']' && word[n-1] == ':' && numeric(word[1:n-2]) {
		m.Host, m.Program, m.PID, m.Text = nil, m.Host, word[1:n-2:n-2], behind
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
	for i < len(rest) && i < longestTag && (rest[i] == ' ' || letter(rest[i])) {
		i++
	}
	if i == len(rest) || rest[i] != '[' || rest[i-1] == ' ' || !letter(rest[0]) {
		return
	}
	if _, pid, n := tag(rest[i-1:]); n > 0 && numeric(pid) && rest[i-1+n-1] == ':' {
		m.Program, m.PID, m.Text = rest[:i:i], pid, skip(rest[i-1+n:])
	}
}

// letter reports whether c stands in words that are a tag.
func letter(c byte) bool {
	return c-'0' <= 9 || c|0x20-'a' <= 'z'-'a' || c == '-' || c == '_' || c == '.'
}

// longestTag bounds tags of several words: beyond it, words are a text.
const longestTag = 48

// spaces drops all spaces in front.
func spaces(s []byte) []byte {
	for len(s) > 0 && s[0] == ' ' {
		s = s[1:]
	}
	return s
}

// listed drops the <auth.info> that FreeBSD's syslogd -v writes between stamp and host.
func listed(s []byte) []byte {
	word, rest, ok := cut(s)
	if n := len(word); ok && word[n-1] == '>' && selector(word[1:n-1]) {
		return rest
	}
	return s
}

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
