package copier

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// direntSize is the buffer of one getdents64.
const direntSize = 64 << 10

// readNames reads the names in a directory but "." and "..", in the file
// system's order, and what type each was if the file system says.
func (w *worker) readNames(fd int, each func(name []byte, kind byte)) error {
	if _, err := unix.Seek(fd, 0, unix.SEEK_SET); err != nil {
		return err
	}
	buf := buffer(&w.dirent, direntSize)
	for {
		n, err := retry(func() (int, error) { return unix.Getdents(fd, buf) })
		if err != nil || n == 0 {
			return err
		}
		for b := buf[:n]; len(b) >= direntName; {
			size := int(binary.NativeEndian.Uint16(b[16:]))
			name := b[direntName:size]
			if i := bytes.IndexByte(name, 0); i >= 0 {
				name = name[:i]
			}
			if s := string(name); s != "." && s != ".." && s != "" && !strings.Contains(s, "/") {
				each(name, b[18])
			}
			b = b[size:]
		}
	}
}

// direntName is where the name begins in a linux_dirent64: after d_ino (8),
// d_off (8), d_reclen (2) and d_type (1).
const direntName = 19

// list returns the names in a directory, sorted, each once.
func (w *worker) list(fd int) ([]string, error) {
	var blob []byte
	var ends []int
	err := w.readNames(fd, func(name []byte, _ byte) {
		blob = append(blob, name...)
		ends = append(ends, len(blob))
	})
	if err != nil {
		return nil, err
	}
	all := string(blob)
	names := make([]string, len(ends))
	begin := 0
	for i, end := range ends {
		names[i] = all[begin:end]
		begin = end
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
