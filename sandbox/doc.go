// Package sandbox holds the nouns of Moorage and the [Manager] that keeps each
// bot's containers running.
//
// # Model
//
// A [Bot] is whoever calls. It owns containers; a [Ref] (bot and container id)
// names one. A [Spec] is what was asked for, a [Status] what there is. A
// [Runtime] makes containers: it knows images, OCI and shims, and nothing above
// it does. An agent runs inside each container, and the runtime hands its
// connection to the Manager as a plain stream; the operations on it are package
// fsbridge's.
//
// The runtime's labels are the whole record. The Manager keeps in memory only
// what it can learn again after a restart: open connections.
//
// # Lifecycle of a call
//
// [Manager.Agent] gives the open client of a container. When it is open, that is
// a map look-up: no call to the runtime and no lock of the container's. When it
// is not, the container's lock is taken, the task is started if it does not run,
// and the agent's dial is awaited.
//
// # Locks
//
// Order: a bot's lock (choosing or making its current container, create,
// delete), then a container's lock (start, stop, delete), then Manager.mu (the
// maps; never held during a call of the runtime or any wait). Waiting for one of
// the first two gives up with the context. Who needs the locks of several
// containers, which must be one bot's, takes them by id while he holds the bot's.
//
// # Snapshots
//
// A [Snapshot] is what a runtime that is also [Snapshots] keeps of a container:
// its root filesystem and its data. All containers of a bot share the bot's
// data, but a fork, made from a snapshot, has a copy of the snapshot's data of
// its own ([Spec].OwnData) that goes with it. So what takes, restores, imports or
// deletes a snapshot holds the bot's lock for the names, and if it concerns a
// container also the locks of that and of all that share its data: none of them
// starts, stops, comes or goes meanwhile. File operations take none of these
// locks; a snapshot holds them back for a moment by [fsbridge.Client.Hold].
//
// Such a change may take long. It goes on when its caller leaves, who gets
// [ErrPending], and ends with [Manager.Close] at the latest. It is cut short, and
// undone where that is still possible, if the caller gives it up ([ErrGivenUp]).
//
// # What it does not do
//
// It knows nothing of MCP, tokens, images' formats or paths of the host.
package sandbox
