package tools

import (
	"context"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"moorage/fsbridge"
)

// contentMax is the most bytes of content or stdin in one call: with JSON's
// escapes it fits MessageMax in all but odd cases.
const contentMax = 2 << 20

func (s *Server) addFiles() {
	add(s, definition{
		name:        "fs_read",
		description: "Read a file or a part of it: lines by offset and limit, the end by tail, bytes by byte_offset. Images (png, jpeg, gif, webp) come as images, other binary files need encoding base64. A cut result says how to go on. Parts of huge files are cheap.",
		hints:       hints{readOnly: true, idempotent: true},
	}, s.fsRead)
	add(s, definition{
		name:        "fs_write",
		description: "Write a whole file atomically, or append to it; parent directories are made. Give the revision of your last read as if_revision to not overwrite others' changes. At most 2 MiB a call.",
		hints:       hints{destructive: true},
	}, s.fsWrite)
	add(s, definition{
		name:        "fs_list",
		description: "List a directory: mode, size, time and name of each entry.",
		hints:       hints{readOnly: true, idempotent: true},
	}, s.fsList)
	add(s, definition{
		name:        "fs_stat",
		description: "Facts of one file, directory or link (not followed).",
		hints:       hints{readOnly: true, idempotent: true},
	}, s.fsStat)
}

type writeInput struct {
	Path        string  `json:"path" doc:"File, absolute or from /data."`
	Content     string  `json:"content" doc:"New content, or what to append."`
	Encoding    string  `json:"encoding,omitempty" doc:"Encoding of content." enum:"text,base64"`
	Append      bool    `json:"append,omitempty" doc:"Add to the end."`
	IfRevision  *string `json:"if_revision,omitempty" doc:"Revision it must have; empty: must not exist."`
	Mode        string  `json:"mode,omitempty" doc:"Octal mode, such as 0755." pattern:"^0?[0-7]{3,4}$" takes:"an octal mode as a string, such as \"0644\""`
	ContainerID string  `json:"container_id,omitempty" doc:"Container, else the current one."`
}

type writeFacts struct {
	where
	Path     string `json:"path"`
	Size     int64  `json:"size"`
	Revision string `json:"revision,omitempty"`
	Created  bool   `json:"created"`
}

func (s *Server) fsWrite(ctx context.Context, c *call, in writeInput) (r reply[writeFacts], err error) {
	path, err := parsePath("path", in.Path)
	if err != nil {
		return r, err
	}
	content, err := decodeContent(in.Content, in.Encoding)
	if err != nil {
		return r, err
	}
	a, at, err := c.agent(ctx, in.ContainerID)
	if err != nil {
		return r, err
	}
	req := fsbridge.WriteRequest{Path: path, Append: in.Append, IfRevision: in.IfRevision, Mode: octal(in.Mode)}
	res, err := a.Write(ctx, req, content)
	if err != nil {
		return r, err
	}
	r.facts = writeFacts{at, show(res.Path), res.Size, res.Revision, res.Created}
	verb := "Replaced"
	if res.Created {
		verb = "Created"
	} else if in.Append {
		verb = "Appended to"
	}
	r.say(fmt.Sprintf("%s %s, now %s, revision %s.", verb, show(res.Path), count(res.Size, "byte"), orNone(res.Revision)))
	return r, nil
}

func decodeContent(content, encoding string) ([]byte, error) {
	if len(content) > contentMax {
		return nil, fail(tooLarge, "Write the first part, then send the others with append true", "content has %d bytes, at most %d are taken in one call", len(content), contentMax)
	}
	if encoding != "base64" {
		return []byte(content), nil
	}
	b, err := base64.StdEncoding.DecodeString(content)
	if err != nil {
		return nil, badArgument("content", content, "with encoding base64: standard base64 with padding ("+err.Error()+")")
	}
	return b, nil
}

// octal reads a mode that the schema has checked; nil if there is none.
func octal(s string) *uint32 {
	m, err := strconv.ParseUint(s, 8, 32)
	if err != nil {
		return nil
	}
	mode := uint32(m)
	return &mode
}

func orNone(revision string) string {
	if revision == "" {
		return "none (the file is too large for one)"
	}
	return revision
}

type statInput struct {
	Path        string `json:"path" doc:"Path, absolute or from /data."`
	ContainerID string `json:"container_id,omitempty" doc:"Container, else the current one."`
}

type statFacts struct {
	where
	Path       string    `json:"path"`
	Type       string    `json:"type"`
	Size       int64     `json:"size"`
	Mode       string    `json:"mode"`
	UID        int64     `json:"uid"`
	GID        int64     `json:"gid"`
	ModTime    time.Time `json:"mtime"`
	LinkTarget string    `json:"link_target,omitempty"`
	MimeType   string    `json:"mime_type,omitempty"`
	Revision   string    `json:"revision,omitempty"`
}

func (s *Server) fsStat(ctx context.Context, c *call, in statInput) (r reply[statFacts], err error) {
	path, err := parsePath("path", in.Path)
	if err != nil {
		return r, err
	}
	var head []byte
	res, at, err := reading(ctx, c, in.ContainerID, func(a *fsbridge.Client) (res fsbridge.StatResult, err error) {
		res, head, err = a.Stat(ctx, fsbridge.StatRequest{Path: path, Head: true})
		return res, err
	})
	if err != nil {
		return r, err
	}
	f := statFacts{
		where: at, Path: show(res.Path), Type: clean(res.Type, 40), Size: res.Size, Mode: fmt.Sprintf("%04o", res.Mode),
		UID: int64(res.UID), GID: int64(res.GID), ModTime: res.ModTime.UTC(), Revision: res.Revision,
	}
	if res.Type == fsbridge.TypeSymlink {
		f.LinkTarget = show(res.Target)
	}
	if res.Type == fsbridge.TypeFile {
		f.MimeType = mimeType(res.Path, head)
	}
	r.facts = f
	r.say(f.text())
	return r, nil
}

func (f *statFacts) text() string {
	lines := []string{
		"path: " + f.Path, "type: " + f.Type, "size: " + strconv.FormatInt(f.Size, 10), "mode: " + f.Mode,
		fmt.Sprintf("owner: %d:%d", f.UID, f.GID), "mtime: " + stamp(f.ModTime),
	}
	for _, l := range [][2]string{{"link_target: ", f.LinkTarget}, {"mime_type: ", f.MimeType}, {"revision: ", f.Revision}} {
		if l[1] != "" {
			lines = append(lines, l[0]+l[1])
		}
	}
	return strings.Join(lines, "\n")
}
