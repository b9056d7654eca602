package score

import (
	"cmp"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/rapsheet/rapsheet/pipeline/event"
)

// A stamp is one counted event. Times are Unix milliseconds throughout a record.
type stamp struct {
	at     int64
	user   uint32 // FNV-1a of the user name
	sender uint16 // FNV-1a of listener and address, folded; the lowest bit says trusted
	weight uint16
}

const trustedBit = 1

func (s stamp) trusted() bool { return s.sender&trustedBit != 0 }

// strikesKept bounds the ladder: what comes after the 32nd ban is like the 32nd.
const strikesKept = 32

// A record is what is remembered of one offender in one jail. It is bounded, whatever an attacker sends: the newest
// stamps up to the jail's largest maxretry, trusted and untrusted apart, so that forged messages never push true ones
// out.
type record struct {
	stamps  []stamp // ascending by at
	fired   [event.MaxTiers]int64
	mark    int64   // events up to it score no more: a lift
	from    int64   // the newest ban runs from here
	until   int64   // to here
	strikes []int64 // when bans began, ascending
	total   uint32  // events ever, scored or not; numbers the evidence lines

	dirty bool
	used  bool // since the last sweep
}

// add inserts s in order of time. It keeps, of trusted and untrusted stamps each, the newest retry ones, and of those
// before them the newest of each user up to users: who tries one name often does not hide the others he tried.
func (r *record) add(s stamp, retry, users int) {
	i := len(r.stamps)
	for i > 0 && r.stamps[i-1].at > s.at {
		i--
	}
	r.stamps = slices.Insert(r.stamps, i, s)
	n, oldest := 0, -1
	for i := range r.stamps {
		if r.stamps[i].trusted() == s.trusted() {
			if n == 0 {
				oldest = i
			}
			n++
		}
	}
	if n <= retry+users {
		return
	}
	drop := oldest
	for i, older := oldest, n-retry; users > 0 && older > 0; i++ {
		if r.stamps[i].trusted() != s.trusted() {
			continue
		}
		older--
		if slices.ContainsFunc(r.stamps[i+1:], func(o stamp) bool { return o.user == r.stamps[i].user && o.trusted() == s.trusted() }) {
			drop = i
			break
		}
	}
	r.stamps = slices.Delete(r.stamps, drop, drop+1)
}

// window is the stamps in (after, to].
func (r *record) window(after, to int64) []stamp {
	i, _ := slices.BinarySearchFunc(r.stamps, after+1, func(s stamp, t int64) int { return cmp.Compare(s.at, t) })
	j := len(r.stamps)
	for j > i && r.stamps[j-1].at > to {
		j--
	}
	return r.stamps[i:j]
}

// sums adds up the weights in (after, to], all of them and the trusted ones.
func (r *record) sums(after, to int64) (all, trusted uint32) {
	for _, s := range r.window(after, to) {
		all += uint32(s.weight)
		if s.trusted() {
			trusted += uint32(s.weight)
		}
	}
	return all, trusted
}

// users counts the distinct user names in (after, to].
func (r *record) users(after, to int64) (all, trusted uint32) {
	w := r.window(after, to)
	for i, s := range w {
		same := func(o stamp) bool { return o.user == s.user }
		if !slices.ContainsFunc(w[:i], same) {
			all++
		}
		if s.trusted() && !slices.ContainsFunc(w[:i], func(o stamp) bool { return same(o) && o.trusted() }) {
			trusted++
		}
	}
	return all, trusted
}

// struck counts the bans that began in (after, to].
func (r *record) struck(after, to int64) int {
	n := 0
	for _, at := range r.strikes {
		if at > after && at <= to {
			n++
		}
	}
	return n
}

// forgive removes the stamps of a user at a sender in (after, to], and reports whether there were any.
func (r *record) forgive(user uint32, sender uint16, after, to int64) bool {
	n := len(r.stamps)
	r.stamps = slices.DeleteFunc(r.stamps, func(s stamp) bool {
		return s.user == user && s.sender == sender && s.at > after && s.at <= to
	})
	return len(r.stamps) < n
}

// banned notes that a ban runs over [from, until).
func (r *record) banned(from, until time.Time, strike bool) {
	r.from, r.until = from.UnixMilli(), until.UnixMilli()
	if strike {
		if len(r.strikes) == strikesKept {
			r.strikes = slices.Delete(r.strikes, 0, 1)
		}
		r.strikes = append(r.strikes, r.from)
		slices.Sort(r.strikes)
	}
}

// lifted takes the running ban back: what led to it scores no more and it is no strike.
func (r *record) lifted(at time.Time, running bool) {
	r.mark = max(r.mark, at.UnixMilli())
	r.stamps = slices.DeleteFunc(r.stamps, func(s stamp) bool { return s.at <= r.mark })
	if running && len(r.strikes) > 0 && r.strikes[len(r.strikes)-1] == r.from {
		r.strikes = r.strikes[:len(r.strikes)-1]
	}
	r.until = min(r.until, r.mark)
}

// The layout on disk: a version, then varints. Stamps and strikes are differences to the one before, the first to the
// newest of the fixed times, so that a record of three failures takes about 40 bytes.
const recordVersion = 1

var errRecord = errors.New("score: record is damaged")

// appendTo appends the record's disk form to b.
func (r *record) appendTo(b []byte) []byte {
	b = append(b, recordVersion)
	b = binary.AppendUvarint(b, uint64(r.total))
	for _, v := range [...]int64{r.mark, r.from, r.until} {
		b = binary.AppendVarint(b, v)
	}
	for _, v := range r.fired {
		b = binary.AppendVarint(b, v)
	}
	b = binary.AppendUvarint(b, uint64(len(r.strikes)))
	last := int64(0)
	for _, v := range r.strikes {
		b = binary.AppendVarint(b, v-last)
		last = v
	}
	b = binary.AppendUvarint(b, uint64(len(r.stamps)))
	last = 0
	for _, s := range r.stamps {
		b = binary.AppendVarint(b, s.at-last)
		last = s.at
		b = binary.LittleEndian.AppendUint32(b, s.user)
		b = binary.LittleEndian.AppendUint16(b, s.sender)
		b = binary.AppendUvarint(b, uint64(s.weight))
	}
	return b
}

// maxStamps is more than any jail keeps: configs allows a maxretry of 1000.
const maxStamps = 4096

// read fills an empty record from its disk form.
func (r *record) read(b []byte) error {
	d := decoder{b: b}
	if d.byte() != recordVersion {
		return errRecord
	}
	r.total = uint32(d.uvarint())
	r.mark, r.from, r.until = d.varint(), d.varint(), d.varint()
	for i := range r.fired {
		r.fired[i] = d.varint()
	}
	last := int64(0)
	for range d.count(strikesKept) {
		last += d.varint()
		r.strikes = append(r.strikes, last)
	}
	n := d.count(maxStamps)
	r.stamps = make([]stamp, 0, n+1)
	last = 0
	for range n {
		last += d.varint()
		r.stamps = append(r.stamps, stamp{at: last, user: d.uint32(), sender: d.uint16(), weight: uint16(d.uvarint())})
	}
	if d.bad || len(d.b) != 0 {
		return errRecord
	}
	return nil
}

// A decoder reads fields off a byte slice; once it has met the end, it returns zeros and is bad.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n int) []byte {
	if n > len(d.b) {
		d.bad, d.b = true, nil
		return make([]byte, n)
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) byte() byte     { return d.take(1)[0] }
func (d *decoder) uint16() uint16 { return binary.LittleEndian.Uint16(d.take(2)) }
func (d *decoder) uint32() uint32 { return binary.LittleEndian.Uint32(d.take(4)) }

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	d.skip(n)
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	d.skip(n)
	return v
}

func (d *decoder) skip(n int) {
	if n <= 0 {
		d.bad, d.b = true, nil
		return
	}
	d.b = d.b[n:]
}

// count reads a length that is at most most.
func (d *decoder) count(most int) int {
	n := d.uvarint()
	if n > uint64(most) {
		d.bad, d.b = true, nil
		return 0
	}
	return int(n)
}
