// Package fsbridge is what can be done inside a container: the operations on
// files and commands, the form in which they cross the wire between the server
// and the agent, and the client that the server uses.
//
// # Model
//
// An agent runs as PID 1 of a container and dials the server. From then on the
// server asks and the agent answers. A [Client] owns the server's end of one
// such connection; package fsbridge/agent is the other end. Many requests are
// in flight on one connection; each has its own id and is answered in any
// order. A request that is cancelled (by its context) is cancelled in the agent.
// [Client.Hold] keeps requests back for a moment in which the agent is idle.
//
// # Wire
//
// The connection is a byte stream (a unix socket) of frames. Integers are
// little-endian. A frame is a header of 20 bytes, then JSON, then raw bytes:
//
//	offset size
//	0      8    id       request this frame belongs to, never 0 but in hello, welcome
//	8      1    kind     one of the kinds below
//	9      1    op       operation (requests only, else 0)
//	10     2    flags    0; anything else is refused
//	12     4    jsonLen  bytes of JSON after the header, at most MaxJSON
//	16     4    dataLen  bytes of data after the JSON, at most MaxData
//
// Both lengths are checked before anything is allocated; a frame over a cap, of
// an unknown kind, or with flags ends the connection, and the error says why.
//
//	kind      from    meaning
//	hello     agent   first frame: JSON [Hello]. The readiness signal.
//	welcome   server  answer to hello: JSON Welcome. The server never speaks first.
//	request   server  JSON parameters, data as the operation says
//	response  agent   the one successful end of a request: JSON result, data
//	error     agent   the other end of a request: JSON [Error]
//	data      both    a chunk of the request's stream, at most MaxData
//	end       server  no more data will be sent in this request's stream
//	credit    both    JSON-less; data is 4 bytes: so many more bytes may be sent
//	cancel    server  stop working on this id; the agent still answers (error)
//
// Streams have credit: a sender may have Window bytes under way that the
// receiver has not yet granted back with credit frames. So one slow reader
// neither blocks the connection nor grows a queue without bound.
//
// The operations, by their number in a request:
//
//	op        parameters    data     stream        result, data
//	1 ping    none                                 none
//	2 read    ReadRequest                          ReadResult, head and body
//	3 fetch   FetchRequest           from agent    FetchResult
//	4 write   WriteRequest  content  or to agent   WriteResult
//	5 list    ListRequest                          ListResult, entries
//	6 stat    StatRequest                          StatResult, head
//	7 exec    ExecRequest   stdin    or to agent   ExecResult, output
//	8 edit    EditRequest                          EditResult, unified diff
//	9 patch   PatchRequest                         PatchResult
//	10 glob   GlobRequest                          GlobResult, entries
//	11 grep   GrepRequest                          GrepResult, matches
//	12 mkdir  MkdirRequest                         MkdirResult
//	13 move   MoveRequest                          MoveResult
//	14 delete DeleteRequest                        DeleteResult
//	15 follow FollowRequest input                  FollowResult, output
//	16 processes none                              ProcessesResult
//
// Where a frame has JSON, the parameters and results of read, write, list and
// stat have a compact form instead (see Encode), which begins with a byte 0; both
// ends take both. The entries of a list and the matches of a search are data in
// forms of their own (see AppendEntries and AppendMatches).
// An agent answers an operation that it does not know with an error. A request
// with Stream set is followed by data frames and one end; all others come whole.
// Data of a stream is never empty. Either end may meet frames for a request that
// the other has already ended: the agent passes over data, end, credit and
// cancel for an id that it does not have; the client keeps the id of a cancelled
// request until its answer, but gives an agent up that leaves more than half of
// MaxInFlight of them unanswered.
//
// # Trust
//
// The server treats everything an agent says as untrusted: a frame for an id
// that is not in flight, a second answer, data beyond its credit, malformed
// JSON or silence in the hello end that connection with a *ProtocolError. Every
// request in flight then ends with [ErrClosed], and only that container is
// affected.
//
// # Names
//
// Paths in Linux are bytes. [Path] crosses JSON unharmed also when it is not
// UTF-8.
//
// # Errors
//
// An operation that fails in the container yields an *[Error] {op, path, errno,
// message}, for which errors.Is holds with fs.ErrNotExist, fs.ErrExist,
// fs.ErrPermission, the syscall.Errno itself, and the sentinels of this package.
//
// # What it does not do
//
// It knows nothing of bots, containers, images or MCP, and opens no socket by
// itself: both ends take an io.ReadWriteCloser.
package fsbridge
