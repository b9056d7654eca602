package mix

import "strings"

// A kind is one line that a mix holds. {user} is a name that attackers try, {addr} an offender, {client} an address
// that does nothing wrong, {account} one of the host's own users; {port}, {pid}, {n} and {hex} are numbers.
type kind struct {
	share   int // of the sum of all shares
	pri     uint8
	program string
	pid     bool
	text    []string // literals and the names between them, by turns
}

var mixes = map[string][]kind{Auth: auth, Quiet: quiet}

// Facility times 8 plus severity, RFC 5424, 6.2.1.
const (
	kernWarning = 0<<3 | 4
	mailInfo    = 2<<3 | 6
	daemonInfo  = 3<<3 | 6
	authInfo    = 4<<3 | 6
	cronInfo    = 9<<3 | 6
	privInfo    = 10<<3 | 6
	privNotice  = 10<<3 | 5
)

var auth = []kind{
	line(30, authInfo, "sshd[]", "Failed password for invalid user {user} from {addr} port {port} ssh2"),
	line(20, authInfo, "sshd[]", "Failed password for root from {addr} port {port} ssh2"),
	line(10, authInfo, "sshd[]", "Invalid user {user} from {addr} port {port}"),
	line(10, authInfo, "sshd[]", "Connection closed by authenticating user root {addr} port {port} [preauth]"),
	line(8, authInfo, "sshd[]", "Accepted publickey for {account} from {client} port {port} ssh2: ED25519 SHA256:{hex}{hex}"),
	line(5, privInfo, "sshd[]", "pam_unix(sshd:session): session opened for user {account}(uid=1001) by (uid=0)"),
	line(5, privInfo, "sshd[]", "pam_unix(sshd:session): session closed for user {account}"),
	line(6, privInfo, "CRON[]", "pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)"),
	line(6, daemonInfo, "systemd[]", "Started session-{n}.scope - Session {n} of User {account}."),
}

var quiet = []kind{
	line(5, authInfo, "sshd[]", "Failed password for invalid user {user} from {addr} port {port} ssh2"),
	line(3, authInfo, "sshd[]", "Failed password for root from {addr} port {port} ssh2"),
	line(2, mailInfo, "dovecot", "imap-login: Disconnected: Aborted login by logging out (auth failed, 1 attempts in 3 secs): user=<{user}>, method=PLAIN, rip={addr}, lip=192.0.2.25, session=<{hex}>"),

	line(20, authInfo, "sshd[]", "Accepted publickey for {account} from {client} port {port} ssh2: ED25519 SHA256:{hex}{hex}"),
	line(40, privInfo, "sshd[]", "pam_unix(sshd:session): session opened for user {account}(uid=1001) by (uid=0)"),
	line(40, privInfo, "sshd[]", "pam_unix(sshd:session): session closed for user {account}"),
	line(40, authInfo, "sshd[]", "Received disconnect from {client} port {port}:11: disconnected by user"),
	line(40, authInfo, "sshd[]", "Disconnected from user {account} {client} port {port}"),

	line(70, privInfo, "CRON[]", "pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)"),
	line(70, cronInfo, "CRON[]", "(root) CMD (command -v debian-sa1 > /dev/null && debian-sa1 1 1)"),
	line(70, privInfo, "CRON[]", "pam_unix(cron:session): session closed for user root"),
	line(40, daemonInfo, "systemd[]", "Started session-{n}.scope - Session {n} of User {account}."),
	line(40, daemonInfo, "systemd[]", "session-{n}.scope: Deactivated successfully."),
	line(30, daemonInfo, "systemd[]", "Finished sysstat-collect.service - system activity accounting tool."),
	line(40, authInfo, "systemd-logind[]", "New session {n} of user {account}."),
	line(40, authInfo, "systemd-logind[]", "Removed session {n}."),

	line(90, mailInfo, "postfix/smtpd[]", "connect from mail{n}.example.net[{client}]"),
	line(90, mailInfo, "postfix/smtpd[]", "disconnect from mail{n}.example.net[{client}] ehlo=2 starttls=1 mail=1 rcpt=1 data=1 quit=1 commands=7"),
	line(20, mailInfo, "postfix/submission/smtpd[]", "{hex}: client=unknown[{client}], sasl_method=PLAIN, sasl_username={account}"),
	line(20, mailInfo, "postfix/cleanup[]", "{hex}: message-id=<{hex}@example.org>"),
	line(20, mailInfo, "postfix/qmgr[]", "{hex}: from=<{account}@example.org>, size={n}, nrcpt=1 (queue active)"),
	line(20, mailInfo, "postfix/smtp[]", "{hex}: to=<{account}@example.net>, relay=mx.example.net[{client}]:25, delay=0.74, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as {hex})"),

	line(30, mailInfo, "dovecot", "imap-login: Login: user=<{account}>, method=PLAIN, rip={client}, lip=192.0.2.25, mpid={pid}, TLS, session=<{hex}>"),
	line(60, mailInfo, "dovecot", "imap({account})<{pid}><{hex}>: Disconnected: Logged out in={n} out={n} deleted=0 expunged=0 trashed=0 hdr_count=0 hdr_bytes=0 body_count=0 body_bytes=0"),

	line(30, kernWarning, "kernel", "[{n}.{pid}] [UFW BLOCK] IN=eth0 OUT= SRC={client} DST=192.0.2.25 LEN=40 TOS=0x00 PREC=0x00 TTL=245 ID={pid} PROTO=TCP SPT={port} DPT=23 WINDOW=1024 RES=0x00 SYN URGP=0"),
	line(10, privNotice, "sudo", " {account} : TTY=pts/0 ; PWD=/home/{account} ; USER=root ; COMMAND=/usr/bin/systemctl status nginx"),
	line(10, privInfo, "sudo", "pam_unix(sudo:session): session opened for user root(uid=0) by {account}(uid=1001)"),
	line(10, privInfo, "sudo", "pam_unix(sudo:session): session closed for user root"),
}

// line makes a kind. A program that ends with [] logs its pid.
func line(share int, pri uint8, program, text string) kind {
	k := kind{share: share, pri: pri}
	k.program, k.pid = strings.CutSuffix(program, "[]")
	for text != "" {
		literal, rest, _ := strings.Cut(text, "{")
		name, rest, _ := strings.Cut(rest, "}")
		k.text = append(k.text, literal, name)
		text = rest
	}
	return k
}

// deal returns each kind as often as its share says, so that a random one of them is a random line of the mix.
func deal(kinds []kind) []*kind {
	var deck []*kind
	for i := range kinds {
		for range kinds[i].share {
			deck = append(deck, &kinds[i])
		}
	}
	return deck
}

// Names that attackers try, from what SSH honeypots see.
var users = []string{
	"admin", "ansible", "backup", "debian", "deploy", "dev", "elastic", "ftpuser", "git", "guest", "hadoop", "jenkins",
	"kafka", "minecraft", "mysql", "nagios", "node", "odoo", "oracle", "pi", "postgres", "solana", "steam", "support",
	"sysadmin", "test", "tomcat", "ubuntu", "user", "validator", "www", "zabbix",
}

// The host's own users: none of them is a name that attackers try here.
var accounts = []string{"alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"}
