package process

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// argMax is the longest string that a program can be given, in bytes with its
// NUL: MAX_ARG_STRLEN of linux/binfmts.h.
const argMax = 128 << 10

// A line that is longer is read by the shell from a file in memory. The line
// itself closes that, so that it has the descriptors that it would have else.
const (
	scriptFD    = 3 // the first after the three streams
	scriptLine  = ". /proc/self/fd/3"
	scriptClose = "exec 3<&-; "
)

// script makes the file of a long line.
func (e *ends) script(line string) error {
	fd, err := unix.MemfdCreate("command", unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("make a file in memory for a command line of %d bytes: %w", len(line), err)
	}
	e.more, e.owned = append(e.more, fd), append(e.owned, fd)
	// /proc/self/fd opens it anew, so its offset is that open's own.
	copied, err := unix.Dup(fd)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(copied), "command")
	defer f.Close()
	_, err = io.WriteString(f, scriptClose+line)
	return err
}
