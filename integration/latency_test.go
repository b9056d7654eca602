package integration

import (
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/rapsheet/rapsheet/integration/lab"
)

// How long an attacker has left after his last wrong password: from the moment its message is written to rapsheet's TCP
// port until the kernel set holds him. The daemon has nothing else to do. Printed, not judged: the goal is a median
// below 2 ms, and machines differ.
func TestFromMessageToKernelSet(t *testing.T) {
	const offenders, set = 200, "rapsheet-ssh-4p"
	srv := lab.Up(t, lab.Srv).Host("srv")
	d := srv.Rapsheet(lab.Build(t), "{}\n")

	var took []time.Duration
	err := srv.Do(func() error {
		c, err := net.Dial("tcp", "127.0.0.1:5514")
		if err != nil {
			return err
		}
		defer c.Close()
		k, err := netlink.NewHandle() // one socket for all questions
		if err != nil {
			return err
		}
		defer k.Close()
		write := func(n int, addr string) error {
			for range n {
				s := wrong("root", addr, time.Now()).String()
				if _, err := fmt.Fprintf(c, "%d %s", len(s), s); err != nil {
					return err
				}
			}
			return nil
		}
		for i := range offenders {
			ip := net.IPv4(203, 0, 113, byte(i+1))
			if err := write(6, ip.String()); err != nil {
				return err
			}
			// The daemon rests when it has done with the six: it answers in between.
			sheetOf(t, d, ip.String())
			entry := &netlink.IPSetEntry{IP: ip.To4()}
			if held, err := k.IpsetTest(set, entry); held || err != nil {
				return fmt.Errorf("%s before the seventh failure: held %t, %v", ip, held, err)
			}
			start := time.Now()
			if err := write(1, ip.String()); err != nil {
				return err
			}
			for held := false; !held; {
				if held, err = k.IpsetTest(set, entry); err != nil {
					return err
				}
				if !held && time.Since(start) > 20*time.Second {
					return fmt.Errorf("%s is not in %s after 20 s", ip, set)
				}
			}
			took = append(took, time.Since(start))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(took)
	t.Logf("message to kernel set, %d offenders: median %s, p90 %s, p99 %s, longest %s",
		offenders, took[offenders/2], took[offenders*9/10], took[offenders*99/100], took[offenders-1])
	if n := len(kernel(t, srv)); n != offenders {
		t.Errorf("kernel sets: got %d offenders, want %d", n, offenders)
	}
}
