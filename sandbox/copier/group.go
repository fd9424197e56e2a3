package copier

import "golang.org/x/sys/unix"

// maxNames is how many names a file may have in the copy and its references
// together, so that further ones can still be made (ext4 allows 65,000).
const maxNames = 32_000

// A group is a file with several names in the source: those that were found.
type group struct {
	id      inode
	members []member
}

type member struct {
	dir *dir
	i   int
	old *entry
}

func (m member) entry() *entry { return &m.dir.new.entries[m.i] }
func (m member) name() string  { return m.dir.new.name(m.i) }

// join puts a name into the group of its file. Groups are settled when every name
// is known.
func (p *pass) join(id inode, m member) {
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.groups[id]
	if g == nil {
		g = &group{id: id}
		p.groups[id] = g
	}
	g.members = append(g.members, m)
}

// settle makes the names of the copy names of one file, which is as the source's.
func (g *group) settle(w *worker) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	leader, fresh, err := g.lead(w)
	if err != nil {
		return err
	}
	for i := range g.members {
		m := g.members[i]
		if leader >= 0 && i != leader {
			if err := g.follow(w, m, g.members[leader], fresh); err != nil {
				return err
			}
		}
		if leader >= 0 && !m.entry().is(absent) && g.id.dev == m.dir.pass.src.id.dev {
			m.entry().flags |= linked
		}
	}
	for _, m := range g.members {
		if err := m.dir.complete(w); err != nil {
			return err
		}
	}
	return nil
}

// lead finds the name that the others follow: one that is right as the last pass
// left it, so that fresh is false, or the first that could be copied. -1 if all
// have vanished.
func (g *group) lead(w *worker) (leader int, fresh bool, err error) {
	first := g.members[0]
	all := true
	for _, m := range g.members {
		all = all && m.entry().equal(first.entry())
	}
	if !all {
		if err := first.dir.changed(first.dir.src, first.name()); err != nil {
			return -1, false, err
		}
	}
	for i, m := range g.members {
		if all && g.kept(m) && m.entry().same(m.old) && !m.dir.isMapped(m.entry()) {
			m.entry().blocks, err = g.blocks(m)
			return i, false, err
		}
	}
	for i, m := range g.members {
		if err := m.dir.copyEntry(w, m.i, m.name(), m.old); err != nil {
			return -1, false, err
		}
		if !m.entry().is(absent) {
			return i, true, nil
		}
	}
	return -1, false, nil
}

// blocks is what the last pass counted for the file, at one of its names. If that
// name's directory was renamed, the copy's file tells.
func (g *group) blocks(leader member) (uint64, error) {
	most := uint64(0)
	for _, m := range g.members {
		if g.kept(m) {
			most = max(most, m.old.blocks)
		}
	}
	if most > 0 || leader.entry().size == 0 {
		return most, nil
	}
	dir := leader.dir.dst
	fd, err := dir.use()
	if err != nil {
		return 0, pathError("open directory", dir.where(""), err)
	}
	defer dir.done()
	var st unix.Stat_t
	if err := unix.Fstatat(fd, leader.name(), &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return 0, pathError("stat", dir.where(leader.name()), err)
	}
	return uint64(st.Blocks), nil
}

// kept tells that the copy's name is one of the file that the last pass made for
// this group.
func (g *group) kept(m member) bool {
	return m.old != nil && m.old.is(linked) && !m.old.is(absent) && m.old.ino == g.id.ino && g.id.dev == m.dir.pass.src.id.dev
}

// follow makes m's name one of the leader's file.
func (g *group) follow(w *worker, m, leader member, fresh bool) error {
	e, of := m.entry(), leader.entry()
	if e.is(absent) {
		return nil
	}
	e.blocks = 0
	if !e.equal(of) || of.is(doubtful) {
		e.flags |= doubtful
	}
	if !fresh && g.kept(m) {
		return nil
	}
	if err := m.dir.clear(w, m.name(), m.old); err != nil {
		return err
	}
	to, err := m.dir.touch()
	if err != nil {
		return err
	}
	defer m.dir.dst.done()
	from, err := leader.dir.dst.use()
	if err != nil {
		return pathError("open directory", leader.dir.dst.where(""), err)
	}
	defer leader.dir.dst.done()
	if err := unix.Linkat(from, leader.name(), to, m.name(), 0); err != nil {
		return pathError("link", m.dir.dst.where(m.name()), err)
	}
	return nil
}
