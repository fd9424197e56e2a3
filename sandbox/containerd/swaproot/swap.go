package swaproot

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrHalf: a Swap has failed in the middle and could not be undone. Some of the
// container's mounts are gone for it: it has to be killed.
var ErrHalf = errors.New("the root filesystem is half replaced")

// Swap makes root the root of pid's mount namespace, with all other mounts of it,
// and lets the old one go. root is a detached mount (of fsmount or open_tree),
// which the caller closes; after an error it can be used no more. base is the
// host id of root in the container's user namespace, 0 if it has none.
//
// All mount points of the old root's direct children must be there in the new
// one, as what they are in the old one. That, and all else that can be known
// beforehand, is checked before anything is changed. When a step fails all the
// same, those before it are undone; if that fails too, the error wraps ErrHalf.
//
// old is a hold on the old root, to be closed as soon as nobody waits any more:
// with it goes its mount, and an overlay that is unmounted syncs the whole file
// system that its upper directory is on.
func Swap(pid int, root *os.File, base uint32) (old *os.File, err error) {
	s := swap{pid: pid, root: int(root.Fd()), base: base, old: -1}
	err = s.run()
	if s.old >= 0 {
		old = os.NewFile(uintptr(s.old), "/")
	}
	if err != nil {
		old.Close() // nil is no file, and no harm
		return nil, fmt.Errorf("replace root of process %d: %w", pid, err)
	}
	return old, nil
}

// swap is one Swap.
type swap struct {
	pid  int
	root int // the new one
	base uint32
	plan *plan
	old  int // O_PATH: "/" of the old root

	scratch *scratch
	undo    []func() error // of what was done, in its order

	fault func(step string) error // tests make steps fail; nil: none does
}

func (s *swap) run() error {
	before, err := placeOfFD(s.root)
	if err != nil || !before.dir() || !before.top {
		return errors.Join(err, errors.New("the new root is no directory that is the root of a mount"))
	}
	ns, err := unix.Open(fmt.Sprintf("/proc/%d/ns/mnt", s.pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open mount namespace: %w", err)
	}
	defer unix.Close(ns)
	table, err := readMounts(s.pid)
	if err != nil {
		return err
	}
	if s.plan, err = makePlan(table); err != nil {
		return err
	}
	if _, attached := table.find(before.mount); attached {
		return errors.New("the new root is mounted in it already")
	}
	defer s.plan.close()
	if err := onThread(func() error { return s.inside(ns) }); err != nil {
		return err
	}
	return s.verify(before.mount)
}

// verify looks at the outcome, as a process of the container has it.
func (s *swap) verify(root uint64) error {
	after, err := readMounts(s.pid)
	if err == nil && after.root != root {
		err = errors.New("its root directory is not on the new root")
	}
	if err == nil {
		_, err = makePlan(after)
	}
	if err != nil {
		return fmt.Errorf("%w: afterwards: %w", ErrHalf, err)
	}
	return nil
}

// inside is what is done by the thread in the namespace.
func (s *swap) inside(ns int) (err error) {
	if err := enter(ns); err != nil {
		return err
	}
	if err := actAs(s.base); err != nil {
		return err
	}
	if s.old, err = unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		s.old = -1
		return fmt.Errorf("open old root: %w", err)
	}
	if at, err := placeOfFD(s.old); err != nil || at.mount != s.plan.table.root {
		return errors.Join(err, errors.New("its root has just changed"))
	}
	if err := s.plan.open(s.root); err != nil {
		return err
	}
	if s.plan.stacks {
		if s.scratch, err = newScratch(); err != nil {
			return err
		}
		defer s.scratch.close()
	}
	if err := s.change(); err != nil {
		return s.takeBack(err)
	}
	return s.letGo()
}

// change does all that can be undone.
func (s *swap) change() error {
	if err := s.attach(); err != nil {
		return err
	}
	for i := range s.plan.children {
		if err := s.moveChild(&s.plan.children[i]); err != nil {
			return err
		}
	}
	return s.pivot()
}

// attach mounts the new root upon the old one, where a path from "/" does not
// lead: it begins below what is mounted there.
func (s *swap) attach() error {
	place := s.old
	if s.scratch != nil {
		if err := s.step("attach scratch mount", s.scratch.fd, s.old, detach(s.scratch.fd)); err != nil {
			return err
		}
		place = s.scratch.root
	}
	return s.step("attach new root", s.root, place, detach(s.root))
}

// moveChild moves a child, with all below it. What is stacked upon it must be
// taken off before, since only the uppermost can be reached, and put back.
func (s *swap) moveChild(c *child) error {
	for range len(c.stack) - 1 {
		if err := s.move("take off", c.at, c.open[len(c.open)-1], s.scratch.place(c.dir)); err != nil {
			return err
		}
		if _, err := c.openUpper(); err != nil {
			return fmt.Errorf("open mount below /%s: %w", c.at, err)
		}
	}
	last := len(c.open) - 1
	if err := s.move("move", c.at, c.open[last], c.target); err != nil {
		return err
	}
	for i := last - 1; i >= 0; i-- {
		if err := s.put("put back", c.at, c.open[i], c.target, s.scratch.place(c.dir)); err != nil {
			return err
		}
	}
	return nil
}

// move takes a mount from its path in the old root.
func (s *swap) move(doing, at string, fd, to int) error {
	return s.step(doing+" /"+at, fd, to, func() error { return moveToPath(fd, s.old, at) })
}

// put takes a mount from a place that is open.
func (s *swap) put(doing, at string, fd, to, from int) error {
	return s.step(doing+" /"+at, fd, to, func() error { return moveMount(fd, from) })
}

// step moves a mount, and remembers how that is undone.
func (s *swap) step(name string, fd, to int, undo func() error) error {
	err := s.failing(name)
	if err == nil {
		err = moveMount(fd, to)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	s.undo = append(s.undo, undo)
	return nil
}

func (s *swap) failing(step string) error {
	if s.fault == nil {
		return nil
	}
	return s.fault(step)
}

// pivot makes the new root the namespace's. The old one then lies upon it.
func (s *swap) pivot() error {
	if err := unix.Fchdir(s.root); err != nil {
		return fmt.Errorf("enter new root: %w", err)
	}
	err := s.failing("pivot_root")
	if err == nil {
		err = unix.PivotRoot(".", ".")
	}
	if err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	return nil
}

// takeBack undoes the steps, the last first.
func (s *swap) takeBack(cause error) error {
	for len(s.undo) > 0 {
		last := len(s.undo) - 1
		err := s.failing("undo")
		if err == nil {
			err = s.undo[last]()
		}
		if err != nil {
			return fmt.Errorf("%w: undo: %w; after %w", ErrHalf, err, cause)
		}
		s.undo = s.undo[:last]
	}
	return cause
}

// letGo detaches the old root with what is left below it. The scratch mount lies
// still upon that, and so comes first: a path to be unmounted leads to the
// uppermost.
func (s *swap) letGo() error {
	err := s.failing("unmount")
	if err == nil && s.scratch != nil {
		err = unix.Unmount(".", unix.MNT_DETACH)
	}
	if err == nil {
		err = unix.Unmount(".", unix.MNT_DETACH)
	}
	if err != nil {
		return fmt.Errorf("%w: unmount old root: %w", ErrHalf, err)
	}
	return nil
}

func moveMount(fd, to int) error {
	return unix.MoveMount(fd, "", to, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}

// moveToPath moves a mount to where it was.
func moveToPath(fd, root int, at string) error {
	return unix.MoveMount(fd, "", root, strings.TrimPrefix(at, "/"), unix.MOVE_MOUNT_F_EMPTY_PATH)
}

// detach unmounts a mount, with what is mounted in it, by a directory of it.
func detach(fd int) func() error {
	return func() error {
		if err := unix.Fchdir(fd); err != nil {
			return err
		}
		return unix.Unmount(".", unix.MNT_DETACH)
	}
}
