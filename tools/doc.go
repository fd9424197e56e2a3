// Package tools is what an MCP client sees of Moorage: the tools, their
// schemas, results and errors, the transports, and who the caller is.
//
// # Model
//
// A [Server] holds the tools over a [sandbox.Manager]. A client reaches it in
// one of three ways, and each knows the caller's bot before the first message:
//
//	[Server.ServeConn]    JSON-RPC lines over a byte stream; the bot is a parameter.
//	                      [Server.ServeLines] also keeps account of the requests
//	/mcp                  streamable HTTP, all protocol versions; a bearer token's bot
//	/sse and /message     HTTP+SSE, versions before 2026-07-28; likewise
//
// No tool argument names a bot, and no session id does: every call is carried
// out for the bot of the request that brought it.
//
// # A tool
//
// A tool is a definition (name, description, hints), an input struct, a struct
// of facts, and a method. The input struct is the schema: package reflect reads
// its tags once, at construction, and from then on the same description makes
// the JSON schema that clients see, checks the arguments, words what is wrong
// with them, and fills the struct. A family of tools is one file, as containers.go,
// searching.go or tree.go.
//
// # A call
//
// Nearly all calls come in one plain form. Such a message is looked at once, its
// arguments go straight into the input struct, and the answer is written without
// a detour (plain.go, cursor.go, take.go, answer.go). A message in any other form
// is mcp-go's, arguments that are not plainly right are the JSON schema's, and a
// test holds the answers of both ways together to the byte.
//
// A call waits for a slot of its bot (limits.go), gets [CallTime] to live, is
// checked, carried out, and answered. Every failure is a result with isError and
// the text "code: cause. Hint." (errors.go); a handler's panic too. A call is
// one line in the log, which never holds arguments, contents or tokens.
//
// # Results
//
// Where there is a body it is the first content item, exact to the byte; notices
// are the last. Facts are structuredContent. A result has at most [ResultChars]
// characters unless the caller asks for more, and never over [ResultMax] bytes.
// Names are shown so that they can neither break a line nor drive a terminal
// (names.go), and the form shown is one that the path parameter takes.
//
// # Why own transports for stdio and SSE
//
// mcp-go's lose answers at the end of input, send progress after the result,
// answer cancelled calls, run SSE calls on when their client is gone, and keep
// one session for the process. The type client (client.go) is one connected
// client on MCPServer.HandleMessage, used by both. Streamable HTTP is mcp-go's,
// behind guards (guard.go) that close its known gaps.
//
// # Goroutines and locks
//
// A client owns one goroutine for each request in flight; its close cancels and
// waits for them. Over ServeConn the goroutine that reads carries out a quick
// call that is alone, and another takes over the reading when that lasts
// (fsbridge.Relay). A long call's work runs in a goroutine of its own, which the call
// waits for unless its time has passed (call.go). The streamable transport's sweeper ends with [Server.Close].
// client.mu guards a client's requests, client.out one write at a time; neither
// is held when the other is taken. sessions.mu and Tokens.mu are leaves.
//
// # What it does not do
//
// It knows nothing of containerd, images' formats or paths of the host, listens
// on no socket and reads no flag.
package tools
