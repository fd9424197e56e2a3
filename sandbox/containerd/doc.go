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
// Where the file system has project quotas each bot has a project (disk.go), to
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
