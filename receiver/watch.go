package receiver

import (
	"context"
	"time"
)

// watch warns once of each listener that is still silent after the quiet time, and at every further tick of what has been
// refused or dropped since the last.
func (r *Receiver) watch(ctx context.Context) {
	tick := time.NewTicker(r.quiet)
	defer tick.Stop()
	before := make([]uint64, len(r.listeners))
	for first := true; ; first = false {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for i, l := range r.listeners {
			if first && l.received() == 0 {
				l.warnQuiet()
			}
			before[i] = l.warnLost(before[i])
		}
	}
}

func (l *listener) warnQuiet() {
	e := l.log.Warn().Str("listener", l.cfg.Name.S)
	if kind := l.cfg.Kind(); kind != "unix" {
		_, port, _ := cutPort(l.addr.String())
		e = e.Str("selinux", "semanage port -a -t syslogd_port_t -p "+kind+" "+port)
	}
	e.Str("hints", "is rsyslog installed (apt install rsyslog), is the forwarding snippet in place, did rsyslog restart since").
		Msg("no message yet")
}

// warnLost logs what was refused or dropped, if that is more than before, and returns how much it is in all.
func (l *listener) warnLost(before uint64) uint64 {
	st := l.stats()
	var now uint64
	for _, n := range st.Refused {
		now += n
	}
	for _, n := range st.Dropped {
		now += n
	}
	if now > before {
		l.log.Warn().Str("listener", st.Name).Any("refused", st.Refused).Any("dropped", st.Dropped).Msg("messages refused or dropped")
	}
	return now
}
