package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// 9: the attacker goes on knocking while the daemon is killed and comes back.
func (s *story) restart(ctx context.Context) error {
	bans, err := s.d.bans(ctx)
	if err != nil {
		return err
	}
	kernel, err := inKernel()
	if err != nil {
		return err
	}
	if err := s.written(ctx); err != nil {
		return err
	}
	knocking, stop := context.WithCancel(ctx)
	defer stop()
	type outcome struct {
		sent int
		err  error
	}
	before, knocked := s.net.ssh.Seen(demoAttacker), make(chan outcome, 1)
	go func() {
		n, err := s.net.pester(knocking, demoAttacker)
		knocked <- outcome{n, err}
	}()

	s.d.kill()
	if err := s.d.running(); !errors.Is(err, errDaemonEnded) {
		return &mismatch{"after kill -9 the daemon", "has ended", "runs"}
	}
	if err := s.expect("the kernel without a daemon holds", strings.Join(kernel, "\n"), joined(inKernel)); err != nil {
		return err
	}
	if _, err := s.probe(ctx, s.net.ssh, demoAttacker, 0); err != nil {
		return err
	}
	if err := s.d.start(); err != nil {
		return err
	}
	err = s.await(ctx, "the bans after the restart", strings.Join(bans, "\n"), func() (string, error) {
		list, err := s.d.bans(ctx)
		if err != nil {
			return err.Error(), nil
		}
		return strings.Join(list, "\n"), nil
	})
	if err != nil {
		return err
	}
	if err := s.expect("the kernel after the restart holds", strings.Join(kernel, "\n"), joined(inKernel)); err != nil {
		return err
	}

	stop()
	knock := <-knocked
	if knock.err != nil {
		return knock.err
	}
	if _, err := s.probe(ctx, s.net.ssh, demoAttacker, 0); err != nil { // sent last: what was under way has arrived
		return err
	}
	if _, err := s.probe(ctx, s.net.ssh, demoNeighbour, 3); err != nil {
		return err
	}
	t := demoTally{knock.sent, int(s.net.ssh.Seen(demoAttacker) - before)}
	if t.sent == 0 || t.arrived > 0 {
		return &mismatch{"packets of 203.0.113.7 during kill and restart", "some sent, 0 arrived", t.String()}
	}
	s.line(fmt.Sprintf("kill -9, restart: %d bans still there", len(bans)), "", "ok")
	s.more("packets from 203.0.113.7  meanwhile", t.String(), "ok")
	return nil
}

// written waits until every ban is on disk: only then has the daemon reported it.
func (s *story) written(ctx context.Context) error {
	for _, a := range []netip.Addr{demoAttacker, demoSlow, demoBlogger, demoLiar} {
		err := s.await(ctx, "bans of "+a.String()+" on disk", "1", func() (string, error) {
			sheet, err := s.d.sheet(ctx, single(a))
			n := 0
			for _, o := range sheet.Offenders {
				n += len(o.Log)
			}
			return fmt.Sprint(n), err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func joined(f func() ([]string, error)) func() (string, error) {
	return func() (string, error) {
		lines, err := f()
		return strings.Join(lines, "\n"), err
	}
}
