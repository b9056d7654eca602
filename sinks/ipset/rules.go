package ipset

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"syscall"

	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"
)

const (
	tableName = "rapsheet" // one of family ip, one of ip6: xt's set match knows no inet
	chainName = "prerouting"

	// Before connection tracking and its accepts: NF_IP_PRI_RAW of linux/netfilter_ipv4.h, -300 in 32 bits.
	priorityRaw = 1<<32 - 300
)

// Flags of a table (linux/netfilter/nf_tables.h, enum nft_table_flags). Owned, it can be changed by the socket that
// made it only; persistent, it outlives that socket (kernel 6.9 on). Owned alone it would vanish with the process.
const (
	tableOwner   = 1 << 1
	tablePersist = 1 << 2
	tableKept    = tableOwner | tablePersist
)

// A rule is one line of our chains.
type rule struct {
	name   string   // its comment, by which it is known again
	icmp   bool     // matches neighbour discovery; otherwise set
	set    uint16   // the kernel's index of the set of sources
	ports  []uint16 // only these, by TCP and UDP
	accept bool     // otherwise count and drop
	vouch  *Vouch   // none of the above, and of the output chain
}

func (r rule) chain() string {
	if r.vouch != nil {
		return outputName
	}
	return chainName
}

// The attributes and messages of linux/netfilter/nf_tables.h come from x/sys; an anonymous set of port numbers is an
// nft set of these flags and key types (nft's own numbers, which it shows them by).
const (
	anonymous = unix.NFT_SET_ANONYMOUS | unix.NFT_SET_CONSTANT
	typeProto = 12 // inet_proto
	typePort  = 13 // inet_service
	anyName   = "__set%d"
)

// install replaces all chains by the rules in one transaction: no packet meets a chain without its rules. What stands is
// adopted where the kernel lets us: after a death by kill -9 our table has no owner, and takes a new one. kept reports
// whether the tables outlive `nft flush ruleset`.
func (c *conn) install(rules map[family][]rule) (kept bool, err error) {
	ours, err := c.adopt()
	if err != nil {
		return false, err
	}
	// In order: kernel 6.9 and nothing there, or what we own; 6.9 and a table that an older kernel's rapsheet or an
	// admin made; an older kernel.
	for _, try := range []struct {
		flags uint32
		fresh bool
	}{{tableKept, false}, {tableKept, true}, {0, false}, {0, true}} {
		if try.flags == 0 && len(ours) > 0 {
			break // the kernel does know the flags: something else is wrong
		}
		var r request
		if err = tables(&r, rules, try.flags, try.fresh, ours); err != nil {
			return false, err
		}
		if err = c.commit(&r); err == nil {
			return try.flags == tableKept, nil
		}
		if errors.Is(err, unix.EPERM) {
			return false, ErrOwned
		}
	}
	return false, missing(err)
}

// adopt takes the tables that lost their owner, and returns which of them are ours now. In a transaction of its own: in
// the one that changes its owner the kernel gives a table no new chain (EINVAL).
func (c *conn) adopt() (ours map[family]bool, err error) {
	ours = map[family]bool{}
	for _, f := range families {
		var r request
		r.transaction()
		r.table(unix.NFT_MSG_NEWTABLE, 0, f, tableKept)
		r.conclude()
		switch err := c.commit(&r); {
		case err == nil:
			ours[f] = true
		case errors.Is(err, unix.EPERM):
			return nil, ErrOwned
		}
	}
	return ours, nil
}

// commit sends a transaction; it is taken whole or not at all.
func (c *conn) commit(r *request) (err error) {
	lost := c.send(r, func(_ int, code syscall.Errno) {
		if err == nil {
			err = code
		}
	})
	if err == nil {
		err = lost
	}
	return err
}

// nft starts a message to nf_tables inside a transaction.
func (r *request) nft(msg, flags uint16, f family) {
	r.begin(unix.NFNL_SUBSYS_NFTABLES<<8|msg, flags|unix.NLM_F_ACK, f, 0) // NFPROTO_IPV4 is AF_INET, NFPROTO_IPV6 is AF_INET6
}

func (r *request) transaction() { r.begin(unix.NFNL_MSG_BATCH_BEGIN, 0, 0, unix.NFNL_SUBSYS_NFTABLES) }
func (r *request) conclude()    { r.begin(unix.NFNL_MSG_BATCH_END, 0, 0, unix.NFNL_SUBSYS_NFTABLES) }

// tables appends the transaction that makes the tables hold these rules and no others. fresh deletes them first,
// whatever they were; ours says which of them have the flags of those we own.
func tables(r *request, rules map[family][]rule, flags uint32, fresh bool, ours map[family]bool) error {
	r.transaction()
	id := uint32(0)
	for _, f := range families {
		if fresh {
			was := uint32(0)
			if ours[f] {
				was = tableKept
			}
			r.table(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, f, was) // so that there is one to delete
			r.table(unix.NFT_MSG_DELTABLE, 0, f, 0)
		}
		r.table(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, f, flags)
		r.chain(f, chainName, unix.NF_INET_PRE_ROUTING, priorityRaw)
		r.chain(f, outputName, unix.NF_INET_LOCAL_OUT, priorityFilter)
		for _, line := range rules[f] {
			if err := r.rule(f, line, &id); err != nil {
				return err
			}
		}
		if !slices.ContainsFunc(rules[f], func(l rule) bool { return l.vouch != nil }) {
			r.nft(unix.NFT_MSG_DELCHAIN, 0, f)
			r.str(unix.NFTA_CHAIN_TABLE, tableName)
			r.str(unix.NFTA_CHAIN_NAME, outputName)
		}
	}
	r.conclude()
	return nil
}

// chain appends the making of a chain, or the emptying of the one that stands.
func (r *request) chain(f family, name string, hook, priority uint32) {
	r.nft(unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, f)
	r.str(unix.NFTA_CHAIN_TABLE, tableName)
	r.str(unix.NFTA_CHAIN_NAME, name)
	at := r.nest(unix.NFTA_CHAIN_HOOK)
	r.u32(unix.NFTA_HOOK_HOOKNUM, hook)
	r.u32(unix.NFTA_HOOK_PRIORITY, priority)
	r.close(at)
	r.u32(unix.NFTA_CHAIN_POLICY, 1) // NF_ACCEPT
	r.str(unix.NFTA_CHAIN_TYPE, "filter")
	r.nft(unix.NFT_MSG_DELRULE, 0, f)
	r.str(unix.NFTA_RULE_TABLE, tableName)
	r.str(unix.NFTA_RULE_CHAIN, name)
}

func (r *request) table(msg, how uint16, f family, flags uint32) {
	r.nft(msg, how, f)
	r.str(unix.NFTA_TABLE_NAME, tableName)
	if msg == unix.NFT_MSG_NEWTABLE {
		r.u32(unix.NFTA_TABLE_FLAGS, flags)
	}
}

// rule appends one line of its chain, with the anonymous sets it looks things up in.
func (r *request) rule(f family, line rule, id *uint32) error {
	var es []expr.Any
	if line.vouch != nil {
		es = r.vouch(f, line.vouch, id)
	} else {
		es = r.ban(f, line, id)
	}
	r.nft(unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_APPEND, f)
	r.str(unix.NFTA_RULE_TABLE, tableName)
	r.str(unix.NFTA_RULE_CHAIN, line.chain())
	list := r.nest(unix.NFTA_RULE_EXPRESSIONS)
	for _, e := range es {
		b, err := expr.Marshal(byte(f), e)
		if err != nil {
			return fmt.Errorf("rule %s: %w", line.name, err)
		}
		r.bytes(unix.NFTA_LIST_ELEM|unix.NLA_F_NESTED, b)
	}
	r.close(list)
	// A comment as nft writes it: type 0, length, text with its NUL.
	r.bytes(unix.NFTA_RULE_USERDATA, slices.Concat([]byte{0, byte(len(line.name) + 1)}, []byte(line.name), []byte{0}))
	return nil
}

// ban returns what a rule of the prerouting chain does, and appends the sets it looks ports up in.
func (r *request) ban(f family, line rule, id *uint32) (es []expr.Any) {
	if line.icmp {
		es = append(es,
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_ICMPV6}},
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1},
			// RFC 4861: router and neighbour solicitation and advertisement, redirect.
			&expr.Cmp{Op: expr.CmpOpGte, Register: 1, Data: []byte{133}},
			&expr.Cmp{Op: expr.CmpOpLte, Register: 1, Data: []byte{137}},
		)
	}
	if line.ports != nil {
		protos := r.numbers(f, id, typeProto, [][]byte{{unix.IPPROTO_TCP}, {unix.IPPROTO_UDP}})
		var keys [][]byte
		for _, p := range line.ports {
			keys = append(keys, binary.BigEndian.AppendUint16(nil, p))
		}
		ports := r.numbers(f, id, typePort, keys)
		es = append(es,
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
			&expr.Lookup{SourceRegister: 1, SetName: anyName, SetID: protos},
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}, // destination port
			&expr.Lookup{SourceRegister: 1, SetName: anyName, SetID: ports},
		)
	}
	if !line.icmp {
		// struct xt_set_info_match_v1 of linux/netfilter/xt_set.h: index, dimension, flags, padded to 8; flag 2 is
		// IPSET_DIM_ONE_SRC.
		info := xt.Unknown(append(binary.NativeEndian.AppendUint16(nil, line.set), 1, 2, 0, 0, 0, 0))
		es = append(es, &expr.Match{Name: "set", Rev: 1, Info: &info})
	}
	if line.accept {
		return append(es, &expr.Verdict{Kind: expr.VerdictAccept})
	}
	return append(es, &expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop})
}

// numbers appends an anonymous set, which lives as long as the rule that looks things up in it.
func (r *request) numbers(f family, id *uint32, typ uint32, keys [][]byte) uint32 {
	*id++
	r.nft(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, f)
	r.str(unix.NFTA_SET_TABLE, tableName)
	r.str(unix.NFTA_SET_NAME, anyName)
	r.u32(unix.NFTA_SET_FLAGS, anonymous)
	r.u32(unix.NFTA_SET_KEY_TYPE, typ)
	r.u32(unix.NFTA_SET_KEY_LEN, uint32(len(keys[0])))
	r.u32(unix.NFTA_SET_ID, *id)
	if typ == typeUID { // nft takes keys for network order unless told: type 0, length, 1 for the host's
		r.bytes(unix.NFTA_SET_USERDATA, binary.NativeEndian.AppendUint32([]byte{0, 4}, 1))
	}
	r.nft(unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE, f)
	r.str(unix.NFTA_SET_ELEM_LIST_TABLE, tableName)
	r.str(unix.NFTA_SET_ELEM_LIST_SET, anyName)
	r.u32(unix.NFTA_SET_ELEM_LIST_SET_ID, *id)
	list := r.nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS)
	for _, k := range keys {
		elem := r.nest(unix.NFTA_LIST_ELEM)
		key := r.nest(unix.NFTA_SET_ELEM_KEY)
		r.bytes(unix.NFTA_DATA_VALUE, k)
		r.close(key)
		r.close(elem)
	}
	r.close(list)
	return *id
}
