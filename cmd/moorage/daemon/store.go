package daemon

import (
	"log/slog"
	"path/filepath"

	"moorage/cmd/moorage/store"
)

// openStore opens the store of Root and says what it can do.
func openStore(o Options) (*store.Store, error) {
	st, err := store.Open(o.Dirs.Root, o.Store, o.Log)
	if err != nil {
		return nil, err
	}
	at := o.Engine.DataRoot
	if at == "" {
		at = filepath.Join(st.Dir(), "data")
	}
	f, err := store.Look(at)
	if err != nil {
		o.Log.Warn("look at the store", "err", err)
	}
	o.Log.Info("store is open", "kind", st.Kind(), "at", st.Dir(), "data", at, "size", f.Size, "free", f.Free, "reflinks", f.Reflinks, "quotas", f.QuotaText())
	return st, nil
}

func closeStore(st *store.Store, log *slog.Logger) {
	if err := st.Close(); err != nil {
		log.Error("close store", "err", err)
	}
}
