package receiver

import (
	"bytes"
	"testing"
)

func TestPackFull(t *testing.T) {
	block := make([]byte, 0, 30)
	block, ok := pack(block, []byte("0123456789"), 7, whole)
	if !ok {
		t.Fatal("no room for the first")
	}
	if _, ok = pack(block, []byte("012"), 7, whole); !ok {
		t.Error("no room for what fits exactly")
	}
	if _, ok = pack(block, []byte("0123"), 7, whole); ok {
		t.Error("room for more than fits")
	}
}

// What is packed comes out again; what is no block does no harm.
func FuzzBlock(f *testing.F) {
	f.Add([]byte("hello world"), uint16(3), byte(1))
	f.Add([]byte{255, 255, 255, 255, 0, 0, 0, 0, 0}, uint16(0), byte(0))
	f.Fuzz(func(t *testing.T, data []byte, from uint16, why byte) {
		n := 0
		for payload, _, _, rest, ok := unpack(data); ok; payload, _, _, rest, ok = unpack(rest) {
			if n += recordHead + len(payload); n >= len(data) {
				t.Fatalf("read %d bytes of %d", n, len(data))
			}
		}
		block := make([]byte, 0, len(data)+4*recordHead+1)
		var parts [][]byte
		for i := range 3 {
			part := data[i*len(data)/3 : (i+1)*len(data)/3]
			var ok bool
			if block, ok = pack(block, part, from+uint16(i), flaw(why)); !ok {
				t.Fatal("no room")
			}
			parts = append(parts, part)
		}
		block = append(block, blockEnd)
		for i, want := range parts {
			got, who, w, rest, ok := unpack(block)
			if !ok || !bytes.Equal(got, want) || who != from+uint16(i) || w != flaw(why) {
				t.Fatalf("part %d: got %q %d %d %v", i, got, who, w, ok)
			}
			block = rest
		}
		if _, _, _, _, ok := unpack(block); ok {
			t.Fatal("more came out than went in")
		}
	})
}
