package receiver

import (
	"bufio"
	"encoding/binary"
	"time"

	"gopkg.in/mcuadros/go-syslog.v2/format"
)

// A block is what ReadFrom makes of many datagrams: records one behind the other, and a last byte that go-syslog does not
// trim (it takes everything below 32 off the end). A record is the payload's length (4 bytes), the sender's number in the
// roster (2), the flaw (1), a zero, and the payload.
const (
	recordHead = 8
	blockEnd   = ' '
)

// pack appends a record to block, and reports false when block's capacity has no room for it and for the end.
func pack(block, payload []byte, from uint16, why flaw) ([]byte, bool) {
	if len(block)+recordHead+len(payload)+1 > cap(block) {
		return block, false
	}
	block = binary.NativeEndian.AppendUint32(block, uint32(len(payload)))
	block = binary.NativeEndian.AppendUint16(block, from)
	block = append(block, byte(why), 0)
	return append(block, payload...), true
}

// unpack returns the first record of block and what is behind it; ok is false at the end, and where block is none of pack's.
func unpack(block []byte) (payload []byte, from uint16, why flaw, rest []byte, ok bool) {
	if len(block) < recordHead+1 {
		return nil, 0, 0, nil, false
	}
	n := uint64(binary.NativeEndian.Uint32(block))
	if n > uint64(len(block)-recordHead-1) {
		return nil, 0, 0, nil, false
	}
	end := recordHead + int(n)
	return block[recordHead:end], binary.NativeEndian.Uint16(block[4:]), flaw(block[6]), block[end:], true
}

// A sorter is the datagram format of a Server, and its Handler: it takes blocks apart. go-syslog has one goroutine for that.
type sorter struct {
	*listener
	block []byte
	parts format.LogParts
}

func newSorter(l *listener) *sorter {
	s := &sorter{listener: l}
	s.parts = format.LogParts{"hostname": "-", partsKey: s}
	return s
}

// GetSplitFunc returns none: a block is a token.
func (s *sorter) GetSplitFunc() bufio.SplitFunc { return nil }

// GetParser keeps the block for Handle, which comes before go-syslog uses its memory again.
func (s *sorter) GetParser(block []byte) format.LogParser {
	s.block = block
	return s
}

// Parse, Dump and Location make the sorter the LogParser of its block.
func (s *sorter) Parse() error            { return nil }
func (s *sorter) Dump() format.LogParts   { return s.parts }
func (s *sorter) Location(*time.Location) {}

// Handle hands the block's messages to the pipeline.
func (s *sorter) Handle(format.LogParts, int64, error) {
	defer s.recover()
	now := time.Now()
	var t tally
	last := uint16(maxSenders + 1)
	from := s.roster.sender(last)
	s.feed.begin()
	defer s.feed.end()
	payload, n, why, rest, ok := unpack(s.block)
	for ; ok; payload, n, why, rest, ok = unpack(rest) {
		if n != last {
			if from != nil {
				t.book(from, now)
			}
			from, last = s.roster.sender(n), n
		}
		if from == nil {
			continue
		}
		kept := s.feed.add(payload, from, why != whole)
		t.add(len(payload), why, kept)
	}
	if from != nil {
		t.book(from, now)
	}
	s.block = nil
}
