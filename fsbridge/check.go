package fsbridge

import (
	"bytes"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Each check returns what is wrong with an agent's answer, or "".

const (
	maxText  = 4096     // bytes of a message, an id or the like
	maxPath  = 64 << 10 // bytes of a path
	maxClose = 5
	maxErrno = 4095 // MAX_ERRNO of linux/err.h
)

func checkHello(h *Hello) string {
	switch {
	case len(h.Build) > maxText || len(h.BootID) > maxText || h.BootID == "":
		return "build or boot id out of bounds"
	case h.PID <= 0:
		return "pid out of bounds"
	}
	return ""
}

func checkError(e *Error) string {
	if len(e.Message) > maxText {
		e.Message = strings.ToValidUTF8(e.Message[:maxText], "")
	}
	switch {
	case e.Errno > maxErrno:
		return "errno out of bounds"
	case len(e.Path) > maxPath || len(e.Parent) > maxPath:
		return "path too long"
	case len(e.Close) > maxClose:
		return "too many close names"
	case !isRevision(e.Revision):
		return "malformed revision"
	}
	for _, name := range e.Close {
		if len(name) > maxText {
			return "close name too long"
		}
	}
	return checkPassages(e)
}

func checkRead(req *ReadRequest, res *ReadResult, data []byte) string {
	if res.HeadLen < 0 || res.HeadLen > HeadBytes || res.HeadLen > len(data) {
		return "head does not fit its data"
	}
	body := data[res.HeadLen:]
	switch {
	case len(body) > req.bodyLimit(res.Binary) && !(req.Text && !res.Binary && utf8.RuneCount(body) == 1):
		return "body longer than asked for"
	case res.FirstByte < 0 || res.NextByte != res.FirstByte+int64(len(body)):
		return "body's bounds do not fit it"
	case res.Size < 0 || res.TotalLines < -1 || res.NextOffset < 0:
		return "size or lines out of bounds"
	case res.FirstLine < 0 || res.LastLine < 0 || res.FirstLine > 0 && res.LastLine < res.FirstLine-1:
		return "lines out of order"
	case req.Text && !res.Binary && !IsText(body):
		return "text that is none"
	case !res.HeadCut && (res.InLine || res.PrevByte != 0):
		return "a cut that is none"
	case res.HeadCut && (req.Tail <= 0 || res.Binary || len(body) == 0 || res.PrevByte < 0 || res.PrevByte >= res.FirstByte ||
		res.FirstByte-res.PrevByte > int64(req.bodyLimit(false))):
		return "a cut head out of bounds"
	}
	return checkNode(res.Path, res.Mode, res.Revision)
}

// bodyLimit is the most bytes of body that the request allows, but for a single
// character of text.
func (r *ReadRequest) bodyLimit(binary bool) int {
	limit := r.MaxBytes
	if limit <= 0 || limit > BodyMax {
		limit = BodyMax
	}
	if r.Text {
		limit = max(limit, utf8.UTFMax)
	}
	if r.Bytes && r.ByteLimit > 0 && r.ByteLimit < int64(limit) {
		limit = int(r.ByteLimit)
	}
	if binary && r.Text {
		limit = int(min(max(r.ImageMax, 0), MaxData))
	}
	return limit
}

// IsText reports whether b is UTF-8 without NUL.
func IsText(b []byte) bool { return bytes.IndexByte(b, 0) < 0 && utf8.Valid(b) }

func checkNode(path Path, mode uint32, revision string) string {
	switch {
	case len(path) > maxPath || !strings.HasPrefix(string(path), "/"):
		return "path that is not absolute"
	case mode > 0o7777:
		return "mode out of bounds"
	case !isRevision(revision):
		return "malformed revision"
	}
	return ""
}

func isRevision(s string) bool {
	return s == "" || len(s) == revisionLen && strings.Trim(s, "0123456789abcdef") == ""
}

// revisionLen is the length of a revision: the first half of a SHA-256 in hex.
const revisionLen = 32

func checkWrite(_ *WriteRequest, res *WriteResult) string {
	if res.Size < 0 {
		return "size out of bounds"
	}
	return checkNode(res.Path, 0, res.Revision)
}

func checkList(req *ListRequest, res *ListResult) string {
	limit := req.Limit
	if limit <= 0 || limit > ListMax {
		limit = ListMax
	}
	end := req.Offset + len(res.Entries)
	switch {
	case len(res.Entries) > limit:
		return "more entries than asked for"
	case res.Total < 0 || res.Denied < 0 || len(res.Entries) > 0 && res.Total < end:
		return "total out of bounds"
	case res.NextOffset != 0 && (res.NextOffset != end || len(res.Entries) == 0):
		return "next offset out of order"
	}
	for i := range res.Entries {
		if reason := checkEntry(&res.Entries[i]); reason != "" {
			return reason
		}
	}
	return checkNode(res.Path, 0, "")
}

func checkEntry(e *Entry) string {
	switch name := string(e.Name); {
	case !isBelow(name):
		return fmt.Sprintf("entry's name %.80q", name)
	case !isType(e.Type):
		return "unknown type of entry"
	case e.Mode > 0o7777 || e.Size < 0 || e.Children < 0 || len(e.Target) > maxPath:
		return "entry out of bounds"
	}
	if year := e.ModTime.Year(); year < 1 || year > 9999 { // which no JSON takes
		return "entry's time out of bounds"
	}
	return ""
}

// isBelow reports whether name may be one of a node below another.
func isBelow(name string) bool {
	return name != "" && len(name) <= maxPath && name[0] != '/' && name != ".." &&
		!strings.HasPrefix(name, "../") && !strings.HasSuffix(name, "/..") && !strings.Contains(name, "/../")
}

func isType(s string) bool {
	switch s {
	case TypeFile, TypeDirectory, TypeSymlink, TypeFIFO, TypeSocket, TypeCharDevice, TypeBlockDevice:
		return true
	}
	return false
}

func checkStat(req *StatRequest, res *StatResult, head []byte) string {
	switch {
	case len(head) > HeadBytes || len(head) > 0 && !req.Head:
		return "head longer than asked for"
	case !isType(res.Type):
		return "unknown type"
	case res.Size < 0 || len(res.Target) > maxPath:
		return "size or target out of bounds"
	}
	return checkNode(res.Path, res.Mode, res.Revision)
}

func checkExec(req *ExecRequest, res *ExecResult, data []byte) string {
	limit := req.MaxOutput
	if limit <= 0 || limit > OutputMax/2 {
		limit = OutputMax / 2
	}
	for _, n := range []int{res.StdoutHead, res.StdoutTail, res.StderrHead, res.StderrTail} {
		if n < 0 || n > limit {
			return "output out of bounds"
		}
	}
	stdout, stderr := res.StdoutHead+res.StdoutTail, res.StderrHead+res.StderrTail
	switch {
	case stdout > limit || stderr > limit || stdout+stderr != len(data):
		return "output does not fit its data"
	case res.StdoutBytes < int64(stdout) || res.StderrBytes < int64(stderr):
		return "fewer bytes counted than returned"
	case !isHandle(res.ProcessID) || res.ProcessID == "" || !isHandle(res.NextCursor):
		return "malformed process id or cursor"
	case res.PID <= 0 || res.Duration < 0 || res.Duration > TimeoutMax+time.Hour:
		return "pid or duration out of bounds"
	case len(res.SpoolError) > SpoolErrorMax || !IsText([]byte(res.SpoolError)):
		return "malformed error of the spool"
	}
	for _, path := range []Path{res.StdoutPath, res.StderrPath} {
		if path != "" && checkNode(path, 0, "") != "" {
			return "path that is not absolute"
		}
	}
	return checkEnd(res)
}

// checkEnd holds the state and what goes with it together.
func checkEnd(res *ExecResult) string {
	code, signal := res.ExitCode != nil, res.Signal != ""
	var ok bool
	switch res.State {
	case Running:
		ok = !code && !signal
	case Exited:
		ok = code && !signal && *res.ExitCode >= 0 && *res.ExitCode <= 255
	case Signaled:
		ok = !code && signal
	case TimedOut:
		ok = !code
	}
	if !ok || len(res.Signal) > 32 {
		return "state and its end do not fit"
	}
	return ""
}

// isHandle reports whether s may be an id or a cursor.
func isHandle(s string) bool {
	return len(s) <= 128 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") == ""
}
