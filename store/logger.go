package store

import (
	"fmt"
	"strings"

	"github.com/rs/zerolog"
)

// logger takes Badger's log lines: what it calls information is debugging to us. Its texts name files and, where it
// cannot read them, keys: they go into a field.
type logger struct{ zerolog.Logger }

func (l logger) put(e *zerolog.Event, format string, args []any) {
	if e.Enabled() {
		e.Str("text", strings.TrimSpace(fmt.Sprintf(format, args...))).Msg("badger")
	}
}

// Errorf is for badger.Logger, like the three below it.
func (l logger) Errorf(format string, args ...any) { l.put(l.Error(), format, args) }

// Warningf logs what Badger warns of.
func (l logger) Warningf(format string, args ...any) { l.put(l.Warn(), format, args) }

// Infof logs what Badger tells.
func (l logger) Infof(format string, args ...any) { l.put(l.Debug(), format, args) }

// Debugf logs what Badger's makers want to know.
func (l logger) Debugf(format string, args ...any) { l.put(l.Trace(), format, args) }
