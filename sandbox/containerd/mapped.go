package containerd

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// mapped tells of which files, by their inode, a process of these containers has
// a writable shared mapping: a write through one need not change the file's
// times.
func (r *Runtime) mapped(members []*member) func(uint64) bool {
	inodes := map[uint64]bool{}
	for _, m := range members {
		for _, pid := range r.processes(m.key) {
			addMapped(inodes, pid)
		}
	}
	return func(ino uint64) bool { return inodes[ino] }
}

// addMapped reads a process's mappings: one line each, of which the kernel allows
// 65,530 (vm.max_map_count).
func addMapped(inodes map[uint64]bool, pid int) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return // it has ended
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		// address perms offset dev inode path
		field := strings.Fields(lines.Text())
		if len(field) < 5 || len(field[1]) != 4 || field[1][1] != 'w' || field[1][3] != 's' {
			continue
		}
		if ino, err := strconv.ParseUint(field[4], 10, 64); err == nil && ino != 0 {
			inodes[ino] = true
		}
	}
}
