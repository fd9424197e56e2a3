package rootmount

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"moorage/sandbox/containerd/idmap"
)

// onThread runs f on an OS thread that ends with it, since what f does to itself
// cannot be undone. The process's first thread never ends: it is not taken.
func onThread(f func() (*os.File, error)) (file *os.File, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			defer runtime.UnlockOSThread()
			file, err = onThread(f)
			return
		}
		file, err = f() // still locked at its end, so the thread goes too
	}()
	<-done
	return file, err
}

// workIn gives the thread a working directory of its own and the ids of the
// range's root for all that it does with files.
func workIn(dir string, ids idmap.Range) error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare working directory: %w", err)
	}
	if err := unix.Chdir(dir); err != nil {
		return fmt.Errorf("work in %s: %w", dir, err)
	}
	return actAs(ids)
}

// actAs makes files on behalf of the range's root. Leaving id 0 takes the
// capabilities that go with files; they are taken back.
func actAs(ids idmap.Range) error {
	if ids.IsZero() {
		return nil
	}
	if _, err := unix.SetfsgidRetGid(int(ids.Base)); err != nil {
		return fmt.Errorf("set file system group id %d: %w", ids.Base, err)
	}
	if _, err := unix.SetfsuidRetUid(int(ids.Base)); err != nil {
		return fmt.Errorf("set file system user id %d: %w", ids.Base, err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("get capabilities: %w", err)
	}
	for i := range data {
		data[i].Effective = data[i].Permitted
	}
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fmt.Errorf("set capabilities: %w", err)
	}
	return nil
}
