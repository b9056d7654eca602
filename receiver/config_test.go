package receiver

import (
	"strings"
	"testing"
	"time"

	"github.com/rapsheet/rapsheet/configs/value"
)

func TestDefaults(t *testing.T) {
	f := func(c Config, name string, trusted bool, senders int) {
		t.Helper()
		c.Defaults()
		if c.Name.S != name || c.Trusted.B != trusted || len(c.Senders) != senders {
			t.Errorf("got %q, trusted %v, %d senders; want %q, %v, %d", c.Name.S, c.Trusted.B, len(c.Senders), name, trusted, senders)
		}
		if c.MaxLine.Bytes != 8192 || c.Buffer.Bytes != 8<<20 || c.Mode.S != "0600" || c.MaxBantime.Duration != 24*time.Hour {
			t.Errorf("got %+v", c)
		}
		var errs value.Errors
		if c.Validate(&errs); len(errs) > 0 {
			t.Errorf("defaults are refused: %v", errs)
		}
	}
	f(Config{TCP: text("127.0.0.1:5514")}, "tcp 127.0.0.1:5514", true, 2)
	f(Config{UDP: text("[::1]:5514")}, "udp [::1]:5514", false, 2)
	f(Config{Unix: text("/run/rapsheet/log")}, "unix /run/rapsheet/log", true, 0)
	f(Config{Name: text("web"), TCP: text(":514"), Senders: []value.Prefix{prefix("192.0.2.0/24")}}, "web", true, 1)
	f(Config{UDP: text(":514"), Trusted: value.Bool{B: true, Set: true}}, "udp :514", true, 2)
}

func TestValidate(t *testing.T) {
	at := value.Pos{File: "rapsheet.yaml", Line: 3, Column: 7}
	put := func(s string) value.String { return value.String{S: s, Pos: at} }
	f := func(c Config, want ...string) {
		t.Helper()
		var errs value.Errors
		c.Validate(&errs)
		if len(errs) != len(want) {
			t.Fatalf("got %v, want %q", errs, want)
		}
		for i, w := range want {
			if !strings.Contains(errs[i].Error(), w) {
				t.Errorf("got %q, want %q", errs[i].Error(), w)
			}
		}
	}
	f(Config{TCP: put("127.0.0.1:5514")})
	f(Config{TCP: put("localhost:5514")})
	f(Config{UDP: put("[2001:db8::1]:514")})
	f(Config{}, "listener without an address")
	f(Config{TCP: put(":1"), UDP: put(":1")}, "rapsheet.yaml:3:7: listener with more than one")
	f(Config{TCP: put("5514")}, "rapsheet.yaml:3:7: \"5514\" is no address:port")
	f(Config{TCP: put("127.0.0.1:syslog")}, "no address:port")
	f(Config{TCP: put("127.0.0.1:65536")}, "no address:port")
	f(Config{TCP: put("::1:5514")}, "no address:port")
	f(Config{UDP: put("log.example.com:514")}, "no address of this host")
	f(Config{Unix: put("run/log")}, "no path")
	f(Config{Unix: put("/" + strings.Repeat("x", 107))}, "no path")
	f(Config{TCP: put(":1"), MaxLine: value.Size{Bytes: 65001}}, "max_line is 65001 bytes")
	f(Config{TCP: put(":1"), MaxLine: value.Size{Bytes: 479}}, "max_line is 479 bytes")
	f(Config{UDP: put(":1"), Buffer: value.Size{Bytes: 1}}, "buffer is 1 bytes")
	f(Config{Unix: put("/x"), Mode: put("0888"), Owner: put("a:b:c")}, "no file mode", "no owner")
	f(Config{Unix: put("/x"), Mode: put("1777")}, "no file mode")
	f(Config{TCP: put(":1"), Mode: put("0600"), Owner: put("root")}, "mode is of no use", "owner is of no use")
	f(Config{TCP: put(":1"), UIDs: []value.String{put("")}}, "empty account")
	f(Config{UDP: put(":1"), UIDs: []value.String{put("0")}}, "accounts behind UDP")
	f(Config{Unix: put("/x"), Senders: []value.Prefix{prefix("192.0.2.0/24")}}, "no addresses")
	f(Config{TCP: put(":1"), MaxBantime: value.Duration{Duration: -1}}, "negative")
}

func TestID(t *testing.T) {
	f := func(c Config, want string) {
		t.Helper()
		if got := c.ID(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f(Config{Name: text("x"), TCP: text(":1")}, "tcp :1")
	f(Config{Name: text("y"), Unix: text("/a")}, "unix /a")
	f(Config{}, "")
}

func TestOwnerIDs(t *testing.T) {
	f := func(in string, uid, gid int) {
		t.Helper()
		if u, g, err := ownerIDs(in); u != uid || g != gid || err != nil {
			t.Errorf("%q: got %d %d %v", in, u, g, err)
		}
	}
	f("", -1, -1)
	f("0", 0, -1)
	f("root:root", 0, 0)
	f("7:8", 7, 8)
	f(":8", -1, 8)
}
