package search

// hit is a file with matches.
type hit struct {
	path  string
	count int64
}

// hits keeps the first files by path that have the matches which are asked for.
// So a search in which all files match takes no memory for those that no one
// will see.
type hits struct {
	least[hit]
	want  int64 // matches, or files
	lines bool  // matches
	have  int64
}

func newHits(want int, lines bool) hits {
	return hits{least[hit]{compare: func(a, b *hit) int { return comparePaths(a.path, b.path) }}, int64(want), lines, 0}
}

func (h *hits) weight(x *hit) int64 {
	if h.lines {
		return x.count
	}
	return 1
}

func (h *hits) add(x hit) {
	h.least.add(x)
	h.have += h.weight(&x)
	for last := h.weight(h.greatest()); h.have-last >= h.want; last = h.weight(h.greatest()) {
		h.have -= last
		h.drop()
	}
}
