// Package fstest is the suite that every implementation of fsbridge's operations
// passes: it is run over a socket pair with the agent in the test's process, and
// with the agent as PID 1 of a real container.
//
// It knows the other end only through a [fsbridge.Client] and a directory that
// may be written to. What it cannot make by the client (a FIFO, an owner) it
// makes by commands of a shell, where there is one; what needs the host to look
// on is left out where it cannot.
package fstest
