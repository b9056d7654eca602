package session

import "time"

// generations is a bounded map in two halves. Entries that are used move to the young half; when that is full or
// Lifetime has passed, the old half is dropped. So an entry lives for at least Lifetime after its last use unless the
// table is full, at most twice as long, and both halves keep their memory.
type generations[K comparable, V any] struct {
	young, old map[K]V
	born       time.Time
	half       int
}

func newGenerations[K comparable, V any](capacity int) generations[K, V] {
	return generations[K, V]{young: make(map[K]V), old: make(map[K]V), half: capacity / 2}
}

// turn drops what is too old at now.
func (g *generations[K, V]) turn(now time.Time) {
	if now.Sub(g.born) >= Lifetime || now.Before(g.born) {
		g.flip()
		g.born = now
	}
}

func (g *generations[K, V]) flip() {
	clear(g.old)
	g.young, g.old = g.old, g.young
}

func (g *generations[K, V]) get(k K) (V, bool) {
	if v, ok := g.young[k]; ok {
		return v, true
	}
	v, ok := g.old[k]
	return v, ok
}

func (g *generations[K, V]) put(k K, v V) {
	if _, ok := g.young[k]; !ok && len(g.young) >= g.half {
		g.flip()
	}
	delete(g.old, k)
	g.young[k] = v
}

func (g *generations[K, V]) drop(k K) {
	delete(g.young, k)
	delete(g.old, k)
}

func (g *generations[K, V]) len() int { return len(g.young) + len(g.old) }
