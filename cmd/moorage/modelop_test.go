package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"moorage/cmd/moorage/session"
)

// modelOp changes containers or snapshots as a whole. If the server is killed
// meanwhile it has happened or it has not.
type modelOp struct {
	say  string
	tool string
	args map[string]any

	// happened reports by what is listed whether it has. Nil: any time it may have,
	// and nothing shows.
	happened func() (bool, error)
	// after does it in the model; result is the zero value if the server was killed.
	after func(result session.ToolResult) error
	// cut is called if it was cut short, whether or not it has happened.
	cut func()
	// refused is the code that it has to fail with.
	refused string
}

// Bounds of a bot's containers and snapshots.
const (
	modelContainers = 4
	modelSnapshots  = 14
)

// run carries an op out in whole.
func (b *modelBot) run(op *modelOp) error {
	if op == nil {
		return nil
	}
	b.say("%s", op.say)
	r, err := b.cl.Tool(op.tool, op.args)
	if op.refused != "" {
		if err == nil || !strings.HasPrefix(err.Error(), op.refused+": ") {
			return fmt.Errorf("%s: %w, expected %s", op.say, err, op.refused)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", op.say, err)
	}
	return errors.Join(op.after(r), b.compareAll(false))
}

func (b *modelBot) newSnapshotOp() *modelOp {
	if len(b.snapshots) >= modelSnapshots {
		return b.deleteSnapshotOp()
	}
	return b.snapshotOp(b.anyContainer())
}

func (b *modelBot) snapshotOp(c *modelContainer) *modelOp {
	b.serial++
	s := &modelSnapshot{name: fmt.Sprintf("s%d", b.serial), of: c.id}
	return &modelOp{
		say: fmt.Sprintf("snapshot %s of %s", s.name, c.id), tool: "create_snapshot",
		args:     map[string]any{"container_id": c.id, "snapshot_name": s.name},
		happened: func() (bool, error) { return has(b.listed())(s.name) },
		after: func(session.ToolResult) error {
			b.keep(c, s)
			return nil
		},
		cut: func() {},
	}
}

// keep makes s a snapshot of the container as it is in the model.
func (b *modelBot) keep(c *modelContainer, s *modelSnapshot) {
	c.root.sink()
	s.root, s.data, s.pairs = c.root.clone(), c.data.clone(), maps.Clone(c.pairs)
	b.snapshots[s.name] = s
}

// has reports whether a list has a name.
func has(list []string, err error) func(string) (bool, error) {
	return func(name string) (bool, error) { return slices.Contains(list, name), err }
}

func (b *modelBot) restoreOp() *modelOp {
	s := b.anySnapshot()
	if s == nil || len(b.snapshots) >= modelSnapshots {
		return b.deleteSnapshotOp()
	}
	c := b.containers[s.of]
	if c == nil || b.chance(20) {
		c = b.anyContainer()
	}
	var before string
	stopped := func() {
		for _, o := range b.sharers(c) {
			o.feeder = nil
		}
	}
	return &modelOp{
		say: fmt.Sprintf("restore %s in %s", s.name, c.id), tool: "restore_snapshot",
		args: map[string]any{"container_id": c.id, "snapshot_name": s.name},
		happened: func() (bool, error) {
			listed, err := b.listed()
			for _, name := range listed {
				if strings.HasPrefix(name, c.id+"-before-restore-") && b.snapshots[name] == nil {
					before = name
				}
			}
			return before != "", err
		},
		after: func(r session.ToolResult) error {
			if name, ok := r.Structured["before_snapshot"].(string); ok {
				before = name
			}
			b.keep(c, &modelSnapshot{name: before, of: c.id})
			stopped()
			c.root = s.root.clone()
			*c.data = s.data.clone()
			for _, o := range b.sharers(c) {
				o.pairs = map[string]bool{}
			}
			c.pairs = maps.Clone(s.pairs)
			return b.comparePairs(c)
		},
		cut: stopped,
	}
}

func (b *modelBot) forkOp() *modelOp {
	s := b.anySnapshot()
	if s == nil || len(b.containers) >= modelContainers {
		return b.deleteContainerOp()
	}
	return b.forkOf(s)
}

func (b *modelBot) forkOf(s *modelSnapshot) *modelOp {
	b.serial++
	c := &modelContainer{id: fmt.Sprintf("f%d", b.serial), of: s, own: true}
	return &modelOp{
		say: fmt.Sprintf("fork %s of %s", c.id, s.name), tool: "create_container",
		args:     map[string]any{"container_id": c.id, "from_snapshot": s.name},
		happened: func() (bool, error) { return has(b.listedContainers())(c.id) },
		after: func(session.ToolResult) error {
			data := s.data.clone()
			c.root, c.data, c.pairs = s.root.clone(), &data, maps.Clone(s.pairs)
			b.containers[c.id] = c
			return b.comparePairs(c)
		},
		cut: func() {},
	}
}

func (b *modelBot) createOp() *modelOp {
	if len(b.containers) >= modelContainers {
		return b.deleteContainerOp()
	}
	b.serial++
	c := &modelContainer{id: fmt.Sprintf("c%d", b.serial), data: b.data, pairs: map[string]bool{}}
	return &modelOp{
		say: "create " + c.id, tool: "create_container", args: map[string]any{"container_id": c.id},
		happened: func() (bool, error) { return has(b.listedContainers())(c.id) },
		after: func(session.ToolResult) error {
			root, data, err := b.look(c)
			if err != nil {
				return err
			}
			top, dataTop := root[""].inode, data[""].inode
			top.lower = true
			c.root = tree{"": &top}
			if *b.data == nil {
				*b.data = tree{"": &dataTop}
			}
			b.containers[c.id] = c
			return b.compareSeen(c, root, data)
		},
		cut: func() {},
	}
}

func (b *modelBot) deleteContainerOp() *modelOp {
	if len(b.containers) < 2 {
		return nil
	}
	c := b.anyContainer()
	return &modelOp{
		say: "delete " + c.id, tool: "delete_container", args: map[string]any{"container_id": c.id},
		happened: func() (bool, error) {
			there, err := has(b.listedContainers())(c.id)
			return !there, err
		},
		after: func(session.ToolResult) error {
			delete(b.containers, c.id)
			return nil
		},
		cut: func() { c.feeder = nil },
	}
}

func (b *modelBot) deleteSnapshotOp() *modelOp {
	s := b.anySnapshot()
	if s == nil {
		return nil
	}
	op := &modelOp{
		say: "delete snapshot " + s.name, tool: "delete_snapshot", args: map[string]any{"snapshot_name": s.name},
		happened: func() (bool, error) {
			there, err := has(b.listed())(s.name)
			return !there, err
		},
		after: func(session.ToolResult) error {
			delete(b.snapshots, s.name)
			return nil
		},
		cut: func() {},
	}
	for _, c := range b.containers {
		if c.of == s {
			op.refused = "conflict"
		}
	}
	return op
}

func (b *modelBot) stopOp() *modelOp {
	c := b.anyContainer()
	return &modelOp{
		say: "stop " + c.id, tool: "stop_container", args: map[string]any{"container_id": c.id, "grace_seconds": b.rng.IntN(2)},
		after: func(session.ToolResult) error {
			c.feeder = nil
			return nil
		},
		cut: func() { c.feeder = nil },
	}
}

// cutOp is an op for a server that is killed.
func (b *modelBot) cutOp() *modelOp {
	for {
		op := []func() *modelOp{b.newSnapshotOp, b.newSnapshotOp, b.restoreOp, b.restoreOp, b.forkOp, b.forkOp, b.deleteSnapshotOp, b.deleteContainerOp, b.createOp, b.stopOp}[b.rng.IntN(10)]()
		if op != nil && op.refused == "" {
			return op
		}
	}
}

// settle finds out what became of an op whose server was killed, and does the
// same in the model.
func (b *modelBot) settle(op *modelOp, r session.ToolResult, err error) error {
	if err != nil && !strings.HasPrefix(err.Error(), "unavailable: ") {
		return fmt.Errorf("%s, with the server killed: %w", op.say, err)
	}
	op.cut()
	if op.happened == nil {
		return b.compareAll(true)
	}
	done, listErr := op.happened()
	if listErr != nil {
		return listErr
	}
	b.say("... which has happened: %v (%v)", done, err)
	if err == nil && !done {
		return fmt.Errorf("%s was answered, and has not happened after the server was killed", op.say)
	}
	if done {
		b.w.count("killed, has happened", 1)
		if err := op.after(r); err != nil {
			return err
		}
	} else {
		b.w.count("killed, has not happened", 1)
	}
	return b.compareAll(true)
}

// overlap makes a change while a snapshot is taken, which has the state before or
// the one after it. A fork shows which.
func (b *modelBot) overlap() error {
	if len(b.snapshots) >= modelSnapshots || len(b.containers) >= modelContainers {
		return b.run(b.deleteSnapshotOp())
	}
	c := b.anyContainer()
	root, data := c.places()
	here, there := root, data
	if b.chance(50) {
		here, there = there, here
	}
	ch := b.write(here, there)
	if f := b.add(here, there); f != nil && b.chance(50) {
		ch = f
	}
	if ch.tool == "" {
		return nil
	}
	op := b.snapshotOp(c)
	before := *c
	before.root = c.root.clone()
	beforeData := c.data.clone()
	before.data = &beforeData
	b.say("%s while %s", op.say, ch.say)
	other, taken := b.second(), make(chan error, 1)
	go func() {
		_, err := other.Tool(op.tool, op.args)
		taken <- err
	}()
	args := maps.Clone(ch.args)
	args["container_id"] = c.id
	time.Sleep(time.Duration(b.rng.IntN(20_000)) * time.Microsecond)
	_, err := b.cl.Tool(ch.tool, args)
	if err = errors.Join(err, <-taken); err != nil {
		return err
	}
	if err := b.done(c, ch); err != nil {
		return err
	}
	s := &modelSnapshot{name: op.args["snapshot_name"].(string), of: c.id}
	b.keep(c, s)
	at := parent(strings.TrimPrefix(strings.TrimPrefix(ch.args["path"].(string), here.dir), "/"))
	old := &modelSnapshot{name: s.name, of: c.id, root: before.root, data: beforeData, pairs: s.pairs}
	for _, v := range []*modelSnapshot{s, old} { // a temporary file may have been there
		t := v.root
		if here.dir == "/data" {
			t = v.data
		}
		t.touch(at)
	}
	return b.whichOf(s, old)
}

// whichOf decides by a fork whether a snapshot is what it may be, or what else.
func (b *modelBot) whichOf(s, old *modelSnapshot) error {
	op := b.forkOf(s)
	b.say("%s", op.say)
	r, err := b.cl.Tool(op.tool, op.args)
	if err == nil {
		err = op.after(r)
	}
	if err != nil {
		return err
	}
	c := b.containers[op.args["container_id"].(string)]
	root, data, err := b.look(c)
	if err != nil {
		return err
	}
	if err = b.compareSeen(c, root, data); err == nil {
		s.root.learn(root)
		s.data.learn(data)
		b.w.count("snapshot after the change", 1)
		return nil
	}
	old.root.sink()
	*s = *old
	oldData := s.data.clone()
	c.root, c.data = s.root.clone(), &oldData
	if oldErr := b.compareSeen(c, root, data); oldErr != nil {
		return fmt.Errorf("snapshot %s is neither the state after nor the one before:\n%w\n%w", s.name, err, oldErr)
	}
	s.root.learn(root)
	s.data.learn(data)
	b.w.count("snapshot before the change", 1)
	return nil
}

// diff compares what diff_snapshot says with the model.
func (b *modelBot) diff() error {
	s, c := b.anySnapshot(), b.anyContainer()
	if s == nil {
		return nil
	}
	args := map[string]any{"snapshot_name": s.name, "limit": 2000}
	root, data, what := c.root, *c.data, c.id
	if o := b.anySnapshot(); b.chance(40) {
		root, data, what, args["against"] = o.root, o.data, o.name, o.name
	} else {
		args["container_id"] = c.id
	}
	b.say("diff of %s and %s", s.name, what)
	for dir, want := range map[string][]string{"/root": diffLines("/root", s.root, root), "/data": diffLines("/data", s.data, data)} {
		got, err := b.diffOf(args, dir)
		if err != nil {
			return err
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("diff of %s from %s to %s of %s:\n\t%q\nexpected\n\t%q", dir, s.name, what, b.name, got, want)
		}
	}
	return nil
}

func (b *modelBot) diffOf(args map[string]any, dir string) (lines []string, err error) {
	args = maps.Clone(args)
	args["path"] = dir
	for offset := 0; ; {
		args["offset"] = offset
		r, err := b.cl.Tool("diff_snapshot", args)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(r.Content[0].Text) {
			line = strings.TrimSuffix(line, "\n")
			if name := line[2:]; !strings.HasPrefix(name, dir+"/"+writerDir+"/") {
				lines = append(lines, line)
			}
		}
		next, more := r.Structured["next_offset"].(float64)
		if !more {
			slices.Sort(lines)
			return lines, nil
		}
		offset = int(next)
	}
}
