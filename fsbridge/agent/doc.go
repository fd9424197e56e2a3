// Package agent is the end of the bridge that is inside a container: it carries
// out what package fsbridge asks for.
//
// # Model
//
// An [Agent] has the container's files (packages files and search) and processes
// (package process) and outlives any connection. [Agent.Serve] runs one connection on it;
// [Run] is the life of PID 1: it dials the server, serves, and dials again, for
// ever, until SIGTERM.
//
// # A connection
//
// One goroutine at a time reads frames. It carries out itself a request that is
// alone and takes no stream, as a hand-over to another thread costs as much as a
// small request; when that lasts, another goroutine takes over the reading
// (fsbridge.Relay), so nothing waits behind it, a cancel least of all. Every
// other request runs in a goroutine of its own, streams are bounded by their
// credit, and more than MaxInFlight requests end the connection. When the
// connection ends, every request is cancelled, except that commands which run go
// on. The socket is used by plain system calls, without the runtime's poller,
// which would wake up for nothing (socket.go).
//
// # Threads
//
// A container has a limit of processes and threads, and a Go program that cannot
// make a thread dies, which for PID 1 ends the container. So work that blocks in
// system calls is bounded by a gate, and Run makes as many threads as can be
// needed before there is anything else in the container. A search (package
// search) is one in the gate; the goroutines that help it are counted apart.
//
// # Trust
//
// The agent trusts the server, and checks what it sends only as far as it takes
// not to die of a mistake. It trusts nothing else: files and programs of the
// container may be anything.
//
// # What it does not do
//
// It knows nothing of bots or images, and listens nowhere.
package agent
