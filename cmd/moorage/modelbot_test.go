package main

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// modelBot is a bot and what should be its containers and snapshots.
type modelBot struct {
	w          *modelWorld
	name       string
	rng        *rand.Rand
	cl         client
	containers map[string]*modelContainer
	snapshots  map[string]*modelSnapshot
	data       *tree // of all its containers but forks
	serial     int
	other      *client // a second session, see second
}

type modelContainer struct {
	id     string
	root   tree
	data   *tree // the bot's, or its own
	own    bool
	of     *modelSnapshot // that it is a fork of
	pairs  map[string]bool
	feeder *feeder
}

// modelSnapshot is a snapshot. Of one that was taken while a change was made, both
// states are allowed until it is looked at.
type modelSnapshot struct {
	name       string
	of         string
	root, data tree
	pairs      map[string]bool
}

// feeder is a process that has a file open and appends lines.
type feeder struct {
	process string
	n       *inode
}

// A writer is a process that writes the same numbers into the root filesystem
// and then into the data. Where the two were kept at one moment they are equal,
// or the first is one ahead. pairs are the writers, by container, whose numbers
// a state has from one moment.
const (
	writerDir    = "w"
	writerScript = `mkdir -p /root/w /data/w; for p in /proc/[0-9]*; do p=${p#/proc/}; [ $p = $$ ] || ! grep -q MODELWRITER /proc/$p/cmdline || kill -9 $p || true; done 2>/dev/null
put() { echo $n > $1/$id.new && mv $1/$id.new $1/$id; }
n=$(cat /root/w/$id /data/w/$id 2>/dev/null | sort -n | tail -n 1); n=$((n+1)); put /root/w; put /data/w; echo begun
: MODELWRITER; while :; do n=$((n+1)); put /root/w; put /data/w; done`
	feederScript = `exec 3>>$1 && echo begun && while read -r l; do echo "$l" >&3; done`
)

func (c *modelContainer) places() (root, data place) {
	return place{c.root, "/root"}, place{*c.data, "/data"}
}

func (b *modelBot) ids() []string { return slices.Sorted(maps.Keys(b.containers)) }

func (b *modelBot) anyContainer() *modelContainer {
	ids := b.ids()
	return b.containers[ids[b.rng.IntN(len(ids))]]
}

func (b *modelBot) anySnapshot() *modelSnapshot {
	names := slices.Sorted(maps.Keys(b.snapshots))
	if len(names) == 0 {
		return nil
	}
	return b.snapshots[names[b.rng.IntN(len(names))]]
}

// sharers are the containers whose data is that of c.
func (b *modelBot) sharers(c *modelContainer) (all []*modelContainer) {
	for _, id := range b.ids() {
		if o := b.containers[id]; o.data == c.data {
			all = append(all, o)
		}
	}
	return all
}

// exec runs a script that must succeed.
func (b *modelBot) exec(id, script string) (string, error) {
	r, err := b.cl.Tool("exec", map[string]any{"container_id": id, "command": "set -e\n" + script})
	if err != nil {
		return "", err
	}
	text := ""
	for _, item := range r.Content {
		text += item.Text
	}
	if code, ok := r.Structured["exit_code"].(float64); !ok || code != 0 {
		return "", fmt.Errorf("exec %q: %v: %s", script, r.Structured, text)
	}
	return text, nil
}

// change makes one change of files and compares.
func (b *modelBot) change() error {
	c := b.anyContainer()
	ch := b.randomChange(c)
	b.say("%s: %s", c.id, ch.say)
	var err error
	if ch.tool != "" {
		args := maps.Clone(ch.args)
		args["container_id"] = c.id
		_, err = b.cl.Tool(ch.tool, args)
	} else {
		_, err = b.exec(c.id, ch.script)
	}
	if err != nil {
		return fmt.Errorf("%s in %s: %w", ch.say, c.id, err)
	}
	return b.done(c, ch)
}

// done takes a change over that was made.
func (b *modelBot) done(c *modelContainer, ch *change) error {
	root, data, err := b.look(c)
	if err != nil {
		return err
	}
	isRoot := ch.in == nil || sameTree(ch.in, c.root)
	b.w.count("links broken", ch.do(root, data, isRoot))
	return b.compareSeen(c, root, data)
}

func sameTree(a, b tree) bool { return a[""] == b[""] }

// agentOf finds the container's PID 1 on the host; 0 if it does not run.
func (b *modelBot) agentOf(id string) (pid int, err error) {
	r, err := b.cl.Tool("list_containers", map[string]any{"container_id": id})
	if err != nil {
		return 0, err
	}
	facts := r.Structured["containers"].([]any)[0].(map[string]any)
	if facts["state"] != "running" {
		return 0, nil
	}
	key, _ := facts["snapshot_key"].(string)
	key = key[:strings.LastIndexByte(key, '-')]
	var files []string
	for _, pattern := range []string{"/sys/fs/cgroup/*/moorage/*/", "/sys/fs/cgroup/moorage/*/"} {
		found, _ := filepath.Glob(pattern + key + "/cgroup.procs")
		files = append(files, found...)
	}
	for _, f := range files {
		procs, _ := os.ReadFile(f)
		for pid := range strings.FieldsSeq(string(procs)) {
			status, _ := os.ReadFile("/proc/" + pid + "/status")
			for line := range strings.Lines(string(status)) {
				if f := strings.Fields(line); f[0] == "NSpid:" && f[len(f)-1] == "1" {
					return strconv.Atoi(pid)
				}
			}
		}
	}
	return 0, fmt.Errorf("no PID 1 of container %s, %s, found in %v", id, key, files)
}

// look reads both trees of a container, which is started for it.
func (b *modelBot) look(c *modelContainer) (root, data map[string]seen, err error) {
	pid, err := b.agentOf(c.id)
	if err == nil && pid == 0 {
		if _, err = b.exec(c.id, "true"); err == nil {
			pid, err = b.agentOf(c.id)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	at := fmt.Sprintf("/proc/%d/", pid)
	ids, err := os.ReadFile(at + "uid_map")
	if err != nil {
		return nil, nil, err
	}
	base, err := strconv.Atoi(strings.Fields(string(ids))[1])
	if err != nil {
		return nil, nil, err
	}
	root, err = look(at+"root/root", base, writerDir)
	if err == nil {
		data, err = look(at+"root/data", base, writerDir)
	}
	return root, data, err
}

// compare compares a container with the model.
func (b *modelBot) compare(c *modelContainer) error {
	root, data, err := b.look(c)
	if err != nil {
		return err
	}
	return b.compareSeen(c, root, data)
}

func (b *modelBot) compareSeen(c *modelContainer, root, data map[string]seen) error {
	c.root.learn(root)
	c.data.learn(data)
	diffs := c.root.compare(root)
	for n, d := range diffs {
		diffs[n] = "/root " + d
	}
	for _, d := range c.data.compare(data) {
		diffs = append(diffs, "/data "+d)
	}
	if len(diffs) > 0 {
		return fmt.Errorf("container %s of %s is not as it should be:\n\t%s", c.id, b.name, strings.Join(diffs, "\n\t"))
	}
	return nil
}

// comparePairs compares what writers wrote. None may run that writes there.
func (b *modelBot) comparePairs(c *modelContainer) error {
	for id := range c.pairs {
		text, err := b.exec(c.id, fmt.Sprintf("cat /root/w/%s /data/w/%s", id, id))
		if err != nil {
			return err
		}
		var x, y int
		if _, err := fmt.Sscan(text, &x, &y); err != nil || x != y && x != y+1 {
			return fmt.Errorf("container %s of %s is of two moments: the writer of %s had written %d to /root when it had written %d to /data", c.id, b.name, id, x, y)
		}
	}
	return nil
}

// compareAll compares all that runs, and by chance what does not, and the lists.
func (b *modelBot) compareAll(really bool) error {
	listed, err := b.listed()
	if err != nil {
		return err
	}
	if want := slices.Sorted(maps.Keys(b.snapshots)); !slices.Equal(listed, want) {
		return fmt.Errorf("the snapshots of %s are %q, expected %q", b.name, listed, want)
	}
	ids, err := b.listedContainers()
	if err != nil {
		return err
	}
	if !slices.Equal(ids, b.ids()) {
		return fmt.Errorf("the containers of %s are %q, expected %q", b.name, ids, b.ids())
	}
	for _, id := range ids {
		if !really && b.chance(60) {
			if pid, err := b.agentOf(id); err != nil || pid == 0 {
				continue
			}
		}
		if err := b.compare(b.containers[id]); err != nil {
			return err
		}
	}
	return nil
}

func (b *modelBot) listed() ([]string, error) {
	return b.list("list_snapshots", "snapshots", "snapshot_name")
}

func (b *modelBot) listedContainers() ([]string, error) {
	return b.list("list_containers", "containers", "container_id")
}

func (b *modelBot) list(tool, of, name string) (all []string, err error) {
	r, err := b.cl.Tool(tool, map[string]any{})
	if err != nil {
		return nil, err
	}
	rows, _ := r.Structured[of].([]any)
	for _, row := range rows {
		all = append(all, row.(map[string]any)[name].(string))
	}
	slices.Sort(all)
	return all, nil
}

// startWriter makes the container busy with writing.
func (b *modelBot) startWriter(c *modelContainer) error {
	b.say("%s: start a writer", c.id)
	for _, o := range b.sharers(c) {
		delete(o.pairs, c.id)
	}
	_, err := b.background(c, "id="+c.id+"; "+writerScript)
	if err != nil {
		return err
	}
	c.pairs[c.id] = true
	c.root.touch("") // a directory was made
	c.data.touch("")
	return b.compare(c)
}

// startFeeder opens a file to append to it later.
func (b *modelBot) startFeeder(c *modelContainer) error {
	root, data := c.places()
	t := root
	if b.chance(40) {
		t = data
	}
	p, ok := b.pick(t.tree, isFile)
	if !ok || c.feeder != nil {
		return nil
	}
	b.say("%s: open %q", c.id, t.at(p))
	id, err := b.background(c, "set -- "+t.q(p)+"; "+feederScript)
	if err != nil {
		return err
	}
	ch := &change{in: t.tree, name: p, apply: func() {}}
	if err := b.done(c, ch); err != nil {
		return err
	}
	c.feeder = &feeder{process: id, n: t.tree[p]}
	return nil
}

// background starts a script that says when it has begun, and goes on.
func (b *modelBot) background(c *modelContainer, script string) (process string, err error) {
	r, err := b.cl.Tool("exec", map[string]any{"container_id": c.id, "command": script, "wait_seconds": 0, "stdin_open": true, "timeout_seconds": 3600})
	if err != nil {
		return "", err
	}
	process, _ = r.Structured["process_id"].(string)
	r, err = b.cl.Tool("process", map[string]any{"container_id": c.id, "action": "read", "process_id": process, "cursor": "0", "wait_for": "begun", "wait_seconds": 10})
	if err == nil && (len(r.Content) == 0 || !strings.Contains(r.Content[0].Text, "begun")) {
		err = fmt.Errorf("process %s of %s has not begun: %+v", process, c.id, r)
	}
	return process, err
}

// feed has the feeder append a line to the file that it has open.
func (b *modelBot) feed(c *modelContainer) error {
	f := c.feeder
	if f == nil {
		return b.startFeeder(c)
	}
	b.serial++
	line := fmt.Sprintf("fed %d\n", b.serial)
	b.say("%s: append %q by the process that has it open", c.id, line)
	if _, err := b.cl.Tool("process", map[string]any{"container_id": c.id, "action": "write", "process_id": f.process, "input": line}); err != nil {
		return err
	}
	f.n.set(slices.Concat(f.n.content, []byte(line)))
	var err error
	for range 200 { // until the process has read it
		if err = b.compare(c); err == nil {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return err
}

// idle ends the container's processes.
func (b *modelBot) idle(c *modelContainer) error {
	b.say("%s: end its processes", c.id)
	_, err := b.exec(c.id, `for p in /proc/[0-9]*; do p=${p#/proc/}; [ $p = 1 ] || [ $p = $$ ] || kill -9 $p || true; done 2>/dev/null`)
	c.feeder = nil
	return errors.Join(err, b.comparePairs(c))
}

func (b *modelBot) say(format string, args ...any) { b.w.say(b.name+" "+format, args...) }
