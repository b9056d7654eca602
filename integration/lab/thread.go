package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// A keeper is the thread that starts the hosts. It outlives them: the kernel sends a host its death signal when the
// thread that started it ends, which for any other thread of a Go program may be at any time.
type keeper struct{ work chan func() }

func newKeeper() *keeper {
	k := &keeper{work: make(chan func())}
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for f := range k.work {
			f()
		}
	}()
	return k
}

func (k *keeper) do(f func() error) error {
	done := make(chan error, 1)
	k.work <- func() { done <- f() }
	return <-done
}

func (k *keeper) stop() { close(k.work) }

// within runs f on a thread that is in the given namespaces of process pid, and ends with f. What f starts, opens and
// dials is in them; goroutines that f starts are not.
func within(pid int, flags int, f func() error) error {
	done := make(chan error, 1)
	go onOwnThread(func() {
		err := errors.New("left early") // by FailNow or a panic in f
		defer func() { done <- err }()
		if err = enter(pid, flags); err == nil {
			err = f()
		}
	})
	return <-done
}

// onOwnThread runs f on a thread that ends with f, so that what f does to the thread is undone. The main thread does
// not end, and everything in /proc/self shows its namespaces: it is never used.
func onOwnThread(f func()) {
	runtime.LockOSThread() // not unlocked: the thread ends with its goroutine
	if unix.Gettid() != unix.Getpid() {
		f()
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		onOwnThread(f) // another thread, for this one is taken
	}()
	<-done
	runtime.UnlockOSThread()
}

func enter(pid, flags int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("open process %d: %w", pid, err)
	}
	defer unix.Close(fd)
	if flags&unix.CLONE_NEWNS != 0 {
		if err := unix.Unshare(unix.CLONE_FS); err != nil { // setns(2) asks for it
			return fmt.Errorf("unshare: %w", err)
		}
	}
	if err := unix.Setns(fd, flags); err != nil { // by pidfd: Linux 5.8
		return fmt.Errorf("setns to process %d: %w", pid, err)
	}
	return nil
}

// namespaces returns the names that the kernel gives to the namespaces in dir, a /proc/PID/ns.
func namespaces(dir string, flags uintptr) []string {
	var names []string
	for _, n := range []struct {
		file string
		flag uintptr
	}{{"net", unix.CLONE_NEWNET}, {"mnt", unix.CLONE_NEWNS}, {"uts", unix.CLONE_NEWUTS}, {"ipc", unix.CLONE_NEWIPC}, {"pid", unix.CLONE_NEWPID}} {
		if flags&n.flag == 0 {
			continue
		}
		if name, err := os.Readlink(filepath.Join(dir, n.file)); err == nil {
			names = append(names, name)
		}
	}
	return names
}
