package fsbridge

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// buildPrefix begins the build id that the Go linker puts near a program's start.
var buildPrefix = []byte("\xff Go build ID: \"")

// buildScan is how much of a program is searched for it, as `go tool buildid` does.
const buildScan = 32 << 10

// BuildOf returns the content hash in the Go build id of the program whose file
// r reads. The agent says it in its hello; of its own copy of the agent, the
// server learns by it whether a container runs the same.
func BuildOf(r io.Reader) (string, error) {
	start := make([]byte, buildScan)
	n, err := io.ReadFull(r, start)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "", fmt.Errorf("read program: %w", err)
	}
	_, rest, found := bytes.Cut(start[:n], buildPrefix)
	id, _, ended := bytes.Cut(rest, []byte{'"'})
	if !found || !ended || len(id) == 0 {
		return "", errors.New("read program: it has no Go build id")
	}
	return string(id[bytes.LastIndexByte(id, '/')+1:]), nil
}
