package ipset

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Whatever is put, put again, dropped and forgotten: the tallies say what counting every entry would.
func TestBookCounts(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		b := newBook(time.Now())
		now := b.clock()
		model := map[key]hold{}
		r.Repeat(map[string]func(*rapid.T){
			"put": func(r *rapid.T) {
				k, h := drawKey(r), hold{out: now + rapid.Uint32Range(1, 30).Draw(r, "timeout"), long: rapid.Uint32Range(0, 1).Draw(r, "long")}
				b.put(k, h)
				model[k] = h
			},
			"drop": func(r *rapid.T) {
				k := drawKey(r)
				b.drop(k)
				delete(model, k)
			},
			"wait": func(r *rapid.T) {
				now += rapid.Uint32Range(0, 15).Draw(r, "seconds")
				b.settle(now)
			},
			"keep": func(r *rapid.T) {
				gone := rapid.Uint16Range(0, 8).Draw(r, "set")
				b.keep(func(set uint16) bool { return set != gone })
				for k := range model {
					if k.set == gone {
						delete(model, k)
					}
				}
			},
			"": func(r *rapid.T) {
				all := 0
				for set := range uint16(3) {
					least, most := 0, 0
					for k, h := range model {
						if k.set == set && h.out >= b.at {
							if most++; h.out >= sure(now) {
								least++
							}
						}
					}
					if gotLeast, gotMost := b.between(set, now); gotLeast != least || gotMost != most {
						r.Fatalf("set %d: got %d to %d, want %d to %d", set, gotLeast, gotMost, least, most)
					}
					all += most
				}
				if b.live != all {
					r.Fatalf("all sets: got %d, want %d", b.live, all)
				}
				for k, h := range model {
					if got, ok := b.held[k]; got != h && (ok || h.out >= b.at) {
						r.Fatalf("%v: got %v, want %v", k, got, h)
					}
				}
			},
		})
	})
}

func drawKey(r *rapid.T) key {
	return key{bits: rapid.Uint8Range(0, 4).Draw(r, "bits"), set: rapid.Uint16Range(0, 2).Draw(r, "set")}
}

func TestBookLetsGo(t *testing.T) {
	b := newBook(time.Now())
	now := b.clock()
	const n = 10_000
	for i := range uint32(n) {
		k := key{set: 1}
		binary.BigEndian.PutUint32(k.addr[:], i)
		b.put(k, hold{out: now + 1 + i%5})
	}
	b.settle(now + 100)
	if len(b.held) != 0 || b.live != 0 || len(b.sets[1].due) != 0 {
		t.Errorf("all have ended: got %d entries, %d live, %d seconds", len(b.held), b.live, len(b.sets[1].due))
	}
}

func TestKey(t *testing.T) {
	f := func(in string) {
		t.Helper()
		p := netip.MustParsePrefix(in)
		if got := keyOf(&set{}, p).prefix(familyOf(p)); got != p {
			t.Errorf("key: got %s, want %s", got, p)
		}
	}
	f("192.0.2.1/32")
	f("198.51.100.0/24")
	f("2001:db8::/32")
	f("2001:db8::1/128")
}

func BenchmarkBook(b *testing.B) {
	b.ReportAllocs()
	book := newBook(time.Now())
	k := key{set: 1}
	for i := range b.N {
		binary.BigEndian.PutUint32(k.addr[:], uint32(i)%1_000_000)
		book.put(k, hold{out: 1000 + uint32(i)%1000})
	}
}
