package verdict

// ends is a heap of the running bans, the one that ends first on top.
type ends []*entry

func (h ends) Len() int           { return len(h) }
func (h ends) Less(i, j int) bool { return h[i].Until.Before(h[j].Until) }

func (h ends) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].slot, h[j].slot = i, j
}

// Push is for package heap.
func (h *ends) Push(x any) {
	n := x.(*entry)
	n.slot = len(*h)
	*h = append(*h, n)
}

// Pop is for package heap.
func (h *ends) Pop() any {
	old := *h
	n := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return n
}
