package files

import (
	"bufio"
	"context"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"moorage/fsbridge"
	"moorage/fsbridge/agent/nodes"
)

const (
	tempPrefix    = ".moorage-tmp-"
	journalPrefix = "temps-"
	journalMax    = 4096 // directories that are noted at once
)

// journal notes in which directories this agent makes temporary files, in the
// file temps-<boot> of the spool: each directory once, in hex, a line each. It
// is written before the temporary file is made and not synced: it is for an agent
// that is killed, and the kernel keeps what that has written.
type journal struct {
	spool, boot string

	mu    sync.Mutex
	file  *os.File
	noted map[string]bool
	busy  int // temporary files that exist
}

// enter notes dir; the temporary file there is gone when leave is called. A
// journal that cannot be written does not stop a write.
func (j *journal) enter(dir string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.busy++
	if j.spool == "" || j.noted[dir] {
		return
	}
	if j.file == nil {
		j.open()
	}
	if j.file == nil {
		return
	}
	if _, err := j.file.WriteString(hex.EncodeToString([]byte(dir)) + "\n"); err == nil {
		j.noted[dir] = true
	}
}

// leave may start the journal anew, when it has grown long and nothing needs it.
func (j *journal) leave() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.busy--; j.busy == 0 && len(j.noted) >= journalMax {
		if j.file.Truncate(0) == nil {
			clear(j.noted)
		}
	}
}

func (j *journal) open() {
	flags := os.O_WRONLY | os.O_CREATE | os.O_APPEND
	f, err := os.OpenFile(filepath.Join(j.spool, journalPrefix+j.boot), flags, 0o600)
	if err == nil {
		j.file, j.noted = f, make(map[string]bool)
	}
}

// close ends the journal. Without a temporary file left it is removed.
func (j *journal) close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		return
	}
	j.file.Close()
	if j.busy == 0 {
		os.Remove(j.file.Name())
	}
	j.file, j.spool = nil, ""
}

// clean does what the journals of other agents ask for, and removes them.
func (j *journal) clean(ctx context.Context) (removed int) {
	if j.spool == "" {
		return 0
	}
	for _, name := range names(j.spool, scanMax) {
		boot, is := strings.CutPrefix(name, journalPrefix)
		if !is || boot == j.boot || boot == "" {
			continue
		}
		path := filepath.Join(j.spool, name)
		removed += cleanFor(ctx, path, tempPrefix+boot+"-")
		if ctx.Err() != nil {
			return removed
		}
		os.Remove(path)
	}
	return removed
}

// cleanFor removes names that begin with prefix from the directories noted in path.
func cleanFor(ctx context.Context, path, prefix string) (removed int) {
	f, err := openRegular(0, fsbridge.Path(path))
	if err != nil {
		return 0
	}
	file := os.NewFile(uintptr(f.fd), path)
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan() && ctx.Err() == nil; {
		if dir, err := hex.DecodeString(lines.Text()); err == nil {
			removed += cleanDir(ctx, string(dir), prefix)
		}
	}
	return removed
}

func cleanDir(ctx context.Context, dir, prefix string) (removed int) {
	d, err := openDir(dir)
	if err != nil {
		return 0
	}
	defer d.Close()
	for ctx.Err() == nil {
		batch, err := d.Readdirnames(scanMax)
		for _, name := range batch {
			if !strings.HasPrefix(name, prefix) {
				continue
			}
			if n, err := nodes.Remove(ctx, int(d.Fd()), name, fsbridge.DeleteMax); n > 0 && err == nil {
				removed++
			}
		}
		if err != nil {
			break
		}
	}
	return removed
}
