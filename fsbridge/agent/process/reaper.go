package process

import (
	"errors"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// reaper waits for children and gives each exit status to whom it belongs.
type reaper struct {
	all    bool // wait for any child, not only for those started here
	chld   chan os.Signal
	kick   chan struct{} // look again
	reaped chan struct{} // something was reaped; for one listener
	quit   chan struct{}
	once   sync.Once

	mu      sync.Mutex
	waiting map[int]chan<- syscall.WaitStatus
	forking int
	early   map[int]syscall.WaitStatus // ended while a fork was under way
}

func newReaper(all bool) *reaper {
	r := &reaper{
		all:     all,
		chld:    make(chan os.Signal, 1),
		kick:    make(chan struct{}, 1),
		reaped:  make(chan struct{}, 1),
		quit:    make(chan struct{}),
		waiting: make(map[int]chan<- syscall.WaitStatus),
		early:   make(map[int]syscall.WaitStatus),
	}
	signal.Notify(r.chld, unix.SIGCHLD)
	return r
}

// run reaps until close. It calls tick every now and then.
func (r *reaper) run(every time.Duration, tick func()) {
	defer signal.Stop(r.chld)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-r.chld:
		case <-r.kick:
		case <-ticker.C:
			tick()
		case <-r.quit:
			return
		}
		r.collect()
	}
}

func (r *reaper) close() { r.once.Do(func() { close(r.quit) }) }

// collect reaps every child that has ended.
func (r *reaper) collect() {
	if r.all {
		for r.reap(-1) {
		}
		return
	}
	for _, pid := range r.pids() {
		r.reap(pid)
	}
}

func (r *reaper) pids() []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	pids := make([]int, 0, len(r.waiting))
	for pid := range r.waiting {
		pids = append(pids, pid)
	}
	return pids
}

// reap waits for pid without blocking, and reports whether it found one.
func (r *reaper) reap(pid int) bool {
	var ws syscall.WaitStatus
	var err error
	for {
		if pid, err = syscall.Wait4(pid, &ws, syscall.WNOHANG, nil); !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil || pid <= 0 {
		return false
	}
	r.deliver(pid, ws)
	notify(r.reaped)
	return true
}

func (r *reaper) deliver(pid int, ws syscall.WaitStatus) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if exit, ok := r.waiting[pid]; ok {
		delete(r.waiting, pid)
		exit <- ws
	} else if r.forking > 0 {
		r.early[pid] = ws
	}
}

// start forks and returns where the child's exit status will come.
func (r *reaper) start(fork func() (pid int, err error)) (pid int, exit <-chan syscall.WaitStatus, err error) {
	r.mu.Lock()
	r.forking++
	r.mu.Unlock()
	pid, err = fork()
	r.mu.Lock()
	defer r.mu.Unlock()
	status := make(chan syscall.WaitStatus, 1)
	if err == nil {
		if ws, ended := r.early[pid]; ended {
			status <- ws
		} else {
			r.waiting[pid] = status
		}
	}
	if r.forking--; r.forking == 0 {
		clear(r.early)
	}
	if !r.all {
		notify(r.kick) // its SIGCHLD may have come before it was in waiting
	}
	return pid, status, err
}

// childless reports whether no child is left, ended or not.
func (r *reaper) childless() bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	return errors.Is(err, unix.ECHILD)
}

func notify(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
