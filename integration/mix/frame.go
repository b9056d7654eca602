package mix

import (
	"bufio"
	"io"
	"strconv"
)

// WriteFrames writes the lines to w as syslog over TCP frames them: each with its length before it (RFC 6587, 3.4.1)
// where octet is true, else with an LF behind it (3.4.2).
func WriteFrames(w io.Writer, lines [][]byte, octet bool) error {
	b := bufio.NewWriterSize(w, 1<<16)
	var count [20]byte
	for _, l := range lines {
		if octet {
			b.Write(append(strconv.AppendInt(count[:0], int64(len(l)), 10), ' '))
		}
		b.Write(l)
		if !octet {
			b.WriteByte('\n')
		}
	}
	return b.Flush()
}
