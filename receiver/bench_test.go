package receiver

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/rapsheet/rapsheet/configs/value"
	"github.com/rapsheet/rapsheet/pipeline/event"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

const benchLine = "<38>Oct 11 22:14:15 srv sshd[12345]: Failed password for invalid user admin from 198.51.100.66 port 49694 ssh2"

// counted runs a receiver whose messages are only counted. stop ends it and returns its counters.
func counted(b *testing.B, cfg Config) (addr string, stop func() Stats) {
	b.Helper()
	rc, err := Listen([]Config{cfg}, zerolog.Nop())
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	out := make(chan *event.Batch)
	ended := make(chan struct{})
	go rc.Run(ctx, out)
	go func() {
		defer close(ended)
		for m := range out {
			m.Done(m)
		}
	}()
	return rc.Addrs()[0].String(), func() Stats {
		cancel()
		<-ended
		return rc.Stats()[0]
	}
}

// BenchmarkTCP is one message, sender included, by one connection: ours, and a reader that counts line ends.
func BenchmarkTCP(b *testing.B) {
	chunk := []byte(strings.Repeat(benchLine+"\n", 1000))
	octets := []byte(strings.Repeat(fmt.Sprintf("%d %s", len(benchLine), benchLine), 1000))
	blast := func(b *testing.B, addr string, chunk []byte) {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			b.Fatal(err)
		}
		for left := b.N; left > 0; left -= 1000 {
			n := min(left, 1000)
			if _, err := c.Write(chunk[:n*len(chunk)/1000]); err != nil {
				b.Fatal(err)
			}
		}
		c.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, c) // until the other side is done with it
		c.Close()
	}
	ours := func(chunk []byte) func(b *testing.B) {
		return func(b *testing.B) {
			addr, stop := counted(b, tcpConfig())
			b.SetBytes(int64(len(chunk) / 1000))
			b.ReportAllocs()
			b.ResetTimer()
			blast(b, addr, chunk)
			b.StopTimer()
			if s := stop(); s.Processed != uint64(b.N) {
				b.Fatalf("got %d messages, want %d", s.Processed, b.N)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		}
	}
	b.Run("lines", ours(chunk))
	b.Run("counted", ours(octets))
	b.Run("bare", func(b *testing.B) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		defer ln.Close()
		got := 0
		go func() {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			r := bufio.NewReaderSize(c, 65536)
			for {
				if _, err := r.ReadSlice('\n'); err != nil {
					break
				}
				got++
			}
			c.Close()
		}()
		b.SetBytes(int64(len(chunk) / 1000))
		b.ReportAllocs()
		b.ResetTimer()
		blast(b, ln.Addr().String(), chunk)
		b.StopTimer()
		if got != b.N {
			b.Fatalf("got %d messages, want %d", got, b.N)
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	})
}

// BenchmarkUDP is the CPU time of one datagram, sender not included, flat out and at two paces: ours, and a reader that
// calls recvmmsg and counts.
func BenchmarkUDP(b *testing.B) {
	for _, pace := range []int{0, 100_000, 10_000} {
		name := fmt.Sprintf("%dps", pace)
		if pace == 0 {
			name = "flat out"
		}
		b.Run("ours/"+name, func(b *testing.B) {
			addr, stop := counted(b, udpConfig())
			cpu := blastUDP(b, addr, pace)
			s := stop()
			report(b, cpu, s.Processed, s.Dropped[DroppedKernel]+s.Dropped[DroppedFull])
		})
		b.Run("bare/"+name, func(b *testing.B) {
			u, err := bindUDP(&Config{UDP: text("127.0.0.1:0"), Buffer: value.Size{Bytes: defaultBuffer}})
			if err != nil {
				b.Fatal(err)
			}
			got := make(chan uint64)
			go func() { got <- bareReader(u) }()
			cpu := blastUDP(b, u.LocalAddr().String(), pace)
			u.SetReadDeadline(time.Now())
			n := <-got
			raw, _ := u.SyscallConn()
			var lost uint32
			raw.Control(func(fd uintptr) { lost, _ = drops(int(fd)) })
			u.Close()
			report(b, cpu, n, uint64(lost))
		})
	}
}

func report(b *testing.B, cpu time.Duration, got, lost uint64) {
	if got+lost < uint64(b.N) {
		b.Fatalf("got %d messages and %d losses, want %d", got, lost, b.N)
	}
	b.ReportMetric(float64(cpu.Nanoseconds())/float64(got), "cpu-ns/msg")
	b.ReportMetric(100*float64(lost)/float64(b.N), "lost-%")
}

// blastUDP has another process send b.N datagrams, and returns the CPU time that this one used meanwhile.
func blastUDP(b *testing.B, addr string, pace int) time.Duration {
	b.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), fmt.Sprintf("RECEIVER_TEST_BLAST=%s %d %d", addr, b.N, pace))
	cmd.Stderr = os.Stderr
	b.SetBytes(int64(len(benchLine)))
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime()
	if err := cmd.Run(); err != nil {
		b.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond) // what is still queued, is taken by then
	cpu := cpuTime() - before
	b.StopTimer()
	return cpu
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func slots(n, size int) ([]mmsghdr, []byte) {
	heads, iovs, buf := make([]mmsghdr, n), make([]unix.Iovec, n), make([]byte, n*size)
	for i := range heads {
		iovs[i].Base = &buf[i*size]
		iovs[i].SetLen(size)
		heads[i].hdr.Iov, heads[i].hdr.Iovlen = &iovs[i], 1
	}
	return heads, buf
}

func bareReader(u *net.UDPConn) uint64 {
	raw, err := u.SyscallConn()
	if err != nil {
		return 0
	}
	heads, _ := slots(64, 8192)
	names := make([]unix.RawSockaddrInet6, len(heads))
	for i := range heads {
		heads[i].hdr.Name = (*byte)(unsafe.Pointer(&names[i]))
		heads[i].hdr.Namelen = unix.SizeofSockaddrInet6
	}
	var total uint64
	read := func(fd uintptr) bool {
		n, _, errno := syscall.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&heads[0])), uintptr(len(heads)), unix.MSG_DONTWAIT, 0, 0)
		if errno != 0 {
			return false
		}
		total += uint64(n)
		return true
	}
	for raw.Read(read) == nil {
	}
	return total
}

// blaster is what a benchmark's other process does.
func blaster(spec string) error {
	var addr string
	var count, pace int
	if _, err := fmt.Sscan(spec, &addr, &count, &pace); err != nil {
		return err
	}
	c, err := net.Dial("udp", addr)
	if err != nil {
		return err
	}
	raw, err := c.(*net.UDPConn).SyscallConn()
	if err != nil {
		return err
	}
	heads, buf := slots(64, len(benchLine))
	for i := range heads {
		copy(buf[i*len(benchLine):], benchLine)
	}
	burst := len(heads)
	if pace > 0 {
		burst = min(burst, max(1, pace/5000))
	}
	begin := time.Now()
	for sent := 0; sent < count; {
		n := min(burst, count-sent)
		raw.Write(func(fd uintptr) bool {
			r, _, errno := syscall.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&heads[0])), uintptr(n), 0, 0, 0)
			if errno == 0 {
				sent += int(r)
			}
			return errno != syscall.EAGAIN
		})
		if pace > 0 {
			time.Sleep(time.Until(begin.Add(time.Duration(sent) * time.Second / time.Duration(pace))))
		}
	}
	return nil
}
