package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/rapsheet/rapsheet/integration/netns"
	"github.com/rapsheet/rapsheet/sinks/ipset"
)

func newDemo(c *cli) *cobra.Command {
	var inside string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "See attackers banned in a private network: needs no root, touches nothing",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if inside != "" {
				return c.demoInside(cmd.Context(), thisHost(inside == asRoot))
			}
			return c.demo(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&inside, "inside", "", "the part that runs in the private network, and who began it: root or user")
	_ = cmd.Flags().MarkHidden("inside") // an error: no such flag
	return cmd
}

// Who began the demo: inside, everybody is root.
const (
	asRoot = "root"
	asUser = "user"
)

// demo runs this program once more, in a network and with mounts of its own. An ordinary user gets a user namespace
// too, where he is root.
func (c *cli) demo(ctx context.Context) error {
	host, who := thisHost(os.Geteuid() == 0), asUser
	if host.root {
		who = asRoot
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "demo", "--inside", who)
	cmd.Args[0] = os.Args[0]
	cmd.Stdout, cmd.Stderr = c.stdout, c.stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	netns.Isolate(cmd)
	cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWNS
	runtime.LockOSThread() // it dies with the thread that starts it, and this one is to last
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return errors.New(host.refusal(err))
	}
	if err := cmd.Wait(); err != nil {
		return quiet{err} // it has said why
	}
	return nil
}

// A hostFacts is what decides how a host that refuses the demo can be talked round.
type hostFacts struct {
	root   bool
	self   string                   // how to call this program
	sysctl func(name string) string // its value, empty where there is none
}

func thisHost(root bool) hostFacts {
	return hostFacts{root: root, self: callable(os.Args[0]), sysctl: readSysctl}
}

// callable is how root can call the program that was called by this name.
func callable(name string) string {
	if strings.Contains(name, "/go-build") { // go run made it, and removes it
		return "go build ./cmd/rapsheet && sudo ./rapsheet"
	}
	return "sudo " + name
}

func readSysctl(name string) string {
	b, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// refusal says in one line why the host refuses the demo, and the one thing to do about it. What is no refusal it says
// as it is.
func (h hostFacts) refusal(err error) string {
	const modules = "modprobe -a ip_set ip_set_hash_net xt_set nft_compat nf_tables veth"
	sudo := "sudo "
	if h.root {
		sudo = ""
	}
	var code syscall.Errno
	errors.As(err, &code)
	switch {
	case errors.Is(err, ipset.ErrModules), errors.Is(err, netns.ErrModules), code == unix.EOPNOTSUPP:
		return "demo: the kernel lacks modules, and does not load them by itself here. Run: " + sudo + modules
	case code == unix.ENOSPC, code == unix.EUSERS:
		for _, limit := range []string{"user.max_net_namespaces", "user.max_mnt_namespaces"} {
			if h.sysctl(limit) == "0" {
				return fmt.Sprintf("demo: nobody gets a network of his own here (%s is 0). Run: %ssysctl -w %[1]s=1000", limit, sudo)
			}
		}
	case code == unix.EPERM, code == unix.EACCES, code == unix.EINVAL:
	default:
		return "demo: " + err.Error()
	}
	if h.root {
		return fmt.Sprintf("demo: not even root gets a network of his own here, as in many containers (%v). Run it on the host itself", code)
	}
	why := code.Error()
	for _, s := range []struct{ name, refuses string }{
		{"user.max_user_namespaces", "0"}, {"kernel.unprivileged_userns_clone", "0"}, {"kernel.apparmor_restrict_unprivileged_userns", "1"},
	} {
		if h.sysctl(s.name) == s.refuses {
			why = s.name + " is " + s.refuses
			break
		}
	}
	return fmt.Sprintf("demo: ordinary users get no network of their own here (%s). Run: %s demo", why, h.self)
}
