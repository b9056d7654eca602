package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rapsheet/rapsheet/configs"
	"github.com/rapsheet/rapsheet/pipeline/event"
	"github.com/rapsheet/rapsheet/pipeline/filter"
	"github.com/rapsheet/rapsheet/pipeline/header"
)

// A tested is what rapsheet test says of one line. Others build on its JSON: names stay.
type tested struct {
	N       int          `json:"n"` // from 1
	Program string       `json:"program"`
	PID     string       `json:"pid"`
	Host    string       `json:"host"`
	Text    string       `json:"text"`
	Event   *testedEvent `json:"event"` // null: no event
}

type testedEvent struct {
	Kind   string `json:"kind"` // failure, probe, abuse, success
	Addr   string `json:"addr"` // empty where the daemon logged a host name, or the address is ambiguous
	Name   string `json:"name"` // that host name
	User   string `json:"user"`
	Filter string `json:"filter"`
	Rule   string `json:"rule"`
	Count  int    `json:"count"` // attempts that the line reports
}

// longestTested is how much of a line is looked at: as much as the receiver may ever take.
const longestTested = 65000

func newTest(c *cli) *cobra.Command {
	var program string
	cmd := &cobra.Command{
		Use:   "test FILE|-|LINE",
		Short: "Show what the filters make of log lines",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			loaded := configs.Load(configs.Options{File: c.config})
			set, _ := filter.New(loaded.Filters)
			in, err := c.lines(args[0])
			if err != nil {
				return err
			}
			defer in.Close()
			return c.test(in, set, program)
		},
	}
	cmd.Flags().StringVar(&program, "program", "", "the lines are bare texts of this program, without stamp, host and tag")
	return c.jsonFlag(cmd)
}

// lines opens what the argument means: standard input, a file, or itself.
func (c *cli) lines(arg string) (io.ReadCloser, error) {
	if arg == "-" {
		return io.NopCloser(c.stdin), nil
	}
	f, err := os.Open(arg)
	if err == nil {
		return f, nil
	}
	if !strings.Contains(arg, " ") && (!errors.Is(err, fs.ErrNotExist) || strings.Contains(arg, "/")) {
		return nil, err // no line has no space: it was meant as a file
	}
	return io.NopCloser(strings.NewReader(arg)), nil
}

// test runs the lines in order through header and filters, as the daemon does.
func (c *cli) test(in io.Reader, set *filter.Set, program string) error {
	r := bufio.NewReaderSize(in, 1<<16)
	out := bufio.NewWriter(c.stdout)
	defer out.Flush()
	b := event.NewBatch(1, longestTested)
	from := &event.Sender{UID: -1, Trusted: true}
	for n := 1; ; n++ {
		line, cut, err := readLine(r)
		if err != nil {
			return errors.Join(ignoreEOF(err), out.Flush())
		}
		b.Reset()
		b.Now = time.Now()
		b.Add(line, from, cut)
		m := &b.Messages[0]
		if program == "" {
			header.Parse(m)
		} else {
			*m = event.Message{Raw: m.Raw, From: from, Cut: cut, Facility: 1, Severity: 5, Program: []byte(program), Text: bytes.TrimRight(m.Raw, "\r\n\x00")}
		}
		t := tested{N: n, Program: string(m.Program), PID: string(m.PID), Host: string(m.Host), Text: string(m.Text)}
		var e event.Event
		if !cut && set.Match(m, &e) {
			t.Event = describe(&e)
		}
		if err := c.printTested(out, &t, cut); err != nil {
			return err
		}
	}
}

func describe(e *event.Event) *testedEvent {
	t := &testedEvent{Kind: e.Rule.Kind.String(), Name: string(e.Name), User: string(e.User), Filter: e.Rule.Filter, Rule: e.Rule.Name, Count: int(e.Count)}
	if e.Addr.IsValid() {
		t.Addr = e.Addr.String()
	}
	return t
}

func (c *cli) printTested(out io.Writer, t *tested, cut bool) error {
	if c.json {
		return encodeJSON(out, t, "")
	}
	origin := plain(t.Program)
	if t.PID != "" {
		origin += "[" + plain(t.PID) + "]"
	}
	if t.Host != "" {
		origin += " on " + plain(t.Host)
	}
	fmt.Fprintf(out, "%d  %s: %s\n", t.N, origin, plain(t.Text))
	switch e := t.Event; {
	case cut:
		fmt.Fprintf(out, "   no event: longer than %d bytes, such a line is never believed\n", longestTested)
	case e == nil:
		fmt.Fprintln(out, "   no event")
	default:
		who := e.Addr
		if who == "" {
			who = "no address"
			if e.Name != "" {
				who = "host name " + plain(e.Name) + ", never banned"
			}
		}
		fmt.Fprintf(out, "   %s of %s", e.Kind, who)
		if e.User != "" {
			fmt.Fprintf(out, ", user %s", plain(e.User))
		}
		if e.Count > 1 {
			fmt.Fprintf(out, ", %d attempts", e.Count)
		}
		_, err := fmt.Fprintf(out, "\n   filter %s: %s\n", e.Filter, e.Rule)
		return err
	}
	return nil
}

// readLine returns the next line without its LF, cut at longestTested.
func readLine(r *bufio.Reader) (line []byte, cut bool, err error) {
	for {
		part, more, err := r.ReadLine()
		if err != nil {
			return nil, false, err
		}
		if room := longestTested - len(line); len(part) > room {
			part, cut = part[:room], true
		}
		line = append(line, part...)
		if !more {
			return line, cut, nil
		}
	}
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
