package configs

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/rapsheet/rapsheet/configs/value"
)

// width is the terminal's that reports are made for.
const width = 80

// finish sorts the mistakes by file and place, keeps the first of several at one place, and fills in the lines.
func (r *Result) finish() {
	r.hard = r.settle(r.hard)
	r.soft = r.settle(r.soft)
	r.Warnings = r.settle(r.Warnings)
	r.Fatal = len(r.hard) > 0
	r.Errors = r.settle(append(slices.Clone(r.hard), r.soft...))
}

func (r *Result) settle(errs value.Errors) value.Errors {
	order := map[string]int{}
	for i, f := range r.Files {
		order[f] = i + 1
	}
	slices.SortStableFunc(errs, func(a, b *value.Error) int {
		return cmp.Or(order[a.File]-order[b.File], strings.Compare(a.File, b.File), a.Line-b.Line, a.Column-b.Column)
	})
	errs = slices.CompactFunc(errs, func(a, b *value.Error) bool {
		return a.Pos == b.Pos && (a.Line > 0 || a.Msg == b.Msg)
	})
	for _, e := range errs {
		if e.Excerpt == "" {
			e.Excerpt = excerpt(r.sources[e.File], e.Line, e.Column)
		}
	}
	return errs
}

// excerpt returns a line of a file with a caret below the column, both counted from 1, no wider than a terminal.
// Control characters become dots.
func excerpt(src []byte, line, column int) string {
	if line < 1 || column < 1 {
		return ""
	}
	for range line - 1 {
		_, rest, ok := bytes.Cut(src, []byte("\n"))
		if !ok {
			return ""
		}
		src = rest
	}
	src, _, _ = bytes.Cut(src, []byte("\n"))
	var text []rune
	for len(src) > 0 && len(text) < 1<<16 {
		c, n := utf8.DecodeRune(src)
		src = src[n:]
		switch {
		case c == '\t' || c == '\r':
			c = ' '
		case c == utf8.RuneError || !strconv.IsPrint(c):
			c = '.'
		}
		text = append(text, c)
	}
	text = []rune(strings.TrimRight(string(text), " "))
	if len(text) == 0 {
		return ""
	}
	number := fmt.Sprintf("%5d | ", line)
	room := width - len(number) - 1
	at := min(column-1, len(text))
	from := 0
	if at > room-10 {
		from = at - room/2
	}
	shown := text[from:min(len(text), from+room)]
	return number + string(shown) + "\n" + strings.Repeat(" ", len(number)-2) + "| " + strings.Repeat(" ", at-from) + "^"
}

// Report writes each mistake with its line below it.
func Report(w io.Writer, errs value.Errors) error {
	var b strings.Builder
	for _, e := range errs {
		one := clean(e.Error())
		if utf8.RuneCountInString(one) > width {
			short := *e
			short.Hint = ""
			one = wrap(clean(short.Error()))
			if e.Hint != "" {
				one += "\n" + wrap(indent+clean(e.Hint))
			}
		}
		b.WriteString(one + "\n")
		if e.Excerpt != "" {
			b.WriteString(e.Excerpt + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

const indent = "      "

// wrap breaks a line between words where the terminal ends.
func wrap(s string) string {
	var b strings.Builder
	column := 0
	for i, word := range strings.Split(s, " ") {
		n := utf8.RuneCountInString(word)
		switch {
		case i > 0 && column+1+n > width && column > len(indent):
			b.WriteString("\n" + indent)
			column = len(indent)
		case i > 0:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += n
	}
	return b.String()
}

// clean makes text fit for a terminal.
func clean(s string) string {
	return strings.Map(func(c rune) rune {
		if c == utf8.RuneError || !strconv.IsPrint(c) {
			return '.'
		}
		return c
	}, s)
}
