package quota

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// Options of Projects. All are required, but Most.
type Options struct {
	Root string // a directory on the file system that is limited
	Dir  string // where the numbers are remembered, an existing directory
	Seed string // that the numbers are made of, so that two users of a host seldom meet
	Most int64  // bytes that an owner may have on disk; 0 = all there is
	Log  *slog.Logger
}

// Projects gives each owner a project and limits it. Its methods may be called at
// once. Where there are no project quotas they do nothing.
type Projects struct {
	opts Options

	limited  sync.Map // projectOn: those whose limit this process has set
	mounting sync.Map // by owner: *sync.Mutex, held while its limit is raised for a mount
}

// NewProjects makes a Projects; see Open.
func NewProjects(o Options) *Projects { return &Projects{opts: o} }

// firstProject is the least of the numbers that bots' projects have: people and
// other programs begin at 1.
const firstProject = 1 << 30

// project is an owner's project: a number made of a hash, or the next that is free,
// remembered by a link of that name whose target is the owner. Making the link is
// the one step in which an owner gets it, whoever else asks at the moment.
func (s *Projects) project(owner string) (Project, error) {
	sum := sha256.Sum256([]byte(s.opts.Seed + "\x00" + owner))
	for n := binary.BigEndian.Uint32(sum[:]); ; n++ {
		p := Project(firstProject | n%firstProject)
		link := filepath.Join(s.opts.Dir, strconv.FormatUint(uint64(p), 10))
		err := os.Symlink(owner, link)
		if errors.Is(err, os.ErrExist) {
			var other string
			if other, err = os.Readlink(link); err == nil && other != owner {
				continue
			}
		}
		if err != nil {
			return 0, fmt.Errorf("find the project of %s: %w", owner, err)
		}
		return p, nil
	}
}

// Open sets the limit of every owner that has a project, since the option may
// have changed, and says when there can be none.
func (s *Projects) Open() error {
	if err := Supported(s.opts.Root); err != nil {
		if s.opts.Most > 0 {
			s.opts.Log.Warn("the limit on disk is not enforced", "max_disk", s.opts.Most, "err", err)
		}
		return nil
	}
	links, err := os.ReadDir(s.opts.Dir)
	if err != nil {
		return err
	}
	for _, link := range links {
		n, err := strconv.ParseUint(link.Name(), 10, 32)
		if err != nil {
			continue
		}
		if err := SetLimit(s.opts.Root, Project(n), s.opts.Most); err != nil {
			return fmt.Errorf("limit disk: %w", err)
		}
	}
	return nil
}

// Limit makes directories count for the owner's share of the disk, with all
// that is or will be in them. It is to be called when they are new, or again at
// any time, which is quick. Directories on a file system without project quotas
// are left as they are. What is hard-linked together must be of one owner.
func (s *Projects) Limit(owner string, dirs ...string) error {
	for _, dir := range dirs {
		if err := Supported(dir); errors.Is(err, ErrUnsupported) {
			continue
		} else if err != nil {
			return fmt.Errorf("limit disk: %w", err)
		}
		p, err := s.project(owner)
		if err != nil {
			return err
		}
		if err := errors.Join(s.setLimit(dir, p), Assign(dir, p)); err != nil {
			return fmt.Errorf("limit disk: %w", err)
		}
	}
	return nil
}

// setLimit sets a project's limit the first time that a directory of its file
// system is seen. Later RoomToMount may be at it.
func (s *Projects) setLimit(dir string, p Project) error {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return err
	}
	if _, done := s.limited.LoadOrStore(projectOn{p, st.Dev}, true); done {
		return nil
	}
	return SetLimit(dir, p, s.opts.Most)
}

// projectOn is a project on one of the file systems.
type projectOn struct {
	project Project
	device  uint64
}

// mountRoom is what mounting an overlay may take: it makes a directory anew, and
// XFS wants room for more than that before it begins.
const mountRoom = 1 << 20

// RoomToMount lets the owner's share of the disk be larger by a little until the
// function that it returns is called. Without it the container of a bot that has
// used up its share could not be started, so that nothing in it could be deleted:
// overlayfs would mount read-only. Containers of one bot take turns.
func (s *Projects) RoomToMount(owner string, dirs []string) func() {
	if s.opts.Most == 0 || len(dirs) == 0 || Supported(dirs[0]) != nil {
		return func() {}
	}
	p, err := s.project(owner)
	if err != nil {
		return func() {}
	}
	lock, _ := s.mounting.LoadOrStore(owner, &sync.Mutex{})
	mu := lock.(*sync.Mutex)
	mu.Lock()
	set := func(most int64) {
		if err := SetLimit(dirs[0], p, most); err != nil {
			s.opts.Log.Warn("set the limit on disk", "owner", owner, "err", err)
		}
	}
	used, err := Read(dirs[0], p)
	if err != nil || used.Bytes+mountRoom <= s.opts.Most {
		return mu.Unlock
	}
	set(used.Bytes + mountRoom)
	return func() { set(s.opts.Most); mu.Unlock() }
}
