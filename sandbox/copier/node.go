package copier

import (
	"math"
	"slices"
	"sort"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// racyWindow is how old a change of an inode must be, when the inode is looked
// at, for a later change to show in its ctime: ctimes advance by ticks of 1 to
// 10 ms (CONFIG_HZ). Twice the longest.
const racyWindow = 20 * time.Millisecond

// Flags of an entry.
const (
	doubtful uint16 = 1 << iota // a later change may not show
	linked                      // one of several names of its inode, made as such
	absent                      // not in the copy: it vanished, or is a socket
	borrowed                    // its blocks are the reference's
)

// An entry is what a name in the source's directory was. 48 bytes, and no
// pointer in it that the garbage collector would have to follow.
type entry struct {
	ino    uint64
	ctime  int64 // ns; beyond 2262 it wraps, and still serves to compare
	mtime  int64
	size   int64  // of a directory: which of its node's subs it is
	blocks uint64 // of the copy, 512 bytes each; 0 for the further names of an inode
	mode   uint16
	flags  uint16
	end    uint32 // of its name in its node's names
}

// A node is a directory: its entries sorted by name. It is not changed any more
// after the pass that made it.
type node struct {
	names   string
	entries []entry
	subs    []*node
}

func nanos(ts unix.Timespec) int64 { return ts.Sec*1e9 + ts.Nsec }

// fill makes e what st says. now is a time not after the stat.
func (e *entry) fill(st *unix.Stat_t, now time.Time, root inode) {
	e.ino, e.mode = st.Ino, uint16(st.Mode)
	e.ctime, e.mtime = nanos(st.Ctim), nanos(st.Mtim)
	if !e.isDir() {
		e.size = st.Size
	}
	e.flags = 0
	if e.ctime > now.Add(-racyWindow).UnixNano() || uint64(st.Dev) != root.dev {
		e.flags = doubtful
	}
	if st.Mode&unix.S_IFMT == unix.S_IFSOCK {
		e.flags |= absent
	}
}

func (e *entry) kind() uint32    { return uint32(e.mode) & unix.S_IFMT }
func (e *entry) isDir() bool     { return e.kind() == unix.S_IFDIR }
func (e *entry) isRegular() bool { return e.kind() == unix.S_IFREG }
func (e *entry) is(flag uint16) bool {
	return e.flags&flag != 0
}

// same tells that the inode is what it was: by old, no change since then can have
// gone unseen, and there was none.
func (e *entry) same(old *entry) bool {
	return old != nil && !old.is(doubtful|absent) && e.equal(old)
}

func (e *entry) equal(o *entry) bool {
	return e.ino == o.ino && e.ctime == o.ctime && e.mtime == o.mtime && e.mode == o.mode && (e.isDir() || e.size == o.size)
}

// newNode makes a node with empty entries for names, which are sorted. If old
// has the same names it shares their bytes.
func newNode(names []string, old *node) (*node, error) {
	n := &node{entries: make([]entry, len(names))}
	total := 0
	for i, name := range names {
		if total += len(name); total > math.MaxUint32 {
			return nil, unix.EFBIG
		}
		n.entries[i].end = uint32(total)
	}
	n.names = strings.Join(names, "")
	if old != nil && old.names == n.names {
		n.names = old.names
	}
	return n, nil
}

func (n *node) name(i int) string {
	begin := uint32(0)
	if i > 0 {
		begin = n.entries[i-1].end
	}
	return n.names[begin:n.entries[i].end]
}

// isWhole tells that each name of n was there when it was looked at.
func (n *node) isWhole() bool {
	return n != nil && !slices.ContainsFunc(n.entries, func(e entry) bool { return e.is(absent) })
}

// list returns the names.
func (n *node) list() []string {
	names := make([]string, len(n.entries))
	begin := uint32(0)
	for i := range n.entries {
		names[i] = n.names[begin:n.entries[i].end]
		begin = n.entries[i].end
	}
	return names
}

// find returns the entry of that name, or -1.
func (n *node) find(name string) int {
	if n == nil {
		return -1
	}
	i := sort.Search(len(n.entries), func(i int) bool { return n.name(i) >= name })
	if i < len(n.entries) && n.name(i) == name {
		return i
	}
	return -1
}

// at returns the entry of that name, or nil.
func (n *node) at(name string) *entry {
	if i := n.find(name); i >= 0 {
		return &n.entries[i]
	}
	return nil
}

// sub returns the node of a directory's entry, or nil.
func (n *node) sub(e *entry) *node {
	if n == nil || e == nil || !e.isDir() || e.size < 0 || e.size >= int64(len(n.subs)) {
		return nil
	}
	return n.subs[e.size]
}
