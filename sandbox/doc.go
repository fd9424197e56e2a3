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
// the first two gives up with the context.
//
// # What it does not do
//
// It knows nothing of MCP, tokens, images' formats or paths of the host.
package sandbox
