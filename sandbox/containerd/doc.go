// Package containerd is a sandbox.Runtime on a containerd client. It does not
// know whether that containerd is embedded in this process or the system's.
//
// # Model
//
// A container is one containerd container, one active snapshot, a few host
// directories and, while it runs, one task whose PID 1 is the agent. Its record
// is in the labels of the containerd container and nowhere else (record.go):
// NewContainer is the moment from which it exists, deleting that record the one
// from which it does not.
//
// Every Root has a random instance id. It is part of all names, so many
// instances, and many bots, share one containerd without meeting. A containerd
// container without our instance's label is never listed, touched or told of.
//
// The container's key, by which containerd and runc know it, is "m-" and 24
// hexadecimal digits of a hash of instance, bot and id.
//
// # Directories
//
//	<Root>/instance          the instance id
//	<Root>/agent/<hash>/     the agent's binary, bound at /.moorage/agent
//	<Root>/spool/<key>/      output of commands, bound at /.moorage/spool
//	<DataRoot>/bots/<bot>/   the bot's data, bound at each of DataMounts
//	<DataRoot>/<instance>/   trees of snapshots, data of forks (package snapstore)
//	<DataRoot>/projects/<n>  a link that is no path: the bot whose project quota n is
//	<Run>/c/<key>/           agent.sock, the directory bound read-only at /.moorage/run
//	<Run>/m/<key>            a root filesystem, mounted for a moment by Create and Start
//	<Run>/d/<key>/           data and spool, with the container's ids, by Start
//	<Run>/runc/              state of the OCI runtime
//	/sys/fs/cgroup/.../moorage/<instance, 8 digits>/<key>
//
// Files that a bot made setuid root are root's on disk, so all of them lie below
// directories of mode 0700: bots, spool, m, d and the snapshotter's.
//
// # User namespaces
//
// Root in a container is an unprivileged id of the host: each bot has a range of
// 65,536 (package idmap), kept in a label of its containers. On disk ids are as
// the container sees them, whatever its range and whether it has one. Start mounts
// the root filesystem (package rootmount), the data and the spool with the ids
// shifted, hands them to the task and unmounts them at once (stage.go); so a
// containerd of the system's has to see this process's mounts. Where the kernel
// cannot, or when it is switched off, root is the host's. Containers may be
// started one way and then the other.
//
// # The agent's connection
//
// While a task runs there is a door: a unix socket on which the server listens
// and which the agent dials. Only the task's PID 1 is let in (SO_PEERCRED). The
// newest connection that nobody has taken waits in a slot of one.
//
// # Disk
//
// Where the file system has project quotas each bot has a project (package quota), to
// which its data and its containers' writable layers belong, also those of
// snapshots: MaxDisk limits them together. The image's layers are nobody's. A bot
// that has used up its share gets ENOSPC inside and can delete; its containers
// can be stopped, started and deleted as ever.
//
// # Lifecycle
//
// New checks and prepares, Open adopts what runs and removes what was left half
// done, Close stops listening and waits; tasks go on. Each running task has one
// goroutine that waits for its end and one that accepts at its door.
//
// # Snapshots
//
// A snapshot is a committed layer and a tree of data (package snapstore). It is
// taken in one of two ways (take.go):
//
//   - of a container that is stopped, or in which nothing but its agent runs, by
//     commit (commit.go). An empty layer is committed beforehand, its directory then
//     exchanged with the active layer's, and the container gets a next active layer
//     on it; if it runs, its root is swapped under the agent (package swaproot).
//     That takes as long for a million files as for one.
//   - of any other, and where a file of the active layer has several names, by copy
//     (copyway.go): one pass of the copier while it runs,
//     another one while its cgroups are frozen, for what has changed.
//
// The data is copied in the same two passes, from the newest snapshot of the same
// data what has not changed. All that share the data are still for the second.
//
// The layers of ours under an active one are merged into one when there are
// maxOwnLayers (layer.go), before the container has to stand still. A layer whose
// snapshot is deleted stays, unlisted, while something stands on it.
//
// A change that has several steps writes a journal into a label of its container
// first (journal.go). Whoever finds one, be it Open, Start or the next change,
// finishes the change or undoes it (recovered). A commit is undone before the
// exchange and finished after it; a restore from the moment on at which its journal
// says that all is prepared. What has no journal, as a copy, a fork or an import,
// counts from its last step, and is swept away by Open without it.
//
// Hard links: overlayfs takes a lower layer's apart when one of the names is written
// to. So files with several names are always in the active layer: a layer with such
// files stays the container's own, and what continues on one that has them, a fork
// or a restored container, begins with a copy of them (copier.Links), which costs
// their size. Not so an image's own, whose links break at a write.
//
// What overlayfs makes of it: a directory that a snapshot has made part of a lower
// layer cannot be renamed by rename(2) (EXDEV, as one of an image); mv and fs_move
// copy it. The data is no overlay and knows nothing of that.
//
// # Export and import
//
// A snapshot goes out as an image tar (package imagetar). One that comes in stands
// on layers of containerd's, which no image names: they stay as long as ours stands
// on them. Until its layer is committed an import has an active layer, a tree and a
// lease, all of which Open removes.
//
// # Locks
//
// A container's slot is held by Start, Stop, Delete, Create and by the goroutine
// that clears up after a task that ended by itself; waiting for it gives up with
// the context. Runtime.mu guards the map of slots and is never held across a
// call. A door's mu guards its connection. Order: slot, a bot's mutex of mounting,
// Runtime.mu, door.mu.
//
// # What it does not do
//
// It speaks nothing of the agent's protocol: a connection is a byte stream.
// Images are package image's, the OCI specification is package ocispec's.
package containerd
