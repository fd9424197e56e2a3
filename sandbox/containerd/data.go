package containerd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// dataDirOf is the host's directory of a container's data: the bot's, or a fork's
// own.
func (r *Runtime) dataDirOf(key string, rec record) string {
	if rec.Spec.OwnData {
		return r.snaps.Own(key)
	}
	return r.dataDir(rec.Spec.Ref.Bot)
}

// makeData makes a container's data directory. One that is there is the bot's, and
// so is its mode.
func (r *Runtime) makeData(key string, rec record) error {
	dir := r.dataDirOf(key, rec)
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		if err != nil {
			return fmt.Errorf("look at data: %w", err)
		}
		return nil
	}
	return makeDir(dir, 0o755)
}
