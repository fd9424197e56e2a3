package swaproot

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// onThread runs f on an operating system thread that ends with it. That is never
// the process's main thread: it cannot end, and /proc/self shows its namespaces.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			done <- f() // the lock is not given back: so the thread ends
			return
		}
		done <- onThread(f) // while this holds the main one
		runtime.UnlockOSThread()
	}()
	return <-done
}

// enter brings the thread into the mount namespace of a process.
func enter(ns int) error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Setns(ns, unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("enter mount namespace: %w", err)
	}
	return nil
}

// actAs makes the thread's file accesses those of a host id, with all
// capabilities that it has. 0 changes nothing.
func actAs(id uint32) error {
	if id == 0 {
		return nil
	}
	unix.SetfsgidRetGid(int(id))
	unix.SetfsuidRetUid(int(id))
	gid, _ := unix.SetfsgidRetGid(-1) // which changes nothing, and tells what is
	uid, _ := unix.SetfsuidRetUid(-1)
	if uid != int(id) || gid != int(id) {
		return errors.New("setfsuid: refused")
	}
	// The kernel has taken those on files away.
	h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	if err := unix.Capget(&h, &caps[0]); err != nil {
		return fmt.Errorf("capget: %w", err)
	}
	for i := range caps {
		caps[i].Effective = caps[i].Permitted
	}
	if err := unix.Capset(&h, &caps[0]); err != nil {
		return fmt.Errorf("capset: %w", err)
	}
	return nil
}
