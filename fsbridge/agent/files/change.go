package files

import (
	"context"
	"errors"
	"io"

	"golang.org/x/sys/unix"

	"moorage/fsbridge"
)

// readWhole reads a file that is to be changed; done gives back the turn of a
// large one, and must be called.
func (t *Tree) readWhole(ctx context.Context, op fsbridge.Op, path fsbridge.Path, f *file) (content []byte, done func(), err error) {
	if f.st.Size > fsbridge.ChangeMax {
		return nil, nil, tooLarge(op, path, f.st.Size)
	}
	done = func() {}
	if f.st.Size > largeChange {
		select {
		case t.large <- struct{}{}:
			done = func() { <-t.large }
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
	content, eof, err := f.take(ctx, nil, 0, fsbridge.ChangeMax+1)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		done()
		return nil, nil, f.readError(op, path, err)
	case !eof:
		done()
		return nil, nil, tooLarge(op, path, int64(len(content)))
	}
	return content, done, nil
}

func tooLarge(op fsbridge.Op, path fsbridge.Path, size int64) error {
	return fsbridge.Errorf(op, path, fsbridge.CodeTooLarge,
		"it has %d bytes, the most that is changed in place is %d; change it by a command, as sed -i", size, fsbridge.ChangeMax)
}

// about puts the operation and the path into an error of package text.
func about(op fsbridge.Op, path fsbridge.Path, err error) error {
	var own *fsbridge.Error
	if errors.As(err, &own) && own.Op == "" {
		own.Op, own.Path = op.String(), path
	}
	return err
}

// exchange swaps two names. A file system that cannot says EINVAL.
func exchange(dirA int, a string, dirB int, b string) error {
	err := retry(func() error { return unix.Renameat2(dirA, a, dirB, b, unix.RENAME_EXCHANGE) })
	if errors.Is(err, unix.ENOSYS) {
		return unix.EINVAL
	}
	return err
}

// renameNew renames to a name that must be free: EEXIST if it is not.
func renameNew(dirA int, a string, dirB int, b string) error {
	err := retry(func() error { return unix.Renameat2(dirA, a, dirB, b, unix.RENAME_NOREPLACE) })
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	var st unix.Stat_t // not every file system knows the flag
	switch err := unix.Fstatat(dirB, b, &st, unix.AT_SYMLINK_NOFOLLOW); {
	case err == nil:
		return unix.EEXIST
	case !errors.Is(err, unix.ENOENT):
		return err
	}
	return rename(dirA, a, dirB, b)
}

// rename renames, over whatever is there.
func rename(dirA int, a string, dirB int, b string) error {
	return retry(func() error { return unix.Renameat(dirA, a, dirB, b) })
}

// link gives a node one more name.
func link(dirA int, a string, dirB int, b string) error {
	return retry(func() error { return unix.Linkat(dirA, a, dirB, b, 0) })
}
