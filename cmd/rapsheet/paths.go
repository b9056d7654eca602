package main

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/rapsheet/rapsheet/configs"
)

// The places of a daemon that the system starts.
const (
	systemState = "/var/lib/rapsheet"
	systemRun   = "/run/rapsheet"
)

// ownPaths moves the default places of state and sockets to the user's own, where he is not root and may not write to
// the system's. It reports whether it moved any.
func ownPaths(cfg *configs.Config) bool {
	if os.Geteuid() == 0 {
		return false
	}
	moved := false
	move := func(path *string, to string) {
		if *path = to; to != "" {
			moved = true
		}
	}
	if cfg.Store.State.S == systemState && !writable(systemState) {
		move(&cfg.Store.State.S, userState())
	}
	if filepath.Dir(cfg.Web.Socket.S) == systemRun && !writable(systemRun) {
		move(&cfg.Web.Socket.S, filepath.Join(userState(), filepath.Base(cfg.Web.Socket.S)))
	}
	for i := range cfg.Listen {
		if l := &cfg.Listen[i]; filepath.Dir(l.Unix.S) == systemRun && !writable(systemRun) {
			move(&l.Unix.S, filepath.Join(userState(), filepath.Base(l.Unix.S)))
			l.Name.S = l.ID()
		}
	}
	return moved
}

// userState is the user's state folder (XDG Base Directory Specification).
func userState() string {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "rapsheet")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		home = os.TempDir()
	}
	return filepath.Join(home, ".local", "state", "rapsheet")
}

// writable reports whether files may be made in dir, or dir itself in its parent.
func writable(dir string) bool {
	if _, err := os.Stat(dir); err != nil {
		dir = filepath.Dir(dir)
	}
	return unix.Access(dir, unix.W_OK|unix.X_OK) == nil
}
