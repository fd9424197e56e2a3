package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// change is a step that changes files of a container.
type change struct {
	say    string
	tool   string // with args; or a script, by exec
	args   map[string]any
	script string

	apply func() // does it in the model

	// By which name a file was changed.
	in   tree
	name string

	// A directory that came out of a lower layer: programs copy it, and so its
	// links, and by exec its times, are what the copy has.
	copied      string
	copiedTimes bool
}

// names that are made; -n and the like come behind a directory's.
var modelNames = []string{
	"a", "b", "c", "dir", "sub", "x y", "ü", "-n", "new\nline", "\xff\xfe", "tab\t", "'q'", `"`, "*", "...", ".wh.a", ".wh..wh..opq",
	strings.Repeat("long", 50), "\x01\x7f", " lead", "trail ", "日本", "#", "$(x)",
}

// maxEntries is about how many files and directories a tree of the model gets.
const maxEntries = 60

// place is one of the two trees of a container.
type place struct {
	tree
	dir string
}

func (p place) at(name string) string { return strings.TrimSuffix(p.dir+"/"+name, "/") }

func (p place) q(name string) string { return shellQuote(p.at(name)) }

func (b *modelBot) pick(t tree, ok func(p string, n *inode) bool) (string, bool) {
	var all []string
	for _, p := range t.paths() {
		if ok(p, t[p]) {
			all = append(all, p)
		}
	}
	if len(all) == 0 {
		return "", false
	}
	return all[b.rng.IntN(len(all))], true
}

func isFile(_ string, n *inode) bool        { return n.kind == 'f' }
func isSubdir(p string, n *inode) bool      { return n.kind == 'd' && p != "" }
func isBelow(p string, _ *inode) bool       { return p != "" }
func isAny(string, *inode) bool             { return true }
func isNoLink(_ string, n *inode) bool      { return n.kind != 'l' }
func isNoDir(_ string, n *inode) bool       { return n.kind != 'd' }
func (b *modelBot) one(list ...int) int     { return list[b.rng.IntN(len(list))] }
func (b *modelBot) chance(percent int) bool { return b.rng.IntN(100) < percent }

// fresh is a name that nothing has yet.
func (b *modelBot) fresh(t tree) string {
	for {
		dir, _ := b.pick(t, func(p string, n *inode) bool { return n.kind == 'd' && strings.Count(p, "/") < 4 })
		p := strings.TrimPrefix(dir+"/"+modelNames[b.rng.IntN(len(modelNames))], "/")
		if t[p] == nil {
			return p
		}
	}
}

func (b *modelBot) text() []byte {
	b.serial++
	return fmt.Appendf(nil, "%s %d\n%s", b.name, b.serial, strings.Repeat("line\n", b.rng.IntN(30)))
}

// byTool reports whether a path goes into JSON, and tosses a coin then.
func (b *modelBot) byTool(paths ...string) bool {
	return !slices.ContainsFunc(paths, func(p string) bool { return !utf8.ValidString(p) }) && b.chance(60)
}

// randomChange is one of a container's.
func (b *modelBot) randomChange(c *modelContainer) *change {
	kinds := []func(place, place) *change{
		b.write, b.write, b.write, b.add, b.add, b.remove, b.move, b.moveDir, b.moveDir, b.mkdir, b.mkdir, b.chmod, b.chown,
		b.link, b.link, b.symlink, b.sparse, b.large, b.renew, b.date, b.fifo, b.middle, b.replace, b.across,
	}
	for {
		here, there := c.places()
		if b.chance(50) {
			here, there = there, here
		}
		kind := kinds[b.rng.IntN(len(kinds))]
		if len(here.tree) > maxEntries {
			kind = b.remove
		}
		if ch := kind(here, there); ch != nil {
			return ch
		}
	}
}

// write replaces or makes a file, by the tool with another inode.
func (b *modelBot) write(t, _ place) *change {
	p := b.fresh(t.tree)
	if old, ok := b.pick(t.tree, isFile); ok && b.chance(50) {
		p = old
	}
	text := b.text()
	n := t.tree[p]
	if b.byTool(p) {
		return &change{
			say: fmt.Sprintf("fs_write %q", t.at(p)), tool: "fs_write", args: map[string]any{"path": t.at(p), "content": string(text)},
			apply: func() {
				m := &inode{kind: 'f', mode: 0o644, content: text}
				if n != nil {
					m.mode, m.uid, m.gid = n.mode, n.uid, n.gid
				}
				t.tree[p] = m
				t.touch(parent(p))
			},
		}
	}
	ch := &change{say: fmt.Sprintf("write %q", t.at(p)), script: fmt.Sprintf("printf %%s %s > %s", shellQuote(string(text)), t.q(p))}
	if n == nil {
		ch.apply = func() {
			t.tree[p] = &inode{kind: 'f', mode: 0o644, content: text}
			t.touch(parent(p))
		}
		return ch
	}
	ch.in, ch.name = t.tree, p
	ch.apply = func() { t.tree[p].set(text) }
	return ch
}

func (n *inode) set(content []byte) { n.content, n.mtime, n.sparse = content, time.Time{}, false }

func (b *modelBot) add(t, _ place) *change {
	p, ok := b.pick(t.tree, isFile)
	if !ok {
		return nil
	}
	text := b.text()
	ch := &change{
		say: fmt.Sprintf("append to %q", t.at(p)), script: fmt.Sprintf("printf %%s %s >> %s", shellQuote(string(text)), t.q(p)),
		in: t.tree, name: p,
		apply: func() {
			n := t.tree[p]
			n.content, n.mtime = slices.Concat(n.content, text), time.Time{}
		},
	}
	if b.byTool(p) {
		do := ch.apply
		ch.script, ch.say, ch.tool = "", "fs_write append "+ch.say, "fs_write"
		ch.args = map[string]any{"path": t.at(p), "content": string(text), "append": true}
		ch.apply = func() { do(); t.touch(parent(p)) } // a temporary file was there
	}
	return ch
}

// middle writes into a file, not to its end.
func (b *modelBot) middle(t, _ place) *change {
	p, ok := b.pick(t.tree, func(_ string, n *inode) bool { return n.kind == 'f' && len(n.content) > 8 })
	if !ok {
		return nil
	}
	at := b.rng.IntN(len(t.tree[p].content) - 8)
	return &change{
		say: fmt.Sprintf("write into %q at %d", t.at(p), at), script: fmt.Sprintf("printf changed! | dd of=%s bs=1 seek=%d conv=notrunc 2>/dev/null", t.q(p), at),
		in: t.tree, name: p,
		apply: func() {
			n := t.tree[p]
			n.content, n.mtime = bytes.Clone(n.content), time.Time{}
			copy(n.content[at:], "changed!")
		},
	}
}

func (b *modelBot) remove(t, _ place) *change {
	p, ok := b.pick(t.tree, isBelow)
	if !ok {
		return nil
	}
	ch := &change{say: fmt.Sprintf("rm -rf %q", t.at(p)), script: "rm -rf " + t.q(p), apply: func() { t.remove(p) }}
	if b.byTool(p) {
		ch.say, ch.script, ch.tool, ch.args = fmt.Sprintf("fs_delete %q", t.at(p)), "", "fs_delete", map[string]any{"path": t.at(p), "recursive": true}
	}
	return ch
}

func (b *modelBot) move(t, _ place) *change {
	p, ok := b.pick(t.tree, isNoDir)
	if !ok {
		return nil
	}
	return b.rename(t, p, b.fresh(t.tree))
}

func (b *modelBot) moveDir(t, _ place) *change {
	p, ok := b.pick(t.tree, isSubdir)
	to := b.fresh(t.tree)
	if !ok || strings.HasPrefix(to+"/", p+"/") {
		return nil
	}
	for _, q := range t.below(p) {
		if t.tree[p].lower && b.isOpen(t.tree[q]) {
			return nil // it would go on in a file that has no name
		}
	}
	return b.rename(t, p, to)
}

// rename is mv or fs_move, to where nothing is or to another file.
func (b *modelBot) rename(t place, p, to string) *change {
	dir := t.tree[p].kind == 'd'
	ch := &change{
		say: fmt.Sprintf("mv %q %q", t.at(p), t.at(to)), script: fmt.Sprintf("mv -f %s %s", t.q(p), t.q(to)),
		in: t.tree, name: p,
		apply: func() { t.put(to, t.take(p)) },
	}
	if dir {
		ch.in = nil
	}
	if dir && t.tree[p].lower {
		ch.in, ch.copied, ch.copiedTimes = t.tree, to, true
	}
	if b.byTool(p, to) {
		ch.say, ch.script, ch.tool, ch.copiedTimes = fmt.Sprintf("fs_move %q %q", t.at(p), t.at(to)), "", "fs_move", false
		ch.args = map[string]any{"source": t.at(p), "destination": t.at(to), "overwrite": true}
	}
	return ch
}

// replace renames a file over another.
func (b *modelBot) replace(t, _ place) *change {
	p, ok1 := b.pick(t.tree, isFile)
	to, ok2 := b.pick(t.tree, isFile)
	if !ok1 || !ok2 || t.tree[p] == t.tree[to] {
		return nil
	}
	return b.rename(t, p, to)
}

// across moves to the other file system.
func (b *modelBot) across(t, other place) *change {
	p, ok := b.pick(t.tree, isBelow)
	to := b.fresh(other.tree)
	if !ok || !utf8.ValidString(p) || !utf8.ValidString(to) {
		return nil
	}
	return &change{
		say: fmt.Sprintf("fs_move %q %q", t.at(p), other.at(to)), tool: "fs_move",
		args: map[string]any{"source": t.at(p), "destination": other.at(to)},
		apply: func() {
			part := t.take(p).clone() // links to what is not moved end
			for _, n := range part {
				n.lower = false
			}
			other.put(to, part)
		},
	}
}

// isOpen reports whether a process has a file open.
func (b *modelBot) isOpen(n *inode) bool {
	for _, c := range b.containers {
		if c.feeder != nil && c.feeder.n == n {
			return true
		}
	}
	return false
}

func (b *modelBot) mkdir(t, _ place) *change {
	p := b.fresh(t.tree)
	mode := uint32(b.one(0o755, 0o700, 0o777, 0o1777, 0o500, 0))
	ch := &change{
		say: fmt.Sprintf("mkdir %q %o", t.at(p), mode), script: fmt.Sprintf("mkdir %s && chmod %o %s", t.q(p), mode, t.q(p)),
		apply: func() { t.tree[p] = &inode{kind: 'd', mode: mode}; t.touch(parent(p)) },
	}
	if b.byTool(p) {
		ch.say, ch.script, ch.tool, ch.args = fmt.Sprintf("fs_mkdir %q %o", t.at(p), mode), "", "fs_mkdir", map[string]any{"path": t.at(p), "mode": fmt.Sprintf("%04o", mode)}
	}
	return ch
}

func (b *modelBot) chmod(t, _ place) *change {
	p, ok := b.pick(t.tree, isNoLink)
	if !ok {
		return nil
	}
	mode := uint32(b.one(0o755, 0o644, 0o600, 0o400, 0o1777, 0))
	return &change{
		say: fmt.Sprintf("chmod %o %q", mode, t.at(p)), script: fmt.Sprintf("chmod %o %s", mode, t.q(p)),
		in: t.tree, name: p, apply: func() { t.tree[p].mode = mode },
	}
}

func (b *modelBot) chown(t, _ place) *change {
	p, _ := b.pick(t.tree, isAny)
	uid, gid := b.one(0, 1, 1000, 65534), b.one(0, 5, 1000)
	return &change{
		say: fmt.Sprintf("chown %d:%d %q", uid, gid, t.at(p)), script: fmt.Sprintf("chown -h %d:%d %s", uid, gid, t.q(p)),
		in: t.tree, name: p, apply: func() { t.tree[p].uid, t.tree[p].gid = uid, gid },
	}
}

func (b *modelBot) link(t, _ place) *change {
	p, ok := b.pick(t.tree, isFile)
	if !ok {
		return nil
	}
	to := b.fresh(t.tree)
	return &change{
		say: fmt.Sprintf("ln %q %q", t.at(p), t.at(to)), script: fmt.Sprintf("ln %s %s", t.q(p), t.q(to)),
		in: t.tree, name: p, apply: func() { t.tree[to] = t.tree[p]; t.touch(parent(to)) },
	}
}

func (b *modelBot) symlink(t, _ place) *change {
	p := b.fresh(t.tree)
	target := []string{"a", "../x", "/data/a", "/root", "no\nwhere", "\xff", strings.Repeat("t", 300)}[b.rng.IntN(7)]
	return &change{
		say: fmt.Sprintf("ln -s %q %q", target, t.at(p)), script: fmt.Sprintf("ln -s %s %s", shellQuote(target), t.q(p)),
		apply: func() {
			t.tree[p] = &inode{kind: 'l', mode: 0o777, target: target}
			t.touch(parent(p))
		},
	}
}

func (b *modelBot) fifo(t, _ place) *change {
	p := b.fresh(t.tree)
	return &change{
		say: fmt.Sprintf("mkfifo %q", t.at(p)), script: fmt.Sprintf("mkfifo %s && chmod 640 %s", t.q(p), t.q(p)),
		apply: func() { t.tree[p] = &inode{kind: 'p', mode: 0o640}; t.touch(parent(p)) },
	}
}

// sparse makes a file that has a few bytes in a great hole.
func (b *modelBot) sparse(t, _ place) *change {
	p := b.fresh(t.tree)
	content := make([]byte, 1<<20+b.rng.IntN(1<<20))
	copy(content[1<<19:], "in the middle")
	return &change{
		say:    fmt.Sprintf("sparse %q, %d bytes", t.at(p), len(content)),
		script: fmt.Sprintf("truncate -s %d %s && printf 'in the middle' | dd of=%s bs=1 seek=%d conv=notrunc 2>/dev/null", len(content), t.q(p), t.q(p), 1<<19),
		apply: func() {
			t.tree[p] = &inode{kind: 'f', mode: 0o644, content: content, sparse: true}
			t.touch(parent(p))
		},
	}
}

func (b *modelBot) large(t, _ place) *change {
	p := b.fresh(t.tree)
	line := fmt.Sprintf("%s-%d", b.name, b.rng.IntN(1000))
	size := 200_000 + b.rng.IntN(1<<20)
	return &change{
		say: fmt.Sprintf("large %q, %d bytes", t.at(p), size), script: fmt.Sprintf("yes %s | head -c %d > %s", line, size, t.q(p)),
		apply: func() {
			t.tree[p] = &inode{kind: 'f', mode: 0o644, content: bytes.Repeat([]byte(line+"\n"), size/len(line)+1)[:size]}
			t.touch(parent(p))
		},
	}
}

// renew deletes a directory and makes it again, which is opaque in overlayfs.
func (b *modelBot) renew(t, _ place) *change {
	p, ok := b.pick(t.tree, isSubdir)
	if !ok {
		return nil
	}
	text := b.text()
	return &change{
		say:    fmt.Sprintf("rm -rf, mkdir and write %q", t.at(p)),
		script: fmt.Sprintf("rm -rf %s && mkdir %s && printf %%s %s > %s", t.q(p), t.q(p), shellQuote(string(text)), t.q(p+"/a")),
		apply: func() {
			t.remove(p)
			t.tree[p] = &inode{kind: 'd', mode: 0o755}
			t.tree[p+"/a"] = &inode{kind: 'f', mode: 0o644, content: text}
		},
	}
}

func (b *modelBot) date(t, _ place) *change {
	p, ok := b.pick(t.tree, isNoLink)
	if !ok {
		return nil
	}
	at := int64(b.rng.IntN(1_700_000_000))
	return &change{
		say: fmt.Sprintf("touch -d @%d %q", at, t.at(p)), script: fmt.Sprintf("touch -d @%d %s", at, t.q(p)),
		in: t.tree, name: p, apply: func() { t.tree[p].mtime = time.Unix(at, 0) },
	}
}

// do makes a change in the model, when it has been made in the container, of
// which all is seen.
func (ch *change) do(root, data map[string]seen, isRoot bool) (broken int) {
	all := data
	if isRoot {
		all = root
	}
	if ch.in != nil && ch.in[ch.name].lower {
		ch.in[ch.name].sparse = false // the kernel copies more than the data
	}
	ch.apply()
	if ch.copied != "" {
		part := ch.in.below(ch.copied)
		broken += ch.in.linkAs(all, part)
		if ch.copiedTimes {
			ch.in.touch(part...)
			for _, p := range part {
				ch.in[p].sparse = false // busybox writes zeros
			}
		}
	}
	return broken
}
