package ipset

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// A Vouch is a rule that says of TCP connections to Addr from this host, at their SYN, that the account which opens them
// is one of UIDs: it writes Mark into the SYN's urgent pointer, where nobody without the right to raw packets can write.
// It lets nothing in and keeps nothing out. An unspecified address is all of both families.
type Vouch struct {
	Name string // shown in the rule's comment
	Addr netip.AddrPort
	UIDs []uint32
	Mark uint16
}

const (
	outputName = "output"
	// After destination NAT, so that the rule sees where the packet goes: NF_IP_PRI_FILTER of linux/netfilter_ipv4.h.
	priorityFilter = 0
	// linux/net/flow.h: the same in every namespace.
	loopbackIndex = 1
	typeUID       = 24 // uid, as typeProto
	// The longest comment that nft itself would write is 128 bytes.
	longestComment = 100
)

// vouchRules lists the rules of one family's output chain.
func vouchRules(vouches []Vouch, f family) (list []rule) {
	for i := range vouches {
		v := &vouches[i]
		if a := v.Addr.Addr(); a.IsUnspecified() || a.Unmap().Is4() == (f == v4) {
			name := "vouch for " + v.Name
			list = append(list, rule{name: name[:min(len(name), longestComment)], vouch: v})
		}
	}
	return list
}

// vouch returns what the rule does, and appends the set of accounts it looks in.
func (r *request) vouch(f family, v *Vouch, id *uint32) []expr.Any {
	load := func(base expr.PayloadBase, at, n uint32) *expr.Payload {
		return &expr.Payload{DestRegister: 1, Base: base, Offset: at, Len: n}
	}
	equal := func(b []byte) *expr.Cmp { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: b} }
	var keys [][]byte
	for _, uid := range v.UIDs {
		keys = append(keys, binary.NativeEndian.AppendUint32(nil, uid))
	}
	uids := r.numbers(f, id, typeUID, keys)
	es := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyOIF, Register: 1}, equal(binary.NativeEndian.AppendUint32(nil, loopbackIndex)),
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, equal([]byte{unix.IPPROTO_TCP}),
	}
	if a := v.Addr.Addr().Unmap(); !a.IsUnspecified() {
		at := uint32(16) // RFC 791
		if f == v6 {
			at = 24 // RFC 8200
		}
		es = append(es, load(expr.PayloadBaseNetworkHeader, at, uint32(a.BitLen()/8)), equal(a.AsSlice()))
	}
	const syn, ack = 0x02, 0x10 // RFC 9293, 3.1
	return append(es,
		load(expr.PayloadBaseTransportHeader, 2, 2), equal(binary.BigEndian.AppendUint16(nil, v.Addr.Port())),
		load(expr.PayloadBaseTransportHeader, 13, 1),
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{syn | ack}, Xor: []byte{0}}, equal([]byte{syn}),
		&expr.Meta{Key: expr.MetaKeySKUID, Register: 1},
		&expr.Lookup{SourceRegister: 1, SetName: anyName, SetID: uids},
		&expr.Immediate{Register: 1, Data: binary.BigEndian.AppendUint16(nil, v.Mark)},
		&expr.Payload{OperationType: expr.PayloadWrite, SourceRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 18, Len: 2,
			CsumType: expr.CsumTypeInet, CsumOffset: 16},
	)
}

// sameAccounts reports whether rules of this network namespace count accounts as we do: by the user namespace that the
// network namespace belongs to. Where that is another one, its 0 is not our root.
func sameAccounts() error {
	network, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer network.Close()
	var own, owner unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/user", &own); errors.Is(err, fs.ErrNotExist) {
		return nil // a kernel without user namespaces
	} else if err != nil {
		return err
	}
	fd, err := unix.IoctlRetInt(int(network.Fd()), unix.NS_GET_USERNS)
	if err != nil {
		return fmt.Errorf("owner of the network namespace: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Fstat(fd, &owner); err != nil {
		return err
	}
	if own.Dev != owner.Dev || own.Ino != owner.Ino {
		return errors.New("the network namespace belongs to another user namespace")
	}
	return nil
}
