package handover

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Version is of the journal and of what is said about it. A client that offers
// its descriptors and a server that takes them both name it in their handshake.
const Version = 1

// timeout bounds each step of handing over.
const timeout = 5 * time.Second

// What is said on the socket, a byte each.
const (
	tagJournal = 'J' // from the server, with the journal
	tagEnds    = 'E' // from the client, with its input and its output
	tagTaken   = 'T' // from the server: it reads and writes them now
	tagLines   = 'L' // from either: nothing is handed over; lines follow on the socket
	tagDone    = 'D' // from the server: the input has ended and all is answered
)

// Take is the server's side. It is nil without error if either side would rather
// have lines on the socket.
func Take(c *net.UnixConn) (*Lines, error) {
	j, fd, err := create()
	if err != nil {
		return nil, errors.Join(err, send(c, tagLines))
	}
	err = send(c, tagJournal, fd)
	unix.Close(fd)
	var l *Lines
	if err == nil {
		l, err = take(c, j)
	}
	if l == nil {
		j.close()
	}
	return l, err
}

func take(c *net.UnixConn, j *journal) (*Lines, error) {
	tag, fds, err := receive(c, 2)
	defer closeAll(fds)
	if err != nil || tag == tagLines {
		return nil, err
	}
	if tag != tagEnds || len(fds) != 2 {
		return nil, fmt.Errorf("take over: the client sent %q with %d descriptors, expected %q with 2", tag, len(fds), tagEnds)
	}
	user, err := userOf(c)
	if err != nil {
		return nil, err
	}
	in, err := open(fds[0], false, user)
	if err != nil {
		return nil, send(c, tagLines)
	}
	out, err := open(fds[1], true, user)
	if err != nil {
		return nil, errors.Join(send(c, tagLines), in.Close())
	}
	l, err := newLines(j, in, out)
	if err == nil {
		err = send(c, tagTaken)
	}
	if err != nil {
		return nil, errors.Join(err, in.Close(), out.Close())
	}
	return l, nil
}

// userOf is the user who connected.
func userOf(c *net.UnixConn) (user uint32, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) { cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return 0, err
	}
	if credErr != nil {
		return 0, os.NewSyscallError("getsockopt", credErr)
	}
	return cred.Uid, nil
}

// Done tells the client that the input has ended and all is answered.
func Done(c *net.UnixConn) error { return send(c, tagDone) }

// Give is the client's side: a server that said it would gets the descriptors,
// and state to begin with. It is nil without error if lines are to be used.
func Give(c *net.UnixConn, e *Ends, s State) (*Handed, error) {
	tag, fds, err := receive(c, 1)
	defer closeAll(fds)
	switch {
	case err != nil, tag == tagLines:
		return nil, err
	case tag != tagJournal || len(fds) != 1:
		return nil, fmt.Errorf("hand over: the server sent %q with %d descriptors, expected %q with 1", tag, len(fds), tagJournal)
	}
	j, err := openJournal(fds[0])
	if err != nil || !s.fits() {
		return nil, errors.Join(err, send(c, tagLines))
	}
	j.put(s)
	if err = send(c, tagEnds, e.fds[:]...); err == nil {
		tag, _, err = receive(c, 0)
	}
	if err == nil && tag == tagTaken {
		return &Handed{j, c}, nil
	}
	j.close()
	if err == nil && tag != tagLines {
		err = fmt.Errorf("hand over: the server sent %q, expected %q or %q", tag, tagTaken, tagLines)
	}
	return nil, err
}

func send(c *net.UnixConn, tag byte, fds ...int) error {
	if err := c.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	_, _, err := c.WriteMsgUnix([]byte{tag}, rights, nil)
	return errors.Join(err, c.SetWriteDeadline(time.Time{}))
}

// receive reads one tag and at most so many descriptors, which are the caller's.
func receive(c *net.UnixConn, most int) (tag byte, fds []int, err error) {
	if err := c.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return 0, nil, err
	}
	b := []byte{0}
	rights := make([]byte, most*unix.CmsgSpace(4)) // what does not fit is closed by the kernel
	n, rn, _, _, err := c.ReadMsgUnix(b, rights)
	if err == nil && n == 0 {
		err = net.ErrClosed
	}
	messages, parseErr := unix.ParseSocketControlMessage(rights[:rn])
	for _, m := range messages {
		got, err := unix.ParseUnixRights(&m)
		if err == nil {
			fds = append(fds, got...)
		}
	}
	if err = errors.Join(err, parseErr, c.SetReadDeadline(time.Time{})); err != nil {
		closeAll(fds)
		return 0, nil, err
	}
	return b[0], fds, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
