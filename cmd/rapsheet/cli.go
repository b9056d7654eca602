package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/rapsheet/rapsheet/configs"
	"github.com/rapsheet/rapsheet/configs/value"
	"github.com/rapsheet/rapsheet/web"
)

// A cli is what the sub-commands share.
type cli struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	config         string // --config
	json           bool   // --json, where a command has it
}

// jsonFlag gives the command a --json.
func (c *cli) jsonFlag(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().BoolVar(&c.json, "json", false, "print JSON")
	return cmd
}

// load reads the configuration for a command that needs only its paths: mistakes in it don't stop an operator who
// wants to unban somebody.
func (c *cli) load() *configs.Config {
	cfg := configs.Load(configs.Options{File: c.config}).Config
	socket := cfg.Web.Socket.S
	ownPaths(cfg)
	cfg.Web.Socket.S = answering(cfg.Web.Socket.S, socket)
	return cfg
}

// answering chooses between the socket of a user's own daemon and the system's: the latter only where there is no other,
// for members of its group.
func answering(own, system string) string {
	if _, err := os.Lstat(own); err == nil {
		return own
	}
	if _, err := os.Lstat(system); err == nil {
		return system
	}
	return own
}

// answerTime is how long a command waits for the daemon. One that is stopped or hangs must not take the operator's
// terminal with it.
const answerTime = 15 * time.Second

// call asks the running daemon.
func (c *cli) call(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	err := web.Call(ctx, c.load().Web.Socket.S, method, path, in, out)
	if errors.Is(err, context.DeadlineExceeded) {
		return errNoAnswer
	}
	return err
}

var errNoAnswer = errors.New("the daemon does not answer: is it stopped? rapsheet disarm works without it")

func (c *cli) printf(format string, args ...any) { fmt.Fprintf(c.stdout, format, args...) }

// plain makes a text that an attacker chose safe for a terminal: control characters, escapes, what is not UTF-8 and
// what changes the direction of writing are shown as \x1b and the like.
func plain(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError || !strconv.IsPrint(r) {
			q := strconv.QuoteToASCII(s[:n])
			b.WriteString(q[1 : len(q)-1])
		} else {
			b.WriteRune(r)
		}
		s = s[n:]
	}
	return b.String()
}

// plainLines is plain for a text of our own that quotes others' and may have several lines.
func plainLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = plain(lines[i])
	}
	return strings.Join(lines, "\n")
}

// span writes a length of time as people say it: the two largest units.
func span(d time.Duration) string {
	if d < time.Second {
		return "0s"
	}
	round := time.Second
	switch {
	case d >= 48*time.Hour:
		round = time.Hour
	case d >= 2*time.Hour:
		round = time.Minute
	}
	days := d / (24 * time.Hour)
	rest := value.FormatDuration((d % (24 * time.Hour)).Truncate(round))
	switch {
	case days == 0:
		return rest
	case d%(24*time.Hour) < round:
		return fmt.Sprintf("%dd", days)
	}
	return fmt.Sprintf("%dd%s", days, rest)
}
