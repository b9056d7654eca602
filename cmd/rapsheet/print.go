package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"
)

// printJSON prints v, indented.
func (c *cli) printJSON(v any) error { return encodeJSON(c.stdout, v, "  ") }

// encodeJSON writes v as one line, or indented. JSON may hold every character above 0x1f as it is; those that steer a
// terminal or turn the direction of writing are escaped all the same, for people look at JSON too.
func encodeJSON(w io.Writer, v any, indent string) error {
	var raw bytes.Buffer
	e := json.NewEncoder(&raw)
	e.SetIndent("", indent)
	if err := e.Encode(v); err != nil {
		return err
	}
	var out bytes.Buffer
	for b := raw.Bytes(); len(b) > 0; {
		r, n := utf8.DecodeRune(b)
		switch {
		case r == '\n' || r < utf8.RuneSelf && r != 0x7f || strconv.IsPrint(r):
			out.Write(b[:n])
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&out, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(&out, `\u%04x`, r)
		}
		b = b[n:]
	}
	_, err := w.Write(out.Bytes())
	return err
}
