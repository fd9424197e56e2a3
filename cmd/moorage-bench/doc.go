// Command moorage-bench compares Moorage with what stands beside it, in one run,
// and prints one table. It starts everything that it compares with itself:
//
//   - the floor: a stock mcp-go server over stdio whose tool does nothing (this
//     binary again, with the argument "floor");
//   - @modelcontextprotocol/server-filesystem over stdio, not sandboxed, if Node
//     is in the cache (`make bench` puts it there);
//   - bare runc, on a bundle that it makes of the host's static busybox.
//
// # Method
//
// The sides of a contest take turns in many short rounds, in an order that
// rotates, so that the machine's noise falls on all of them; the first round of
// each is not counted. All MCP servers are driven by the same client (package
// client), which encodes requests before the clock runs and looks at little more
// of an answer than its id. Figures of different runs do not compare; the ratios
// of one run do.
//
// # What it leaves
//
// Nothing: state is in a directory of its own, the server is started and stopped
// by process id, containers are deleted. An aim that is missed is printed and is
// no failure; the exit code is 1 only if something broke. A run ends within two
// minutes, or is an error.
package main
