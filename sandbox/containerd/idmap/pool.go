package idmap

import (
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"sync"
)

// Span is the host's ids that a Pool hands out: Count of them from First. A zero
// Span is DefaultSpan.
type Span struct{ First, Count uint32 }

// DefaultSpan is 4,094 ranges that nobody else has by default: useradd's
// /etc/subuid gives 100,000 to 600,100,000, systemd-nspawn takes 524,288 to
// 1,879,048,191, systemd's foreign ids begin at 2,147,352,576, and many programs
// cannot read ids from 2,147,483,648 on (systemd, "Users, Groups, UIDs and GIDs").
var DefaultSpan = Span{First: 0x7000_0000, Count: 0x0FFE_0000}

// String is "FIRST:COUNT", as in /etc/subuid.
func (s Span) String() string { return fmt.Sprintf("%d:%d", s.First, s.Count) }

// ParseSpan reads "FIRST:COUNT"; "" is DefaultSpan.
func ParseSpan(text string) (Span, error) {
	if text == "" {
		return DefaultSpan, nil
	}
	first, count, _ := strings.Cut(text, ":")
	f, ferr := strconv.ParseUint(first, 10, 32)
	c, cerr := strconv.ParseUint(count, 10, 32)
	if ferr != nil || cerr != nil || f < Size || c < Size || f+c > maxBase+Size {
		return Span{}, fmt.Errorf("id range %.40q: expected FIRST:COUNT as in /etc/subuid, FIRST and COUNT at least %d, ids up to %d",
			text, Size, uint32(maxBase+Size-1))
	}
	return Span{uint32(f), uint32(c)}, nil
}

// Ranges is how many ranges a span has.
func (s Span) Ranges() int { return int(s.Count / Size) }

func (s Span) at(i int) Range { return Range{Base: s.First + uint32(i)*Size} }

// Has reports whether a range lies in the span.
func (s Span) Has(r Range) bool {
	return r.Base >= s.First && uint64(r.Base)+Size <= uint64(s.First)+uint64(s.Count)
}

// ErrFull says that every range has an owner.
var ErrFull = errors.New("every range of ids is taken")

// Pool hands out ranges: one for each owner. It is safe for concurrent use.
type Pool struct {
	span  Span
	start int // where the search begins

	mu     sync.Mutex
	owners map[string]*holding
	taken  map[Range]string // the owner
}

// holding is an owner's range and who holds it for the owner.
type holding struct {
	ids  Range
	keys map[string]bool
	m    *Map // nil until it is asked for
}

// NewPool makes a pool that begins its search at a place that depends on seed, so
// that pools of one span, and many seeds, seldom meet.
func NewPool(span Span, seed string) *Pool {
	if span == (Span{}) {
		span = DefaultSpan
	}
	h := fnv.New64a()
	h.Write([]byte(seed))
	return &Pool{
		span: span, start: int(h.Sum64() % uint64(span.Ranges())),
		owners: map[string]*holding{}, taken: map[Range]string{},
	}
}

// Span is what the pool hands out of.
func (p *Pool) Span() Span { return p.span }

// Claim yields the owner's range, and one that is free if it has none. The key
// holds it until it is released. Claiming twice is as once. ErrFull.
func (p *Pool) Claim(owner, key string) (Range, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.owners[owner]
	if h == nil {
		ids, err := p.free()
		if err != nil {
			return Range{}, err
		}
		h = p.own(owner, ids)
	}
	h.keys[key] = true
	return h.ids, nil
}

// Note says that an owner has a range already. It reports false, and notes
// nothing, if the owner has another one, or another owner has some of its ids.
func (p *Pool) Note(owner, key string, ids Range) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.owners[owner]
	switch {
	case ids.IsZero(), h != nil && h.ids != ids:
		return false
	case h == nil && p.overlaps(ids):
		return false
	case h == nil:
		h = p.own(owner, ids)
	}
	h.keys[key] = true
	return true
}

// Release ends a key's hold; the range is free when it was the last.
func (p *Pool) Release(owner, key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.owners[owner]
	if h == nil {
		return
	}
	if delete(h.keys, key); len(h.keys) == 0 {
		delete(p.owners, owner)
		delete(p.taken, h.ids)
		h.m.Close()
	}
}

// Map is the map of the owner's range, which the pool keeps and closes. The owner
// has claimed one.
func (p *Pool) Map(owner string) (*Map, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.owners[owner]
	if h == nil {
		return nil, fmt.Errorf("map ids of %s: it has no range", owner)
	}
	if h.m == nil {
		m, err := Open(h.ids)
		if err != nil {
			return nil, err
		}
		h.m = m
	}
	return h.m, nil
}

// Close closes the maps. Nothing may be claimed afterwards.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for owner, h := range p.owners {
		h.m.Close()
		delete(p.owners, owner)
	}
}

func (p *Pool) own(owner string, ids Range) *holding {
	h := &holding{ids: ids, keys: map[string]bool{}}
	p.owners[owner], p.taken[ids] = h, owner
	return h
}

// free finds a range that overlaps no other's.
func (p *Pool) free() (Range, error) {
	n := p.span.Ranges()
	odd := p.odd()
	for i := range n {
		r := p.span.at((p.start + i) % n)
		if _, taken := p.taken[r]; !taken && (!odd || !p.overlaps(r)) {
			return r, nil
		}
	}
	return Range{}, fmt.Errorf("%w: %s has %d", ErrFull, p.span, n)
}

// odd reports whether a range was noted that Claim would not have handed out: of
// another span. Only then may two ranges overlap that are not the same.
func (p *Pool) odd() bool {
	for r := range p.taken {
		if !p.span.Has(r) || (r.Base-p.span.First)%Size != 0 {
			return true
		}
	}
	return false
}

func (p *Pool) overlaps(r Range) bool {
	for other := range p.taken {
		if r.Contains(other.Base) || other.Contains(r.Base) {
			return true
		}
	}
	return false
}
