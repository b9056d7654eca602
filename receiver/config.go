package receiver

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/rapsheet/rapsheet/configs/value"
)

// The longest line that max_line may allow. 65,000: bufio.Scanner, which go-syslog reads with, stops at 65,536 and would
// drop the connection.
const longestLine = 65000

const (
	defaultMaxLine = 8 << 10
	defaultBuffer  = 8 << 20
	defaultMode    = "0600"
	defaultBantime = 24 * time.Hour
)

// The bounds of max_line and buffer. Below 480 bytes RFC 5424, 6.1 would be broken; above 1 GiB the kernel's int overflows
// when it doubles the figure.
const (
	shortestLine   = 480
	smallestBuffer = 4 << 10
	largestBuffer  = 1 << 30
)

// A Config describes one listener. Exactly one of Unix, TCP and UDP is set.
type Config struct {
	Name value.String `yaml:"name"` // shown in status; default: kind and address, as in "tcp 127.0.0.1:5514"

	Unix value.String `yaml:"unix"` // path of a unix datagram socket
	TCP  value.String `yaml:"tcp"`  // address:port; frames ended by LF or counted (RFC 6587), told apart one by one
	UDP  value.String `yaml:"udp"`  // address:port; one datagram is one message

	Senders    []value.Prefix `yaml:"senders"`     // who may send by TCP or UDP; default: loopback only
	MaxLine    value.Size     `yaml:"max_line"`    // longer messages are cut there and never become events; default 8KiB, at most 65000
	Buffer     value.Size     `yaml:"buffer"`      // the kernel's receive buffer of UDP; default 8MiB. TCP sizes its own
	Mode       value.String   `yaml:"mode"`        // of the unix socket, octal; default 0600
	Owner      value.String   `yaml:"owner"`       // of the unix socket: user or user:group, names or ids; default: the daemon's
	UIDs       []value.String `yaml:"uids"`        // accounts, names or ids, that may send besides root and syslog: unix, and TCP from this host
	Trusted    value.Bool     `yaml:"trusted"`     // whether its senders can't be forged; default: unix and tcp true, udp false
	MaxBantime value.Duration `yaml:"max_bantime"` // longest ban that messages of an untrusted listener lead to; default 1d
}

var loopback = []netip.Prefix{
	netip.PrefixFrom(netip.AddrFrom4([4]byte{127}), 8),
	netip.PrefixFrom(netip.IPv6Loopback(), 128),
}

// Kind is unix, tcp or udp, and empty where none or several are set.
func (c *Config) Kind() string {
	kind := ""
	for _, k := range []struct{ name, addr string }{{"unix", c.Unix.S}, {"tcp", c.TCP.S}, {"udp", c.UDP.S}} {
		switch {
		case k.addr == "":
		case kind != "":
			return ""
		default:
			kind = k.name
		}
	}
	return kind
}

// ID names the socket itself, whatever the listener is called: two listeners with the same ID can't be.
func (c *Config) ID() string {
	return strings.TrimSpace(c.Kind() + " " + c.Unix.S + c.TCP.S + c.UDP.S)
}

// Defaults fills what is not set.
func (c *Config) Defaults() {
	if c.Name.S == "" {
		c.Name.S = c.ID()
	}
	kind := c.Kind()
	if kind != "unix" && len(c.Senders) == 0 {
		for _, p := range loopback {
			c.Senders = append(c.Senders, value.Prefix{Prefix: p})
		}
	}
	if c.MaxLine.Bytes == 0 {
		c.MaxLine.Bytes = defaultMaxLine
	}
	if c.Buffer.Bytes == 0 {
		c.Buffer.Bytes = defaultBuffer
	}
	if c.Mode.S == "" {
		c.Mode.S = defaultMode
	}
	if !c.Trusted.Set {
		c.Trusted.B = kind != "udp"
	}
	if c.MaxBantime.Duration == 0 {
		c.MaxBantime.Duration = defaultBantime
	}
}

// Validate adds what is wrong to errs. What is not set is not wrong: Defaults may come before or after. Accounts are not
// looked up here: the file may be meant for another host.
func (c *Config) Validate(errs *value.Errors) {
	kind := c.Kind()
	switch {
	case kind != "":
	case c.ID() == "":
		errs.Add(c.Name.At(), "unix: PATH, tcp: ADDRESS:PORT or udp: ADDRESS:PORT", "listener without an address")
	default:
		errs.Add(c.place(), "make two listeners of it", "listener with more than one of unix, tcp and udp")
	}
	if c.TCP.S != "" {
		checkAddr(errs, c.TCP)
	}
	if c.UDP.S != "" {
		checkAddr(errs, c.UDP)
	}
	if p := c.Unix.S; p != "" && (!strings.HasPrefix(p, "/") || len(p) > 107) {
		errs.Add(c.Unix.At(), "", "%q is no path for a unix socket: it begins with / and has at most 107 bytes", p)
	}
	if n := c.MaxLine.Bytes; n != 0 && (n < shortestLine || n > longestLine) {
		errs.Add(c.MaxLine.At(), "", "max_line is %d bytes: it must be from %d to %d", n, shortestLine, longestLine)
	}
	if n := c.Buffer.Bytes; n != 0 && (n < smallestBuffer || n > largestBuffer) {
		errs.Add(c.Buffer.At(), "", "buffer is %d bytes: it must be from 4KiB to 1GiB", n)
	}
	if _, err := parseMode(c.Mode.S); err != nil {
		errs.Add(c.Mode.At(), "0600, 0660 or 0666", "%q is no file mode", c.Mode.S)
	}
	if _, _, err := splitOwner(c.Owner.S); err != nil {
		errs.Add(c.Owner.At(), "user or user:group", "%q is no owner", c.Owner.S)
	}
	for _, u := range c.UIDs {
		if u.S == "" {
			errs.Add(u.At(), "a name or a number", "empty account in uids")
		}
	}
	if c.MaxBantime.Duration < 0 {
		errs.Add(c.MaxBantime.At(), "", "max_bantime is negative")
	}
	if kind == "" {
		return
	}
	onlyUnix := func(v value.String, key string) {
		if kind != "unix" && v.Line != 0 {
			errs.Add(v.At(), "", "%s is of no use here: only a unix socket has one", key)
		}
	}
	onlyUnix(c.Mode, "mode")
	onlyUnix(c.Owner, "owner")
	if kind == "unix" && len(c.Senders) > 0 {
		errs.Add(c.Senders[0].At(), "uids", "a unix socket's senders have no addresses")
	}
	if kind == "udp" && len(c.UIDs) > 0 {
		errs.Add(c.UIDs[0].At(), "a unix socket", "the accounts behind UDP can't be known")
	}
}

// place is where the first address that is set was written.
func (c *Config) place() value.Pos {
	for _, s := range []value.String{c.Unix, c.TCP, c.UDP} {
		if s.S != "" {
			return s.At()
		}
	}
	return c.Name.At()
}

func checkAddr(errs *value.Errors, s value.String) {
	host, port, ok := cutPort(s.S)
	_, err := strconv.ParseUint(port, 10, 16)
	if !ok || err != nil {
		errs.Add(s.At(), "127.0.0.1:5514", "%q is no address:port", s.S)
		return
	}
	if host == "" || host == "localhost" {
		return
	}
	if _, err := netip.ParseAddr(host); err != nil {
		errs.Add(s.At(), "127.0.0.1:5514, [::1]:5514 or :5514 for all", "%q is no address of this host", host)
	}
}

// cutPort cuts address:port and [address]:port at the last colon.
func cutPort(s string) (host, port string, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return "", "", false
	}
	host, port = s[:i], s[i+1:]
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		return host[1 : len(host)-1], port, true
	}
	return host, port, !strings.Contains(host, ":")
}

func parseMode(s string) (uint32, error) {
	if s == "" {
		s = defaultMode
	}
	n, err := strconv.ParseUint(s, 8, 9)
	return uint32(n), err
}
