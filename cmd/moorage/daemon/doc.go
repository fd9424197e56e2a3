// Package daemon is the server's process and the way to it: the lock on its
// directories, the unix socket with its handshake, the operator's API on that
// socket, and starting a server where none runs.
//
// # Directories
//
// A server owns two directories, each by a lock on a file "lock" in it: Root is
// durable (images, snapshots, the bots' data, tokens, its log), Run is not
// (sockets, the state of running containers; a tmpfs as a rule). With a loop store
// (package store) all of Root but lock, tokens and log is in Root/store. Any number
// of servers run side by side on directories of their own.
//
// # Socket
//
// The socket is Run/moorage.sock, mode 0660 and of the group "moorage" if that
// group exists. A client sends one line of JSON, [Handshake], and the server
// answers with one, [Reply]. What follows depends on the mode: with "mcp", MCP
// messages, one a line, both ways, unless both sides name the same handover: then
// the client's standard input and output are handed to the server (package
// handover); with "admin", HTTP/1.1 to the operator's API.
package daemon
