package main

import (
	"fmt"
	"path/filepath"

	"github.com/docker/go-units"

	"moorage/cmd/moorage/store"
)

// checkStore tells which store a server on root uses, or would.
func checkStore(root string, asked store.Spec) finding {
	f := finding{what: "store"}
	holds, err := store.Holds(root)
	if err == nil {
		err = store.Check(root, asked)
	}
	tools := store.Tools()
	switch {
	case err != nil:
		f.detail, f.advice = err.Error(), "start the server with the store that is there"
	case holds == store.Loop:
		f.detail = "loop, " + store.Image(root)
		if on, err := store.Mounted(root); err == nil && !on {
			f.detail += ", mounted when a server starts"
		}
	case asked.Kind == store.Loop && holds == store.Plain:
		f.detail = "plain: it was filled when there could be no loop store"
		f.advice, f.warn = "delete all containers with their data, and --store loop takes effect", true
	case asked.Kind == store.Loop && tools != nil:
		f.detail = "plain: " + tools.Error()
		f.advice, f.warn = "do that before the first start: containers stay in the store in which they are made", true
	case asked.Kind == store.Loop:
		f.detail = "loop, made at the first start"
	default:
		f.detail = "plain"
	}
	if tools == nil {
		f.detail += "; mkfs.xfs and loop devices are there"
	} else if asked.Kind != store.Loop && holds != store.Loop {
		f.detail += "; " + tools.Error()
	}
	return f
}

// checkDisk tells what the file system with the bots' data can do.
func checkDisk(root string, asked store.Spec, dataRoot string, maxDisk int64) finding {
	f := finding{what: "disk"}
	at, pending, err := store.DataDir(root, asked)
	if dataRoot != "" {
		at, pending = dataRoot, false
	}
	if err != nil {
		f.detail, f.advice = err.Error(), "mend what it says"
		return f
	}
	if pending {
		f.detail = "reflinks and quotas are told when the loop store is mounted"
		return f
	}
	facts, err := store.Look(filepath.Clean(at))
	if err != nil {
		f.detail, f.advice, f.warn = err.Error(), "run: sudo moorage doctor", true
		return f
	}
	f.detail = fmt.Sprintf("%s of %s free at %s; reflinks: %s; quotas: %s", units.BytesSize(float64(facts.Free)), units.BytesSize(float64(facts.Size)), at, yesNo(facts.Reflinks), facts.QuotaText())
	if maxDisk > 0 && facts.Quota != nil {
		f.advice, f.warn = "--max-disk is not enforced: use --store loop on a kernel with CONFIG_XFS_QUOTA, or mount the file system of --root with prjquota", true
	}
	return f
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no, files of snapshots are copied"
}
