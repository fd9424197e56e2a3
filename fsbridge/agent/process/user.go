package process

import (
	"bufio"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"moorage/fsbridge"
)

const (
	passwdFile = "/etc/passwd"
	groupFile  = "/etc/group"
	accountMax = 1 << 20 // bytes of those files that are read
	idMax      = 1<<31 - 1
)

// user is whom a command runs as.
type user struct {
	set    bool // other than the agent
	name   string
	home   string
	uid    uint32
	gid    uint32
	groups []uint32
}

// credential is nil for the agent's own.
func (u *user) credential() *syscall.Credential {
	if !u.set {
		return nil
	}
	return &syscall.Credential{Uid: u.uid, Gid: u.gid, Groups: u.groups}
}

// lookup finds a user given as name, uid, name:group or uid:gid, in the files of
// the image. A number needs no entry there: its group is then 0. A group that is
// named replaces all that the user has.
func lookup(spec string) (*user, error) {
	if spec == "" {
		return &user{}, nil
	}
	name, group, hasGroup := strings.Cut(spec, ":")
	u, err := lookupUser(name)
	if err != nil {
		return nil, err
	}
	if !hasGroup {
		u.groups = append(u.groups, groupsOf(u.name)...)
		return u, nil
	}
	if u.gid, err = lookupGroup(group); err != nil {
		return nil, err
	}
	return u, nil
}

func lookupUser(name string) (*user, error) {
	u := &user{set: true, home: "/"}
	id, numeric := parseID(name)
	found := false
	eachLine(passwdFile, func(f []string) bool {
		if len(f) < 6 || f[0] != name && !(numeric && f[2] == strconv.FormatUint(uint64(id), 10)) {
			return true
		}
		uid, ok := parseID(f[2])
		gid, ok2 := parseID(f[3])
		if !ok || !ok2 {
			return true
		}
		u.name, u.uid, u.gid, found = f[0], uid, gid, true
		if strings.HasPrefix(f[5], "/") {
			u.home = f[5]
		}
		return false
	})
	if !found && !numeric {
		return nil, fsbridge.Errorf(fsbridge.OpExec, "", fsbridge.CodeInvalid, "user %.80q: no such name in %s", name, passwdFile)
	}
	if !found {
		u.uid = id
	}
	return u, nil
}

func lookupGroup(name string) (gid uint32, err error) {
	if id, ok := parseID(name); ok {
		return id, nil
	}
	found := false
	eachLine(groupFile, func(f []string) bool {
		if len(f) >= 3 && f[0] == name {
			gid, found = parseID(f[2])
		}
		return !found
	})
	if !found {
		return 0, fsbridge.Errorf(fsbridge.OpExec, "", fsbridge.CodeInvalid, "group %.80q: no such name in %s", name, groupFile)
	}
	return gid, nil
}

// groupsOf returns the groups that have name as a member.
func groupsOf(name string) (gids []uint32) {
	if name == "" {
		return nil
	}
	eachLine(groupFile, func(f []string) bool {
		if len(f) >= 4 && slices.Contains(strings.Split(f[3], ","), name) {
			if gid, ok := parseID(f[2]); ok {
				gids = append(gids, gid)
			}
		}
		return len(gids) < 1024
	})
	return gids
}

func parseID(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil && n <= idMax
}

// eachLine calls f with the fields of each line until it returns false. A file
// that cannot be read has none.
func eachLine(path string, f func(fields []string) bool) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	file := os.NewFile(uintptr(fd), path)
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return
	}
	lines := bufio.NewScanner(io.LimitReader(file, accountMax))
	for lines.Scan() {
		if !f(strings.Split(lines.Text(), ":")) {
			return
		}
	}
}
