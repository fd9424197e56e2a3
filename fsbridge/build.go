package fsbridge

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// buildNote is the type and the name of the ELF note in which the Go linker puts
// the build id, after 4 bytes with the id's length.
var buildNote = []byte("\x04\x00\x00\x00Go\x00\x00")

const (
	// buildScan is how much of a program is searched for the note, which is near
	// its start.
	buildScan = 32 << 10
	buildMax  = 256
)

// BuildOf returns the content hash in the Go build id of the program whose file
// r reads. The agent says it in its hello; of its own copy of the agent, the
// server learns by it whether a container runs the same.
func BuildOf(r io.Reader) (string, error) {
	start := make([]byte, buildScan)
	n, err := io.ReadFull(r, start)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "", fmt.Errorf("read program: %w", err)
	}
	start = start[:n]
	at := bytes.Index(start, buildNote)
	if at < 4 {
		return "", errors.New("read program: it has no Go build id")
	}
	size := binary.LittleEndian.Uint32(start[at-4:])
	id := start[at+len(buildNote):]
	if size == 0 || size > buildMax || int(size) > len(id) {
		return "", errors.New("read program: its Go build id is malformed")
	}
	id = id[:size]
	return string(id[bytes.LastIndexByte(id, '/')+1:]), nil
}
