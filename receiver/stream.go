package receiver

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"github.com/rapsheet/rapsheet/pipeline/event"
	"golang.org/x/sys/unix"
	"gopkg.in/mcuadros/go-syslog.v2/format"
)

// The frames of one token, at most. More stay in the Scanner for the next one, which it asks for before it reads.
const runFrames = 1024

// Bytes read ahead in one call, into a buffer that is held only until they are taken. go-syslog's Scanner reads into 4 KiB,
// a system call for every 40 messages: 5.0 million messages/s against 8.1 million with this.
const aheadBytes = 64 << 10

var (
	runs   = sync.Pool{New: func() any { return new([runFrames]frame) }}
	aheads = sync.Pool{New: func() any { return new([aheadBytes]byte) }}
)

// A stream is one TCP connection: what go-syslog reads from, what frames it, and the LogParser of what was framed. All but
// Close is called by the one goroutine that go-syslog has for the connection.
type stream struct {
	*net.TCPConn
	l     *listener
	from  *event.Sender
	raw   syscall.RawConn
	ready func(fd uintptr) bool

	framer framer
	id     uint64
	ticket [8]byte // the token in place of a run of frames: go-syslog copies a token twice, and these bytes only stand for it
	run    *[runFrames]frame
	frames int
	data   []byte // what the frames lie in: the Scanner's buffer, which stays as it is until the next Scan

	ahead     *[aheadBytes]byte // nil unless bytes wait in it
	at, until int
	iov       [2]unix.Iovec
	got       int
	errno     syscall.Errno

	parts format.LogParts
	once  sync.Once
}

func newStream(c *net.TCPConn, l *listener, from *event.Sender, id uint64) (*stream, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &stream{TCPConn: c, l: l, from: from, raw: raw, id: id, framer: framer{max: int(l.cfg.MaxLine.Bytes)}}
	s.ready = s.readv
	s.parts = format.LogParts{"hostname": "-", partsKey: s} // an empty hostname go-syslog would look for
	binary.NativeEndian.PutUint64(s.ticket[:], id)
	return s, nil
}

// Read gives what was read ahead, or reads.
func (s *stream) Read(p []byte) (int, error) {
	if s.ahead != nil {
		n := copy(p, s.ahead[s.at:s.until])
		if s.at += n; s.at == s.until {
			aheads.Put(s.ahead)
			s.ahead = nil
		}
		return n, nil
	}
	if len(p) == 0 {
		return 0, nil
	}
	s.iov[0].Base = &p[0]
	s.iov[0].SetLen(len(p))
	err := s.raw.Read(s.ready)
	s.iov[0].Base = nil
	switch {
	case err != nil:
		return 0, err
	case s.errno != 0:
		return 0, os.NewSyscallError("readv", s.errno)
	case s.got == 0:
		return 0, io.EOF
	}
	return min(s.got, len(p)), nil
}

// readv fills p and what lies ahead in one call, and reports false where there is nothing yet.
func (s *stream) readv(fd uintptr) bool {
	ahead := aheads.Get().(*[aheadBytes]byte)
	s.iov[1].Base = &ahead[0]
	s.iov[1].SetLen(len(ahead))
	n, _, errno := syscall.Syscall(syscall.SYS_READV, fd, uintptr(unsafe.Pointer(&s.iov)), 2)
	for errno == syscall.EINTR {
		n, _, errno = syscall.Syscall(syscall.SYS_READV, fd, uintptr(unsafe.Pointer(&s.iov)), 2)
	}
	s.iov[1].Base = nil
	s.got, s.errno = int(n), errno
	if errno != 0 {
		s.got = 0
	}
	if first := int(s.iov[0].Len); s.got > first {
		s.ahead, s.at, s.until = ahead, 0, s.got-first
	} else {
		aheads.Put(ahead)
	}
	return errno != syscall.EAGAIN
}

// Close ends the connection. go-syslog calls it once, when it has handled what the connection brought.
func (s *stream) Close() error {
	err := s.TCPConn.Close()
	s.once.Do(func() { s.l.roll.leave(s.id) })
	return err
}

// split is the Scanner's SplitFunc: the longest run of complete frames is one token. It never declines whole frames to get
// more of them, for that would wait for traffic.
func (s *stream) split(data []byte, eof bool) (n int, token []byte, err error) {
	defer func() {
		if e := recover(); e != nil {
			s.l.panicked(e)
			n, token, err = 0, nil, errBroken
		}
	}()
	if s.run == nil {
		s.run = runs.Get().(*[runFrames]frame)
	}
	s.frames, s.data = 0, data
	soon := s.ahead != nil
	for s.frames < runFrames {
		k, f, ok, e := s.framer.next(data[n:], eof, soon)
		if e != nil {
			err = e
		}
		if ok {
			f.at, f.end = f.at+int32(n), f.end+int32(n)
			s.run[s.frames] = f
			s.frames++
		}
		n += k
		if !ok {
			break
		}
	}
	if k := s.framer.lies; k > 0 {
		s.from.Malformed.Add(uint64(k))
		s.framer.lies = 0
	}
	if s.frames > 0 {
		return n, s.ticket[:], nil // the framer says its error again
	}
	runs.Put(s.run)
	s.run = nil
	if err != nil {
		s.l.log.Warn().Str("listener", s.l.cfg.Name.S).Stringer("sender", s.from.Addr).Err(err).Msg("connection closed")
	}
	return n, nil, err
}

// Parse, Dump and Location make the stream the LogParser of its token.
func (s *stream) Parse() error            { return nil }
func (s *stream) Dump() format.LogParts   { return s.parts }
func (s *stream) Location(*time.Location) {}

// deliver hands the frames of the last token to the pipeline.
func (s *stream) deliver() {
	if s.run == nil {
		return
	}
	var t tally
	f := s.l.feed
	f.begin()
	defer f.end()
	for _, fr := range s.run[:s.frames] {
		kept := f.add(s.data[fr.at:fr.end], s.from, fr.flaw != whole)
		t.add(int(fr.end-fr.at), fr.flaw, kept)
	}
	t.book(s.from, time.Now())
	runs.Put(s.run)
	s.run, s.data, s.frames = nil, nil, 0
}

var errBroken = errors.New("framing broke")
