package netns

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
)

// Strict is the environment variable that turns skips into failures: whoever installed all that is needed wants to
// know when it is not found.
const Strict = "RAPSHEET_NO_SKIP"

// T is what this package needs of a *testing.T.
type T interface {
	Helper()
	Name() string
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
}

// Skip skips the test, or fails it where the environment says that nothing may be skipped.
func Skip(t T, format string, args ...any) {
	t.Helper()
	if os.Getenv(Strict) != "" {
		t.Fatalf("would be skipped, but "+Strict+" is set: "+format, args...)
	}
	t.Skipf(format, args...)
}

// Run runs f in a network namespace of its own: it starts this very test once more in a process that has one, and
// reports what became of it. f runs in that process only, with ipset there and loopback up. Where namespaces or modules
// are not to be had the test is skipped.
//
//	func TestBan(t *testing.T) { netns.Run(t, func(t *testing.T) { ... }) }
func Run[P T](t P, f func(P)) {
	t.Helper()
	if Inside() {
		if err := ready(); err != nil {
			Skip(t, "%v", err)
		}
		f(t)
		return
	}
	cmd := exec.Command("/proc/self/exe", "-test.run="+pattern(t.Name()), "-test.v=true", "-test.count=1")
	for _, arg := range os.Args[1:] {
		for _, keep := range []string{"-test.timeout=", "-test.short", "-test.benchtime="} {
			if strings.HasPrefix(arg, keep) {
				cmd.Args = append(cmd.Args, arg)
			}
		}
	}
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatalf("pipe: %v", err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = in, in
	done := make(chan error, 1)
	go func() {
		done <- Command(cmd)
		in.Close()
	}()
	ran, skipped := report(t, out)
	err = <-done
	switch {
	case errors.Is(err, ErrForbidden):
		Skip(t, "%v", err)
	case err != nil:
		t.Fatalf("in its namespace: %v", err)
	case skipped != "":
		Skip(t, "%s", skipped)
	case !ran:
		t.Fatalf("the test did not run in its namespace: no test matches %s", pattern(t.Name()))
	}
}

func ready() error {
	if err := Ready(); err != nil {
		return err
	}
	return Modules()
}

// report hands the child's output on, line by line, and tells whether the test ran or why it was skipped.
func report(t T, out *os.File) (ran bool, skipped string) {
	t.Helper()
	last := ""
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line := lines.Text()
		trimmed := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(trimmed, "=== "), trimmed == "PASS":
			continue
		case strings.HasPrefix(trimmed, "--- SKIP: "+t.Name()+" "):
			skipped = last
		case strings.HasPrefix(trimmed, "--- PASS: "+t.Name()+" "):
			ran = true
			continue
		}
		last = trimmed
		t.Logf("%s", line)
	}
	return ran, skipped
}

// pattern matches one test, or subtest, and no other.
func pattern(name string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = fmt.Sprintf("^%s$", regexp.QuoteMeta(p))
	}
	return strings.Join(parts, "/")
}
