// Command rapsheet bans brute-force attackers by what services say of them in syslog, and remembers them for a year.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/rapsheet/rapsheet/web"
)

// The exit codes.
const (
	exitDone     = 0
	exitFailed   = 1
	exitUsage    = 2 // wrong usage or configuration
	exitNotFound = 3
)

// A quiet error was reported already.
type quiet struct{ error }

// Unwrap lets errors.Is see through.
func (q quiet) Unwrap() error { return q.error }

// errUsage marks what the caller typed or configured wrong.
var errUsage = errors.New("usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	os.Exit(execute(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// execute runs one command line and returns its exit code.
func execute(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot(&cli{stdin: stdin, stdout: stdout, stderr: stderr})
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var told quiet
	if err != nil && !errors.As(err, &told) {
		fmt.Fprintln(stderr, "rapsheet:", plainLines(err.Error()))
	}
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errUsage), errors.Is(err, web.ErrUsage):
		return exitUsage
	case errors.Is(err, web.ErrNotFound):
		return exitNotFound
	}
	return exitFailed
}

// newRoot lists the sub-commands: each has a file of its own.
func newRoot(c *cli) *cobra.Command {
	root := &cobra.Command{
		Use:           "rapsheet",
		Short:         "Bans brute-force attackers by syslog, in the kernel, and remembers them for a year",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          usageArgs(cobra.NoArgs),
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(c.stdin)
	root.SetOut(c.stdout)
	root.SetErr(c.stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w: %w", errUsage, err) })
	root.PersistentFlags().StringVar(&c.config, "config", "", "read this file in place of those in /etc/rapsheet")
	root.AddCommand(newRun(c), newDemo(c), newCheck(c), newTest(c), newStatus(c), newList(c), newShow(c), newBan(c), newUnban(c),
		newDisarm(c), newArm(c), newVersion(c))
	for _, cmd := range root.Commands() {
		cmd.Args = usageArgs(cmd.Args)
	}
	return root
}

// usageArgs makes a wrong number of arguments a wrong usage.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return fmt.Errorf("%w: %s: %w", errUsage, cmd.UseLine(), err)
		}
		return nil
	}
}
