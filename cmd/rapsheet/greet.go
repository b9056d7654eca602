package main

import (
	"io"
	"net/netip"
	"os"
	"time"

	"github.com/rs/zerolog"

	"github.com/rapsheet/rapsheet/configs"
)

// newLogger writes JSON, or readable lines where standard error is a terminal. Attackers' text goes into fields only:
// there it is escaped.
func newLogger(level string, w io.Writer) zerolog.Logger {
	l, err := zerolog.ParseLevel(level)
	if err != nil || level == "" {
		l = zerolog.InfoLevel
	}
	if f, ok := w.(*os.File); ok && terminal(f) {
		w = zerolog.ConsoleWriter{Out: f, TimeFormat: time.DateTime}
	}
	return zerolog.New(w).Level(l).With().Timestamp().Logger()
}

func terminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// greet says what the daemon does, where, and how to get out.
func (d *daemon) greet() {
	for _, l := range d.receiver.Stats() {
		d.log.Info().Str("listener", l.Name).Bool("trusted", l.Trusted).Msg("receiving")
	}
	n := d.allow.Stats()
	d.log.Info().Int("allowed", n.Allowed).Int("proxies", n.Proxies).Int("own", n.Own).Msg("never banned")
	if d.off != "" {
		d.log.Warn().Str("why", d.off).Int("bans", d.bans.Len()).Msg("OBSERVING: bans are decided and recorded, not enforced. To enforce: rapsheet arm")
	} else {
		d.log.Info().Int("bans", d.bans.Len()).Msg("ENFORCING. To let everybody in at once: rapsheet disarm")
	}
	if ours, init := namespace("self"), namespace("1"); ours != "" && init != "" && ours != init {
		d.log.Warn().Msg("this is not the host's network namespace: bans hold in here only")
	}
}

// namespace names the network namespace of a process, empty where we may not look.
func namespace(pid string) string {
	s, err := os.Readlink("/proc/" + pid + "/ns/net")
	if err != nil {
		return ""
	}
	return s
}

// singleSenders are the senders that are configured as single addresses: they are never banned.
func singleSenders(cfg *configs.Config) []netip.Prefix {
	var all []netip.Prefix
	for i := range cfg.Listen {
		for _, p := range cfg.Listen[i].Senders {
			if p.IsSingleIP() {
				all = append(all, p.Prefix)
			}
		}
	}
	return all
}
