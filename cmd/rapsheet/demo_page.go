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

// fold breaks lines that are longer than width at spaces, where there are any. What follows is indented.
func fold(text string, width int) []string {
	const hang = "  "
	var all []string
	for line := range strings.SplitSeq(text, "\n") {
		for utf8.RuneCountInString(line) > width {
			runes := []rune(line)
			cut := strings.LastIndexByte(strings.TrimRight(string(runes[:width+1]), " "), ' ')
			head := string(runes[:width])
			if cut > len(hang) && strings.TrimSpace(line[:cut]) != "" {
				head = line[:cut]
			}
			all = append(all, strings.TrimRight(head, " "))
			line = hang + strings.TrimLeft(line[len(head):], " ")
		}
		all = append(all, line)
	}
	return all
}
