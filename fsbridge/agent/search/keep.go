package search

import (
	"container/heap"
	"slices"

	"golang.org/x/sys/unix"

	"moorage/fsbridge"
)

// least keeps the least of what it is given, in the order of compare, and the
// greatest of them at hand.
type least[T any] struct {
	compare func(a, b *T) int
	items   []T // a heap: none is greater than the first
}

func (l *least[T]) Len() int           { return len(l.items) }
func (l *least[T]) Less(i, j int) bool { return l.compare(&l.items[i], &l.items[j]) > 0 }
func (l *least[T]) Swap(i, j int)      { l.items[i], l.items[j] = l.items[j], l.items[i] }
func (l *least[T]) Push(x any)         { l.items = append(l.items, *x.(*T)) }

func (l *least[T]) Pop() any {
	last := len(l.items) - 1
	item := l.items[last]
	clear(l.items[last:])
	l.items = l.items[:last]
	return item
}

func (l *least[T]) add(item T) { heap.Push(l, &item) }

func (l *least[T]) greatest() *T { return &l.items[0] }

func (l *least[T]) drop() { heap.Pop(l) }

// sorted returns what is kept, the least first. Nothing is added after it.
func (l *least[T]) sorted() []T {
	slices.SortFunc(l.items, func(a, b T) int { return l.compare(&a, &b) })
	return l.items
}

// newest keeps the entries that changed last.
type newest struct {
	least[fsbridge.Entry]
	limit int
}

func newNewest(limit int) newest {
	return newest{least[fsbridge.Entry]{compare: func(a, b *fsbridge.Entry) int {
		if c := b.ModTime.Compare(a.ModTime); c != 0 {
			return c
		}
		return comparePaths(string(a.Name), string(b.Name))
	}}, limit}
}

// takes reports whether a node of that time may be one of them.
func (n *newest) takes(ts unix.Timespec) bool {
	if len(n.items) < n.limit {
		return true
	}
	oldest := n.greatest().ModTime
	return ts.Sec > oldest.Unix() || ts.Sec == oldest.Unix() && ts.Nsec >= int64(oldest.Nanosecond())
}

func (n *newest) add(e fsbridge.Entry) {
	n.least.add(e)
	if len(n.items) > n.limit {
		n.drop()
	}
}

// comparePaths orders paths name by name, each by its bytes.
func comparePaths(a, b string) int {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	switch {
	case i == len(a) || i == len(b):
		return len(a) - len(b)
	case a[i] == '/':
		return -1
	case b[i] == '/':
		return 1
	}
	return int(a[i]) - int(b[i])
}
