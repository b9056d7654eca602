package receiver

import (
	"net"
	"net/netip"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"gopkg.in/mcuadros/go-syslog.v2/format"
)

// A listener is what the kinds of listeners have in common.
type listener struct {
	cfg      Config
	log      zerolog.Logger
	accounts accounts
	mark     uint16 // of the Vouch
	feed     *feed
	roster   *roster
	roll     *roll
	addr     net.Addr
	ask      func() // updates lost; nil by TCP

	refused              struct{ sender, uid, connections atomic.Uint64 }
	acceptErrors, panics atomic.Uint64
	lost                 lostCount // dropped by the kernel, as last asked
}

func newListener(cfg Config, patience time.Duration, log zerolog.Logger) (*listener, error) {
	a, err := newAccounts(cfg.UIDs)
	if err != nil {
		return nil, err
	}
	return &listener{
		cfg: cfg, log: log, accounts: a, mark: a.mark(),
		feed: newFeed(patience), roster: newRoster(cfg.Name.S, cfg.Trusted.B), roll: newRoll(),
	}, nil
}

// allows reports whether a may send.
func (l *listener) allows(a netip.Addr) bool {
	for i := range l.cfg.Senders {
		if l.cfg.Senders[i].Contains(a) {
			return true
		}
	}
	return false
}

// recover is deferred by what go-syslog calls: it would die of a panic.
func (l *listener) recover() {
	if e := recover(); e != nil {
		l.panicked(e)
	}
}

// panicked counts a panic, and logs the first one of the listener.
func (l *listener) panicked(e any) {
	if l.panics.Add(1) == 1 {
		l.log.Error().Str("listener", l.cfg.Name.S).Interface("panic", e).Bytes("stack", debug.Stack()).Msg("receiver survived a mistake")
	}
}

// partsKey is where what was framed stands in go-syslog's LogParts.
const partsKey = "rapsheet"

// nobody is the LogParser of a token that stands for nothing.
type nobody struct{}

func (nobody) Parse() error            { return nil }
func (nobody) Dump() format.LogParts   { return format.LogParts{"hostname": "-"} }
func (nobody) Location(*time.Location) {}
