package process

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"moorage/fsbridge"
)

// ends are a child's ends of its three streams.
type ends struct {
	in, out, err int
	more         []int // what it has besides, from scriptFD on
	owned        []int // to be closed when the child has them
}

func (e *ends) close() {
	for _, fd := range e.owned {
		unix.Close(fd)
	}
	e.owned = nil
}

// pipes makes a pipe for each stream. Without input, stdin is /dev/null.
func (e *ends) pipes(fed bool) (in, out, errs *os.File, err error) {
	defer func() {
		if err != nil {
			closeAll(in, out, errs)
			e.close()
			in, out, errs = nil, nil, nil
		}
	}()
	if fed {
		if in, err = e.pipe(&e.in, 0); err != nil {
			return in, out, errs, err
		}
	} else if err = e.null(); err != nil {
		return in, out, errs, err
	}
	if out, err = e.pipe(&e.out, 1); err != nil {
		return in, out, errs, err
	}
	errs, err = e.pipe(&e.err, 1)
	return in, out, errs, err
}

// pipe makes a pipe of which the child gets the end theirs: 0 to read, 1 to
// write. The agent's end does not block.
func (e *ends) pipe(child *int, theirs int) (*os.File, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, err
	}
	*child = fds[theirs]
	e.owned = append(e.owned, fds[theirs])
	ours := fds[1-theirs]
	if err := unix.SetNonblock(ours, true); err != nil {
		unix.Close(ours)
		return nil, err
	}
	return os.NewFile(uintptr(ours), "pipe"), nil
}

// null makes stdin one that is at its end: /dev/null, or in an image without
// that a pipe nobody writes to.
func (e *ends) null() error {
	fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err == nil {
		e.in, e.owned = fd, append(e.owned, fd)
		return nil
	}
	w, err := e.pipe(&e.in, 0)
	if err == nil {
		w.Close()
	}
	return err
}

func closeAll(files ...*os.File) {
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
}

const (
	defaultRows = 24
	defaultCols = 80
)

// terminal makes a pseudo-terminal, all three streams of which the child gets.
func (e *ends) terminal(size *fsbridge.WinSize, cred *syscall.Credential) (*os.File, error) {
	master, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, noTerminal(err)
	}
	slave, err := openPeer(master)
	if err != nil {
		unix.Close(master)
		return nil, noTerminal(err)
	}
	ws := unix.Winsize{Row: size.Rows, Col: size.Cols}
	if ws.Row == 0 {
		ws.Row = defaultRows
	}
	if ws.Col == 0 {
		ws.Col = defaultCols
	}
	unix.IoctlSetWinsize(master, unix.TIOCSWINSZ, &ws)
	if cred != nil {
		unix.Fchown(slave, int(cred.Uid), -1)
	}
	e.in, e.out, e.err, e.owned = slave, slave, slave, append(e.owned, slave)
	return os.NewFile(uintptr(master), "/dev/ptmx"), nil
}

func noTerminal(err error) error {
	e := fsbridge.NewError(fsbridge.OpExec, "/dev/ptmx", err)
	e.Message = "open pseudo-terminal: " + e.Message
	return e
}

// openPeer opens the other end of a pseudo-terminal, by its master since the
// path of it may be another's.
func openPeer(master int) (int, error) {
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return 0, err
	}
	flags := uintptr(unix.O_RDWR | unix.O_NOCTTY | unix.O_CLOEXEC)
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, flags)
	if errno == 0 {
		return int(fd), nil
	}
	if !errors.Is(errno, unix.EINVAL) && !errors.Is(errno, unix.ENOTTY) {
		return 0, errno
	}
	var n uint32 // a kernel before 4.13
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTN, uintptr(unsafe.Pointer(&n))); errno != 0 {
		return 0, errno
	}
	return unix.Open(fmt.Sprintf("/dev/pts/%d", n), int(flags), 0)
}
