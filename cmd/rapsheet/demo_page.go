package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"
)

// demoWidth is where the results of the steps end, and pageWidth where lines do.
const (
	demoWidth = 76
	pageWidth = 80
)

// demoPatience is how long a check may take that should take a fraction of a second: the machine may be busy.
const demoPatience = 10 * time.Second

// A demoStep is one numbered thing that the demo proves.
type demoStep struct {
	title string
	run   func(context.Context) error
}

// A demoPage is what the demo prints: a line for each step.
type demoPage struct {
	w       io.Writer
	colour  bool
	n       int // the step that runs
	left    int // steps that could not be done here
	running func() error
}

func newDemoPage(w io.Writer) *demoPage {
	f, ok := w.(*os.File)
	return &demoPage{w: w, colour: ok && terminal(f) && os.Getenv("NO_COLOR") == ""}
}

// line prints what the step has proved; more adds to it.
func (p *demoPage) line(text, detail, result string) {
	p.print(fmt.Sprintf("%2d", p.n), text, detail, result)
}

func (p *demoPage) more(text, detail, result string) { p.print("", text, detail, result) }

// skip prints why the step was left out.
func (p *demoPage) skip(why string) {
	p.left++
	p.line(why, "", "-")
}

func (p *demoPage) print(n, text, detail, result string) {
	s := fmt.Sprintf("%2s  %s", n, text)
	if detail != "" {
		s = fmt.Sprintf("%-45s %s", s, detail)
	}
	room := demoWidth - utf8.RuneCountInString(s) - len(result)
	fmt.Fprintln(p.w, strings.TrimRight(s+strings.Repeat(" ", max(room, 1))+p.paint(result), " "))
}

func (p *demoPage) paint(result string) string {
	code := ""
	switch {
	case !p.colour:
	case result == "ok":
		code = "\x1b[32m"
	case result == failed:
		code = "\x1b[1;31m"
	}
	if code == "" {
		return result
	}
	return code + result + "\x1b[0m"
}

const failed = "FAILED"

// fail prints what went wrong in the step, and the daemon's last words.
func (p *demoPage) fail(title string, err error, log []string) {
	p.line(title, "", failed)
	for _, l := range fold(err.Error(), pageWidth-4) {
		fmt.Fprintln(p.w, "    "+l)
	}
	fmt.Fprintln(p.w, "\nThe daemon's last lines:")
	for _, l := range log {
		fmt.Fprintln(p.w, "  "+plain(l))
	}
}

// A mismatch is a check that failed.
type mismatch struct{ what, want, got string }

func (m *mismatch) Error() string {
	return fmt.Sprintf("%s:\nexpected  %s\nsaw       %s", m.what, indent(m.want), indent(m.got))
}

func indent(s string) string { return strings.ReplaceAll(s, "\n", "\n          ") }

// expect looks once.
func (p *demoPage) expect(what, want string, look func() (string, error)) error {
	got, err := look()
	if err == nil && got != want {
		err = &mismatch{what, want, got}
	}
	return err
}

// await looks until it sees what is wanted, the daemon ends, or patience does.
func (p *demoPage) await(ctx context.Context, what, want string, look func() (string, error)) error {
	for end := time.Now().Add(demoPatience); ; {
		err := p.expect(what, want, look)
		if _, again := err.(*mismatch); !again || time.Now().After(end) {
			return err
		}
		if err := p.running(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

// fold breaks lines that are longer than width, which is more than 2, at spaces where there are any, and indents what
// is left of them. What is no UTF-8 becomes U+FFFD.
func fold(text string, width int) []string {
	const hang = "  "
	var all []string
	for line := range strings.SplitSeq(text, "\n") {
		lead, rest := "", []rune(line)
		for len(lead)+len(rest) > width {
			cut := width - len(lead)
			head := string(rest[:cut+1])
			if words := strings.TrimRight(head[:max(0, strings.LastIndexByte(head, ' '))], " "); words != "" {
				cut = utf8.RuneCountInString(words)
			}
			all = append(all, lead+string(rest[:cut]))
			for rest = rest[cut:]; len(rest) > 0 && rest[0] == ' '; {
				rest = rest[1:]
			}
			lead = hang
		}
		if lead == "" || len(rest) > 0 {
			all = append(all, lead+string(rest))
		}
	}
	return all
}
