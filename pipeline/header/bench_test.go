package header

import (
	"testing"

	"github.com/rapsheet/rapsheet/integration/mix"
	"github.com/rapsheet/rapsheet/pipeline/event"
)

func BenchmarkParse(b *testing.B) {
	f := func(name string, lines [][]byte) {
		b.Run(name, func(b *testing.B) {
			size := 0
			for _, l := range lines {
				size += len(l)
			}
			var m event.Message
			b.SetBytes(int64(size / len(lines)))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				m.Raw = lines[i%len(lines)]
				Parse(&m)
			}
		})
	}
	f("quiet/3164", mix.Lines(mix.Quiet, 10000, mix.RFC3164, 1))
	f("quiet/5424", mix.Lines(mix.Quiet, 10000, mix.RFC5424, 1))
	f("auth/3164", mix.Lines(mix.Auth, 10000, mix.RFC3164, 1))
	f("auth/5424", mix.Lines(mix.Auth, 10000, mix.RFC5424, 1))
	var lines [][]byte
	for _, c := range captures(b) {
		lines = append(lines, []byte(c.Raw))
	}
	f("captures", lines)
}
