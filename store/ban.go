package store

import (
	"encoding/binary"
	"net/netip"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

const banVersion = 1

// The bits of a ban's flags.
const (
	banLifted = 1 << iota
	banObserved
	banPorts
)

// appendBan appends the ban's form on disk. It is whole: the log has no other place for prefix and jail.
func appendBan(b []byte, n *event.Ban) []byte {
	var flags byte
	if n.Lifted {
		flags |= banLifted
	}
	if n.Observed {
		flags |= banObserved
	}
	if n.Ports {
		flags |= banPorts
	}
	b = append(b, banVersion, flags)
	b = append(appendAddr(b, n.Prefix.Addr()), byte(n.Prefix.Bits()))
	b = binary.AppendUvarint(b, n.Seq)
	b = appendTime(appendTime(appendTime(b, n.At), n.Issued), n.Until)
	b = binary.AppendVarint(b, int64(n.Strike))
	b = binary.AppendUvarint(b, uint64(n.Score))
	for _, s := range [...]string{n.Jail, n.Reason, n.Origin, n.By, n.Sender} {
		b = appendBytes(b, cut(s, maxText))
	}
	return b
}

func readBan(b []byte) (n event.Ban, err error) {
	d := decoder{b: b}
	if d.byte() != banVersion {
		return n, errValue
	}
	flags := d.byte()
	n.Lifted, n.Observed, n.Ports = flags&banLifted != 0, flags&banObserved != 0, flags&banPorts != 0
	a := d.addr()
	n.Prefix = netip.PrefixFrom(a, int(d.byte()))
	n.Seq = d.uvarint()
	n.At, n.Issued, n.Until = d.time(), d.time(), d.time()
	n.Strike, n.Score = int(d.varint()), uint32(d.uvarint())
	for _, s := range [...]*string{&n.Jail, &n.Reason, &n.Origin, &n.By, &n.Sender} {
		*s = d.string()
	}
	if err := d.err(); err != nil || !keyable(n.Jail, n.Prefix) {
		return event.Ban{}, errValue
	}
	return n, nil
}

// maxText bounds every text of a ban: they are ours or an operator's, but come over the API.
const maxText = 512

// cut shortens s to at most n bytes.
func cut[T string | []byte](s T, n int) T { return s[:min(len(s), n)] }
