package process

import (
	"bytes"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// commandScore is the oom_score_adj of commands. It is far above the agent's, so
// that of all in the container the kernel kills the agent last.
const commandScore = 500

// score is the agent's own oom_score_adj, which a child inherits. Around a fork
// it is that of commands: written after the fork it would come too late for what
// the command itself has forked by then. No privilege is needed to raise it and
// to bring it back. Where it cannot be written, all have the agent's.
type score struct {
	mu  sync.Mutex
	fd  int
	own []byte
}

func (s *score) open() {
	s.fd = -1
	fd, err := unix.Open("/proc/self/oom_score_adj", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	var buf [16]byte
	n, err := unix.Pread(fd, buf[:], 0)
	own := bytes.TrimSpace(buf[:max(n, 0)])
	if adj, bad := strconv.Atoi(string(own)); err != nil || bad != nil || adj >= commandScore {
		unix.Close(fd)
		return
	}
	s.fd, s.own = fd, own
}

// lend runs fork while the score is that of commands.
func (s *score) lend(fork func() (int, error)) (int, error) {
	if s.fd < 0 {
		return fork()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	unix.Pwrite(s.fd, strconv.AppendInt(nil, commandScore, 10), 0)
	defer unix.Pwrite(s.fd, s.own, 0)
	return fork()
}

func (s *score) close() {
	if s.fd >= 0 {
		unix.Close(s.fd)
		s.fd = -1
	}
}
