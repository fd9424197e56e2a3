package containerd

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"

	"moorage/sandbox"
	"moorage/sandbox/containerd/quota"
)

// firstProject is the least of the numbers that bots' projects have: people and
// other programs begin at 1.
const firstProject = 1 << 30

// project is the bot's project: a number made of a hash, or the next that is
// free, remembered by a link of that name whose target is the bot. Making the
// link is the one step in which a bot gets it, whoever else asks at the moment.
func (r *Runtime) project(bot sandbox.Bot) (quota.Project, error) {
	sum := sha256.Sum256([]byte(r.instance + "\x00" + string(bot)))
	for n := binary.BigEndian.Uint32(sum[:]); ; n++ {
		p := quota.Project(firstProject | n%firstProject)
		link := filepath.Join(r.projectsDir(), strconv.FormatUint(uint64(p), 10))
		err := os.Symlink(string(bot), link)
		if errors.Is(err, os.ErrExist) {
			var owner string
			if owner, err = os.Readlink(link); err == nil && owner != string(bot) {
				continue
			}
		}
		if err != nil {
			return 0, fmt.Errorf("find the project of %s: %w", bot, err)
		}
		return p, nil
	}
}

// openDisk sets the limit of every bot that has a project, since the option may
// have changed, and says when there can be none.
func (r *Runtime) openDisk() error {
	if err := quota.Supported(r.opts.DataRoot); err != nil {
		if r.opts.MaxDisk > 0 {
			r.log.Warn("the limit on disk is not enforced", "max_disk", r.opts.MaxDisk, "err", err)
		}
		return nil
	}
	links, err := os.ReadDir(r.projectsDir())
	if err != nil {
		return err
	}
	for _, link := range links {
		n, err := strconv.ParseUint(link.Name(), 10, 32)
		if err != nil {
			continue
		}
		if err := quota.SetLimit(r.opts.DataRoot, quota.Project(n), r.opts.MaxDisk); err != nil {
			return fmt.Errorf("limit disk: %w", err)
		}
	}
	return nil
}

// limitDisk makes directories count for the bot's share of the disk, with all
// that is or will be in them. It is to be called when they are new, or again at
// any time, which is quick. Directories on a file system without project quotas
// are left as they are. What is hard-linked together must be of one bot.
func (r *Runtime) limitDisk(bot sandbox.Bot, dirs ...string) error {
	for _, dir := range dirs {
		if err := quota.Supported(dir); errors.Is(err, quota.ErrUnsupported) {
			continue
		} else if err != nil {
			return fmt.Errorf("limit disk: %w", err)
		}
		p, err := r.project(bot)
		if err != nil {
			return err
		}
		if err := errors.Join(r.setLimit(dir, p), quota.Assign(dir, p)); err != nil {
			return fmt.Errorf("limit disk: %w", err)
		}
	}
	return nil
}

// setLimit sets a project's limit the first time that a directory of its file
// system is seen. Later roomToMount may be at it.
func (r *Runtime) setLimit(dir string, p quota.Project) error {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return err
	}
	if _, done := r.limited.LoadOrStore(projectOn{p, st.Dev}, true); done {
		return nil
	}
	return quota.SetLimit(dir, p, r.opts.MaxDisk)
}

// projectOn is a project on one of the file systems.
type projectOn struct {
	project quota.Project
	device  uint64
}

// mountRoom is what mounting an overlay may take: it makes a directory anew, and
// XFS wants room for more than that before it begins.
const mountRoom = 1 << 20

// roomToMount lets the bot's share of the disk be larger by a little until the
// function that it returns is called. Without it the container of a bot that has
// used up its share could not be started, so that nothing in it could be deleted:
// overlayfs would mount read-only. Containers of one bot take turns.
func (r *Runtime) roomToMount(bot sandbox.Bot, dirs []string) func() {
	if r.opts.MaxDisk == 0 || len(dirs) == 0 || quota.Supported(dirs[0]) != nil {
		return func() {}
	}
	p, err := r.project(bot)
	if err != nil {
		return func() {}
	}
	lock, _ := r.mounting.LoadOrStore(bot, &sync.Mutex{})
	mu := lock.(*sync.Mutex)
	mu.Lock()
	set := func(most int64) {
		if err := quota.SetLimit(dirs[0], p, most); err != nil {
			r.log.Warn("set the limit on disk", "bot", bot, "err", err)
		}
	}
	used, err := quota.Read(dirs[0], p)
	if err != nil || used.Bytes+mountRoom <= r.opts.MaxDisk {
		return mu.Unlock
	}
	set(used.Bytes + mountRoom)
	return func() { set(r.opts.MaxDisk); mu.Unlock() }
}

// writable are the directories of an overlay to which it writes.
func writable(mounts []mount.Mount) []string {
	var dirs []string
	for _, m := range mounts {
		for _, o := range m.Options {
			for _, key := range []string{"upperdir=", "workdir="} {
				if dir, ok := strings.CutPrefix(o, key); ok {
					dirs = append(dirs, dir)
				}
			}
		}
	}
	return dirs
}
