// Package snapstore keeps the records of an instance's snapshots and the trees
// that belong to them.
//
// # Model
//
// A snapshot is one committed containerd snapshot, the layer of its container's
// root filesystem, and a tree of data. Both are known by its id, which never
// changes and is never used again. The record is in the labels of the committed
// snapshot: it exists from the moment on at which Publish has written them. In
// memory there is an index of all, which Load reads.
//
//	<Dir>/snapshots/<id>/data      the data, as it was: never written again
//	<Dir>/snapshots/<id>/data.rec  what each file of it was in the source
//	<Dir>/snapshots/<id>/root.rec  the same of the layer, if that is a copy
//	<Dir>/own/<key>/               data of a container of its own, a fork
//	<Dir>/tmp/<id>/                what is being made
//	<Dir>/snapshotters/<name>/     empty: containerd's snapshotters that are in use
//
// Dir is the instance's own, and on the filesystem of the bots' data.
//
// # Layers
//
// A layer can be needed longer than its snapshot is listed: other snapshots and
// containers stand on it. Unlist takes record and gc root away, and containerd
// collects the layer when nothing stands on it any more. labelLayer marks each
// layer of ours, so that they are told from those of images.
//
// # Locks
//
// Store.mu guards the index and is never held across a call. Two changes of the
// same snapshot at once are the caller's to prevent.
package snapstore
