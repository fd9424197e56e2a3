package copier

import (
	"context"
	"errors"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Options of a copy. The zero value serves.
type Options struct {
	// Parallel is how many workers copy: 1 to 16, 0 for two per processor.
	Parallel int
	// Reference is an earlier copy of the same source, so that what did not
	// change since takes no space again. Nil: none.
	Reference *Reference
	// NoClone does without FICLONE. A file system that clones by itself when the
	// kernel is asked to copy a range, as XFS does with big ones, still may.
	NoClone bool
	// NoLink never makes a file a further name of the reference's.
	NoLink bool
}

// A Reference is an earlier copy of the same source, and its record. A regular
// file that by the record has not changed since is hard-linked from Tree, with
// every attribute: that is quicker than a clone and takes no space at all. It is
// right only because nothing is ever written to Tree, nor to any copy that has
// this one as its reference.
type Reference struct {
	Tree   string
	Record *Record
}

// Stats is what a copy holds, and how it was made.
type Stats struct {
	Files  int64 // names of what is no directory
	Dirs   int64 // the root included
	Bytes  int64 // on disk (st_blocks) right after the copy, each inode once, whether shared with others or not
	Shared int64 // of Bytes, those of files linked from the reference
	Cloned int64 // regular files cloned, in all passes
	Linked int64 // regular files linked from the reference, in all passes
	Copied int64 // regular files whose bytes were copied, in all passes
	Passes int
}

// A Copy is a directory tree that becomes the copy of another. Its methods may
// not be called at the same time.
type Copy struct {
	dst, src string
	o        Options

	state  state // of the last pass
	stats  Stats
	err    error // of the pass that failed
	record *Record
}

// state is what a pass left behind.
type state struct {
	self entry // of the root
	node *node // nil: nothing was copied
}

// New prepares to copy what is in the directory src, and src's own attributes, to
// dst, an existing empty directory. It looks at both but starts nothing.
func New(dst, src string, o Options) (*Copy, error) {
	for _, path := range []string{src, dst} {
		if st, err := os.Stat(path); err != nil {
			return nil, err
		} else if !st.IsDir() {
			return nil, pathError("copy directory", path, unix.ENOTDIR)
		}
	}
	entries, err := os.ReadDir(dst)
	if err != nil {
		return nil, err
	}
	if len(entries) > 0 {
		return nil, pathError("copy to directory", dst, unix.ENOTEMPTY)
	}
	if o.Reference != nil && (o.Reference.Record == nil || o.Reference.Tree == "") {
		return nil, errors.New("copy directory: a reference needs both its tree and its record")
	}
	return &Copy{dst: dst, src: src, o: o}, nil
}

// Tree copies src, which is still, to the empty directory dst: [New] and
// [Copy.Finish].
func Tree(ctx context.Context, dst, src string, o Options) (*Copy, error) {
	c, err := New(dst, src, o)
	if err != nil {
		return nil, err
	}
	return c, c.Finish(ctx, nil)
}

// Pass copies what is not in the copy yet, or has changed since the last pass,
// while src may be written to. What appears, changes, shrinks or vanishes
// meanwhile is no error: the next pass brings it. It may be called any number of
// times. After an error the copy is of no use any more: remove dst.
func (c *Copy) Pass(ctx context.Context) error { return c.pass(ctx, false, nil) }

// Finish is the last pass. Nothing may write to src until it returns: then dst is
// exactly what src is, or there is an error, ErrChanged if something was written
// after all.
//
// mapped, which may be nil, says of an inode number whether a process has that
// file mapped writably, and promises that no write was in flight when Finish was
// called (as when the writers are frozen): what is written through a mapping shows
// in no time stamp, so such a file is copied again whatever its time stamps say,
// and it is doubtful in the record. Without mapped every file that is open for
// writing while it is copied is doubtful.
func (c *Copy) Finish(ctx context.Context, mapped func(ino uint64) bool) error {
	if err := c.pass(ctx, true, mapped); err != nil {
		return err
	}
	c.record = &Record{self: c.state.self, root: c.state.node}
	return nil
}

// Stats tells about the copy as the last pass left it.
func (c *Copy) Stats() Stats { return c.stats }

// Record is what the source was when Finish copied it. Nil before.
func (c *Copy) Record() *Record { return c.record }

func (c *Copy) pass(ctx context.Context, final bool, mapped func(uint64) bool) error {
	if c.err == nil && c.record != nil {
		c.err = errors.New("copy directory: the copy is finished; make a new one")
	}
	if c.err == nil {
		c.err = c.run(ctx, final, mapped)
	}
	return c.err
}

// run carries out one pass and keeps what it found.
func (c *Copy) run(ctx context.Context, final bool, mapped func(uint64) bool) error {
	p := &pass{o: c.o, final: final, mapped: mapped, old: c.state, stats: &c.stats, groups: map[inode]*group{}}
	defer p.close()
	if err := p.open(c.dst, c.src); err != nil {
		return err
	}
	if err := p.run(ctx); err != nil {
		return err
	}
	c.stats.Passes++
	c.stats.Cloned += p.cloned.Load()
	c.stats.Linked += p.linked.Load()
	c.stats.Copied += p.copied.Load()
	c.state = p.new
	c.state.count(&c.stats)
	return nil
}

// count sets what stats says of the tree.
func (s *state) count(stats *Stats) {
	stats.Files, stats.Dirs, stats.Bytes, stats.Shared = 0, 1, int64(s.self.blocks)*512, 0
	for nodes := []*node{s.node}; len(nodes) > 0; {
		n := nodes[len(nodes)-1]
		nodes = nodes[:len(nodes)-1]
		for i := range n.entries {
			switch e := &n.entries[i]; {
			case e.is(absent):
				continue
			case e.isDir():
				stats.Dirs++
				nodes = append(nodes, n.sub(e))
				stats.Bytes += int64(e.blocks) * 512
			default:
				stats.Files++
				stats.Bytes += int64(e.blocks) * 512
				if e.is(borrowed) {
					stats.Shared += int64(e.blocks) * 512
				}
			}
		}
	}
}

// counters of one pass.
type counters struct{ cloned, linked, copied atomic.Int64 }
