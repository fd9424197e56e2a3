package files

import (
	"bytes"
	"io"
	"unicode/utf8"

	"moorage/fsbridge"
)

// trimRune cuts off a character at the end of b that is not whole.
func trimRune(b []byte) []byte {
	for i := len(b) - 1; i >= 0 && i >= len(b)-utf8.UTFMax; i-- {
		if !utf8.RuneStart(b[i]) {
			continue
		}
		if !utf8.FullRune(b[i:]) {
			return b[:i]
		}
		break
	}
	return b
}

// checkEdge refuses a start that is inside a character.
func (r *reader) checkEdge(off int64) error {
	from := max(off-utf8.UTFMax+1, 0)
	var near [2*utf8.UTFMax - 1]byte
	n, err := r.f.readAt(near[:], from)
	if err != nil && err != io.EOF {
		return err
	}
	at := int(off - from)
	if at >= n || utf8.RuneStart(near[at]) {
		return nil
	}
	for i := at - 1; i >= 0; i-- {
		if !utf8.RuneStart(near[i]) {
			continue
		}
		if _, size := utf8.DecodeRune(near[i:n]); i+size > at {
			return fsbridge.Errorf(fsbridge.OpRead, r.req.Path, fsbridge.CodeInvalid,
				"byte %d is inside a character; one starts at byte %d, the next at byte %d",
				off, from+int64(i), from+int64(i+size))
		}
		break
	}
	return nil
}

// imageMagic is how many bytes tell an image.
const imageMagic = 12

// isImage reports whether b begins as a PNG, JPEG, GIF or WebP does.
func isImage(b []byte) bool {
	switch {
	case bytes.HasPrefix(b, []byte("\x89PNG\r\n\x1a\n")), bytes.HasPrefix(b, []byte("\xff\xd8\xff")),
		bytes.HasPrefix(b, []byte("GIF87a")), bytes.HasPrefix(b, []byte("GIF89a")):
		return true
	}
	return len(b) >= imageMagic && bytes.HasPrefix(b, []byte("RIFF")) && bytes.Equal(b[8:12], []byte("WEBP"))
}
