package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rapsheet/rapsheet/configs/value"
	"github.com/rapsheet/rapsheet/pipeline/allow"
	"github.com/rapsheet/rapsheet/pipeline/event"
	"github.com/rapsheet/rapsheet/pipeline/verdict"
	"github.com/rapsheet/rapsheet/store"
	"github.com/rapsheet/rapsheet/web"
)

// routes says what the daemon answers. Callers are the sub-commands; the paths are theirs and may change with them.
func (d *daemon) routes(s *web.Server) {
	s.Read("/v1/status", func(ctx context.Context, _ *web.Request) (any, error) { return d.status(ctx) })
	s.Read("/v1/bans", func(ctx context.Context, _ *web.Request) (any, error) { return d.list(ctx) })
	s.Read("/v1/offenders/{prefix...}", func(ctx context.Context, r *web.Request) (any, error) {
		p, err := parsePrefix(r.Args["prefix"])
		if err != nil {
			return nil, err
		}
		return d.show(ctx, p)
	})
	s.Change("POST", "/v1/bans", func(ctx context.Context, r *web.Request) (any, error) {
		var in banRequest
		if err := r.Decode(&in); err != nil {
			return nil, err
		}
		return d.ban(ctx, in, r.UID)
	})
	s.Change("POST", "/v1/lifts", func(ctx context.Context, r *web.Request) (any, error) {
		var in liftRequest
		if err := r.Decode(&in); err != nil {
			return nil, err
		}
		return d.unban(ctx, in, r.UID)
	})
	s.Change("PUT", "/v1/mode", func(ctx context.Context, r *web.Request) (any, error) {
		var in modeRequest
		if err := r.Decode(&in); err != nil {
			return nil, err
		}
		ctx = context.WithoutCancel(ctx) // a caller that gave up on a slow daemon wanted it all the same
		switch in.Mode {
		case armed:
			d.audit(r.UID, "arm", "", "")
			return in, d.arm(ctx)
		case disarmed:
			d.audit(r.UID, "disarm", "", "")
			return in, d.disarm(ctx, in.Remove)
		}
		return nil, fmt.Errorf("%w: mode %q", web.ErrUsage, in.Mode)
	})
}

type modeRequest struct {
	Mode   string `json:"mode"`
	Remove bool   `json:"remove,omitempty"`
}

type banRequest struct {
	Prefixes []string `json:"prefixes"`
	For      string   `json:"for"` // a duration
	Reason   string   `json:"reason"`
	Force    bool     `json:"force,omitempty"` // allow very wide prefixes
}

type liftRequest struct {
	Prefixes []string `json:"prefixes"`
	Reason   string   `json:"reason"`
}

// A change is what ban and unban answer.
type change struct {
	Bans []event.Ban `json:"bans"`
	Off  string      `json:"off,omitempty"` // why nothing is enforced

	Behind string `json:"behind,omitempty"` // a sink that does not hold it yet
}

func parsePrefix(s string) (netip.Prefix, error) {
	p, err := value.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("%w: %w", web.ErrUsage, err)
	}
	return p, nil
}

func parsePrefixes(list []string) ([]netip.Prefix, error) {
	prefixes := make([]netip.Prefix, len(list))
	for i, s := range list {
		p, err := parsePrefix(s)
		if err != nil {
			return nil, err
		}
		prefixes[i] = p
	}
	if len(prefixes) == 0 {
		return nil, fmt.Errorf("%w: no address", web.ErrUsage)
	}
	return prefixes, nil
}

// reason is what a caller gives, unless it is a book.
func reason(s string) (string, error) {
	if len(s) > 500 {
		return "", fmt.Errorf("%w: a reason has at most 500 bytes", web.ErrUsage)
	}
	return s, nil
}

// audit notes who changed what.
func (d *daemon) audit(uid int, verb, object, reason string) {
	d.store.Audit(store.AuditEntry{Time: time.Now(), UID: uid, Verb: verb, Object: object, Reason: reason})
}

func caller(uid int) string { return "uid " + strconv.Itoa(uid) }

// ban bans by hand. All prefixes are looked at before the first is banned.
func (d *daemon) ban(ctx context.Context, in banRequest, uid int) (*change, error) {
	prefixes, err := parsePrefixes(in.Prefixes)
	if err != nil {
		return nil, err
	}
	length, err := value.ParseDuration(in.For)
	if err != nil || length <= 0 {
		return nil, fmt.Errorf("%w: for %q", web.ErrUsage, in.For)
	}
	if in.Reason, err = reason(in.Reason); err != nil {
		return nil, err
	}
	for _, p := range prefixes {
		if p.Bits() == 0 {
			return nil, fmt.Errorf("%w: %s is everybody", web.ErrConflict, p)
		}
		if allow.Wide(p) && !in.Force {
			return nil, fmt.Errorf("%w: %s is very wide, --force bans it", web.ErrConflict, p)
		}
		if why, never := d.allow.Never(p); never {
			return nil, fmt.Errorf("%w: %s is never banned: %s", web.ErrConflict, p, why)
		}
	}
	d.audit(uid, "ban", strings.Join(in.Prefixes, " "), in.Reason)
	var commits commits
	var out change
	err = d.pipe.Do(ctx, func(now time.Time) {
		for _, p := range prefixes {
			b, changed := d.bans.Merge(event.Ban{Prefix: p, Jail: verdict.Manual, Issued: now, Until: event.End(now, length),
				Observed: d.bans.Observe, Reason: in.Reason, Origin: "manual", By: caller(uid)}, now)
			out.Bans = append(out.Bans, b)
			if changed {
				d.publish(b, now, commits.add())
			}
		}
	})
	out.Off = d.why()
	return &out, d.settled(ctx, err, &commits, &out)
}

// unban lifts every ban that covers an address or lies in a network, in all jails.
func (d *daemon) unban(ctx context.Context, in liftRequest, uid int) (*change, error) {
	prefixes, err := parsePrefixes(in.Prefixes)
	if err != nil {
		return nil, err
	}
	if in.Reason, err = reason(in.Reason); err != nil {
		return nil, err
	}
	d.audit(uid, "unban", strings.Join(in.Prefixes, " "), in.Reason)
	var commits commits
	var out change
	match := coversAny(prefixes)
	err = d.pipe.Do(ctx, func(now time.Time) {
		for _, b := range d.bans.Lift(match, caller(uid), in.Reason, now) {
			out.Bans = append(out.Bans, b)
			d.publish(b, now, commits.add())
			d.forgive(b.Prefix, now)
		}
		for _, p := range prefixes {
			d.forgive(p, now)
		}
	})
	out.Off = d.why()
	if err := d.settled(ctx, err, &commits, &out); err != nil {
		return nil, err
	}
	if len(out.Bans) == 0 {
		return nil, fmt.Errorf("%w: no ban covers %v", web.ErrNotFound, in.Prefixes)
	}
	return &out, nil
}

// patience is how long a caller waits for a sink: what is on disk is decided, and the sink goes on trying.
const patience = 5 * time.Second

// settled waits until the commits are on disk and the sinks hold what was sent: only then is a caller answered.
func (d *daemon) settled(ctx context.Context, err error, c *commits, out *change) error {
	if err != nil {
		return err
	}
	if err := c.wait(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := d.fanout.Flush(ctx); err != nil {
		out.Behind = err.Error()
	}
	return nil
}

// list answers the running bans, those that end last first.
func (d *daemon) list(ctx context.Context) ([]event.Ban, error) {
	bans := []event.Ban{}
	err := d.pipe.Do(ctx, func(time.Time) {
		for b := range d.bans.Running {
			bans = append(bans, *b)
		}
	})
	slices.SortFunc(bans, func(a, b event.Ban) int {
		if c := b.Until.Compare(a.Until); c != 0 {
			return c
		}
		return a.Prefix.Compare(b.Prefix)
	})
	return bans, err
}

// why says why nothing is enforced, and nothing when it is.
func (d *daemon) why() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.off
}

// commits gathers the ends of several commits.
type commits struct{ pending []chan error }

// add returns the function that a commit is to call.
func (c *commits) add() func(error) {
	ended := make(chan error, 1)
	c.pending = append(c.pending, ended)
	return func(err error) { ended <- err }
}

// wait returns the first error, or ctx's.
func (c *commits) wait(ctx context.Context) error {
	for _, ended := range c.pending {
		select {
		case err := <-ended:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
