// Package labels puts records into containerd's labels, which are the only
// record that Moorage keeps of containers and snapshots.
//
// A record is one JSON text. containerd takes 4,096 bytes of key and value
// together, so it is cut into pieces: Prefix and a number from 0.
package labels

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	// Prefix and a number is the key of a piece.
	Prefix = "moorage/spec."
	// Max is the most bytes that a record's JSON may have.
	Max = 32 << 10
	// pieceMax leaves room for the key.
	pieceMax = 3500
)

// TooLargeError says that a record has more than Max bytes.
type TooLargeError int

func (e TooLargeError) Error() string {
	return fmt.Sprintf("the record has %d bytes as JSON, at most %d are allowed", int(e), Max)
}

// Put encodes v into pieces of l. TooLargeError if it is too large.
func Put(l map[string]string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode record: %w", err)
	}
	if len(b) > Max {
		return TooLargeError(len(b))
	}
	for i := 0; len(b) > 0; i++ {
		n := pieceLen(b)
		l[Prefix+strconv.Itoa(i)] = string(b[:n])
		b = b[n:]
	}
	return nil
}

// Get decodes what Put has encoded.
func Get(l map[string]string, v any) error {
	var b strings.Builder
	for i := 0; ; i++ {
		piece, ok := l[Prefix+strconv.Itoa(i)]
		if !ok {
			break
		}
		b.WriteString(piece)
	}
	return json.Unmarshal([]byte(b.String()), v)
}

// pieceLen is how much of b fits a label without cutting a character in two:
// label values cross gRPC as UTF-8.
func pieceLen(b []byte) int {
	if len(b) <= pieceMax {
		return len(b)
	}
	n := pieceMax
	for !utf8.RuneStart(b[n]) {
		n--
	}
	return n
}
