package process

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// markName is a variable in the environment of every command: the process's id.
// Children inherit it, also those that leave group and session and whose parents
// have ended. A program that clears its environment, or writes over it, is found
// only as a descendant.
const markName = "MOORAGE_PROCESS_ID"

// killRounds is how often a kill looks for what was forked meanwhile.
const killRounds = 20

// kill kills the process group, and all descendants that can be found. They are
// stopped first, until none is new: what forks for ever cannot outrun that.
func (p *Process) kill() {
	found := make(map[int]bool)
	for range killRounds {
		if !p.signalNew(found, unix.SIGSTOP) {
			break
		}
	}
	for pid := range found {
		unix.Kill(pid, unix.SIGKILL)
	}
	p.signal(unix.SIGKILL)
	for range killRounds { // one that was in an exec had no environment to be seen
		if !p.signalNew(found, unix.SIGKILL) {
			break
		}
	}
}

// signalNew sends s to the descendants that are not among those found, adds them,
// and reports whether there was any.
func (p *Process) signalNew(found map[int]bool, s unix.Signal) (fresh bool) {
	for pid := range p.kin() {
		if !found[pid] {
			unix.Kill(pid, s)
			found[pid], fresh = true, true
		}
	}
	return fresh
}

// kin finds the processes that descend from p, itself included.
func (p *Process) kin() map[int]bool {
	list := p.t.census.take()
	kin := make(map[int]bool)
	gone := p.isReaped() // then the pid may be another's
	for _, n := range list {
		if n.mark == p.id || !gone && (n.pid == p.pid || n.group == p.pid || n.session == p.pid) {
			kin[n.pid] = true
		}
	}
	for grown := true; grown; {
		grown = false
		for _, n := range list {
			if !kin[n.pid] && (kin[n.parent] || kin[n.session]) {
				kin[n.pid], grown = true, true
			}
		}
	}
	return kin
}

// census looks at all processes. Those who ask while it looks share the next.
type census struct {
	looking sync.Mutex
	mu      sync.Mutex
	next    *poll
}

type poll struct {
	once sync.Once
	list []node
}

// take returns the processes as they are after the call has begun.
func (c *census) take() []node {
	c.mu.Lock()
	if c.next == nil {
		c.next = new(poll)
	}
	next := c.next
	c.mu.Unlock()
	next.once.Do(func() {
		c.looking.Lock()
		defer c.looking.Unlock()
		c.mu.Lock()
		c.next = nil
		c.mu.Unlock()
		next.list = nodes()
	})
	return next.list
}

// node is a process of the container.
type node struct {
	pid, parent, group, session int

	mark string // the value of markName, or ""
}

// nodes lists the processes that have not ended, but for the agent itself.
func nodes() (list []node) {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer proc.Close()
	names, _ := proc.Readdirnames(-1)
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || pid <= 1 || pid == os.Getpid() {
			continue
		}
		if n, ok := lookAt(pid); ok {
			list = append(list, n)
		}
	}
	return list
}

func lookAt(pid int) (n node, ok bool) {
	dir := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return n, false
	}
	// pid (name) state ppid pgrp session, and the name may hold anything.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 4 || fields[0] == "Z" || fields[0] == "X" {
		return n, false
	}
	n.pid = pid
	n.parent, _ = strconv.Atoi(fields[1])
	n.group, _ = strconv.Atoi(fields[2])
	n.session, _ = strconv.Atoi(fields[3])
	n.mark = markOf(dir)
	return n, true
}

// markOf reads the mark of a process. Its environment is for its own user's eyes;
// root sees it only with a capability that the agent need not have.
func markOf(dir string) string {
	if f, err := os.Open(dir + "/environ"); err == nil {
		defer f.Close()
		return findMark(f)
	}
	var st unix.Stat_t
	if os.Getuid() != 0 || unix.Stat(dir, &st) != nil || st.Uid == 0 {
		return ""
	}
	return markAs(dir, int(st.Uid), int(st.Gid))
}

// markAs is markOf in the eyes of a user.
func markAs(dir string, uid, gid int) string {
	f, err := openAs(dir+"/environ", uid, gid)
	if err != nil {
		return ""
	}
	defer f.Close()
	return findMark(f)
}

// openAs opens a file as a user. A change of user makes the kernel hide what
// /proc has of the agent from others, until it is told not to.
func openAs(path string, uid, gid int) (*os.File, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	shown, _ := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	unix.SetfsgidRetGid(gid)
	unix.SetfsuidRetUid(uid)
	f, err := os.Open(path)
	unix.SetfsuidRetUid(0)
	unix.SetfsgidRetGid(0)
	if shown == 1 {
		unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
	}
	return f, err
}

// findMark looks for the mark in an environment.
func findMark(environ io.Reader) string {
	r := bufio.NewReaderSize(environ, 4096)
	for whole := true; ; {
		item, err := r.ReadSlice(0)
		if mark, ok := bytes.CutPrefix(item, []byte(markName+"=")); ok && whole {
			return string(bytes.TrimRight(mark, "\x00"))
		}
		if err != nil && err != bufio.ErrBufferFull {
			return ""
		}
		whole = err == nil
	}
}
