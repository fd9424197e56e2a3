// Package embed runs containerd inside this process.
//
// # Model
//
// [Start] opens a containerd of our own on a root and a run directory: content,
// snapshots (overlayfs), metadata, tasks. Nothing listens but one ttrpc socket,
// on which shims publish events; the client calls the services in memory. Each
// container has a shim process, made from ShimPath (see package embed/shim),
// which outlives this process: a later Start on the same directories finds all
// of them again.
//
// # Directories
//
//	<Root>/containerd       what lasts: content, snapshots, metadata
//	<Run>/containerd        bundles of running tasks
//	<Run>/containerd.sock.ttrpc
//	<Run>/s                 the shims' sockets
//	<Run>/containerd-shim-runc-v2   a link to ShimPath
//
// # Lifecycle
//
// containerd registers its parts in globals, so one process embeds one at a
// time; a second Start is refused until Close. Two processes on one root are
// kept apart by containerd's database, which waits one second for its lock.
//
// # Log
//
// containerd logs by logrus. Its lines go to Options.Log: what it calls info is
// debug here, and so are lines that are known to mean nothing.
//
// It is the only package that imports containerd's parts for their side effects.
package embed
