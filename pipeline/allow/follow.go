package allow

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// follow calls changed when the kernel tells of a changed address or of a gateway that is not known, and when a file
// that names resolvers has changed.
func (h *host) follow(ctx context.Context, changed func()) error {
	s, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
		unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE)
	if err != nil {
		return fmt.Errorf("follow rtnetlink: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, s.Close)
	defer stop()
	defer s.Close()
	wg.Go(func() { h.watchResolvers(ctx, changed) })
	changed() // what happened since the facts were last read
	for {
		list, from, err := s.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS): // messages were lost
			changed()
			continue
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
			continue
		case err != nil:
			return fmt.Errorf("follow rtnetlink: %w", err)
		case from.Pid != nl.PidKernel:
			continue
		}
		for i := range list {
			if h.matters(&list[i]) {
				changed()
				break
			}
		}
	}
}

// nexthopID is RTA_NH_ID of linux/rtnetlink.h: the gateway is in an object of its own.
const nexthopID = 30

// matters reports whether a message can change the facts. Not every route does: where BGP runs, thousands of them come
// and go each minute over the same few gateways.
func (h *host) matters(m *syscall.NetlinkMessage) bool {
	switch m.Header.Type {
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		return true
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
	default:
		return false
	}
	if len(m.Data) < unix.SizeofRtMsg {
		return true
	}
	route := nl.DeserializeRtMsg(m.Data)
	if m.Header.Type == unix.RTM_DELROUTE {
		// Other gateways stay on the list until the facts are next read for another reason.
		return route.Dst_len == 0
	}
	attrs, err := nl.ParseRouteAttr(m.Data[unix.SizeofRtMsg:])
	if err != nil {
		return true
	}
	for _, a := range attrs {
		switch a.Attr.Type {
		case unix.RTA_GATEWAY:
			gw, ok := netip.AddrFromSlice(a.Value)
			h.mu.Lock()
			known := h.gateways[gw.Unmap()]
			h.mu.Unlock()
			if ok && !known {
				return true
			}
		case unix.RTA_MULTIPATH, unix.RTA_VIA, nexthopID:
			return true
		}
	}
	return false
}

// watchResolvers calls changed when a file that names resolvers has changed.
func (h *host) watchResolvers(ctx context.Context, changed func()) {
	tick := time.NewTicker(filePoll)
	defer tick.Stop()
	last := states(h.resolvers)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := states(h.resolvers)
		for i := range now {
			if !same(now[i], last[i]) {
				changed()
				break
			}
		}
		last = now
	}
}

// states returns what stat says of files, nil for those that are not there.
func states(paths []string) []os.FileInfo {
	list := make([]os.FileInfo, len(paths))
	for i, p := range paths {
		if info, err := os.Stat(p); err == nil {
			list[i] = info
		}
	}
	return list
}
