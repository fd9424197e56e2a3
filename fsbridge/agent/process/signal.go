package process

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"moorage/fsbridge"
)

// signalMax is the highest number of a signal, that of SIGRTMAX.
const signalMax = 64

// parseSignal reads a signal's name, with or without SIG, or its number.
func parseSignal(text string) (unix.Signal, error) {
	if n, err := strconv.Atoi(text); err == nil && n >= 1 && n <= signalMax {
		return unix.Signal(n), nil
	}
	name := strings.ToUpper(text)
	if s := unix.SignalNum("SIG" + strings.TrimPrefix(name, "SIG")); s != 0 {
		return s, nil
	}
	return 0, fsbridge.Errorf(fsbridge.OpFollow, "", fsbridge.CodeInvalid, "signal %.40q: it may be a name, as SIGTERM, TERM, INT, "+
		"HUP, KILL, QUIT, USR1, USR2, STOP, CONT or WINCH, or a number from 1 to %d", printable(text), signalMax)
}

// send sends a signal as FollowRequest says.
func (p *Process) send(s unix.Signal) {
	if s == unix.SIGKILL {
		p.kill()
		return
	}
	if p.signal(s) {
		p.signalForeground(s)
		return
	}
	for pid := range p.kin() {
		unix.Kill(pid, s)
	}
}

// signalForeground sends s to what has the terminal, if that is not the process
// group itself.
func (p *Process) signalForeground(s unix.Signal) {
	if !p.session {
		return
	}
	p.stdout.raw.Control(func(fd uintptr) {
		group, err := unix.IoctlGetInt(int(fd), unix.TIOCGPGRP)
		if err == nil && group > 1 && group != p.pid {
			unix.Kill(-group, s)
		}
	})
}
