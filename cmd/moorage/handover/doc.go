// Package handover puts an MCP client's standard input and output into the
// server's hands, and back into the client's process when the server dies.
//
// # Why
//
// A process that copies between a client and the server costs two wake-ups a
// call. So `moorage stdio` gives its descriptors to the server and sleeps. What
// it knew, which requests wait for an answer and what was read and not carried
// out, is in a journal: memory that both processes map and that outlives either.
//
// # On the socket
//
// The handshake names [Version] on both sides. Then each side sends bytes, some
// with descriptors (SCM_RIGHTS):
//
//	server  J + journal       or L
//	client  E + input, output or L
//	server  T                 or L
//
// After T the server reads and writes; before it, it did not. After L, lines
// follow on the socket. From T on the socket is a sign of life: its end tells
// the server that the client's process is gone, whose calls it cancels, and the
// client that the server is gone, unless D came first: the input has ended and
// all is answered.
//
// # What is handed over
//
// Pipes without a name, and connected unix stream sockets: what programs start
// others with. Both sides look; the server also at whose sockets they are, as
// what it writes into one is root's to the other side. Descriptors of files are not even asked what
// they are, as a file system of the client's own might never answer; closing one
// that was sent all the same can hold up the connection that sent it, no other.
// The server opens a pipe once more for itself, and calls on a socket with
// MSG_DONTWAIT; so it neither blocks, whatever the client does to the flags, nor
// changes the flags that others see. All else, a terminal or a file, has lines
// copied as package pipe does.
//
// # The journal
//
// A memfd that the server makes, sealed at its size, so that no client can make
// the server fault on it. About 10 MB of addresses, of which few pages are used:
// a header of 64-bit words, a slot for each request that may be in flight
// ([tools.InFlight]), the initialize message (at most [tools.HelloMax]), and the
// input, which standard input is read into. The server keeps its own copy of
// each position and never believes the journal after the beginning: the client
// can write there, and so mislead itself only.
//
// # Order of the steps
//
// The server can be killed between any two stores, and in a system call. Each
// line of the input is then in one place, because one store moves it:
//
//   - Reading. Behind what was read all is zero. The window is set, the kernel
//     writes there, then the position "read" moves. Killed in between, what was
//     read ends at the last byte of the window that is not zero; a line's end is
//     none.
//   - Moving what is kept to the beginning of the area never overlaps it, and
//     counts once "base" is stored. No window is set meanwhile.
//   - A request's slot is filled, then gets the position of its line, then
//     "consumed" moves behind the line, then it is carried out. Killed before
//     "consumed" moves, the slot says that the line which stands there has begun.
//   - A slot is freed after its answer is out. Killed in between, the client gets
//     a second answer, which says that the first is lost: never none.
//   - Other lines are consumed when the next is read. Killed before, an error
//     that they were answered with may be sent twice.
//   - A line over [tools.MessageMax] has its middle forgotten while it is read.
//
// # The output
//
// A short message is written whole or not at all (4096 bytes into a pipe, 2048
// into a socket). Around a longer one "writing" is set. If the server dies then,
// the client's process ends the line before it answers: the client sees one line
// that is no message, maybe an empty one, and skips it, as MCP's SDKs do.
//
// # What it does not do
//
// It starts no server and answers nothing: package pipe does.
package handover
