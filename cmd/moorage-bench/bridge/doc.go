// Package bridge is a side of a contest that has a container's agent to itself,
// without MCP in between: an engine on a directory of its own, one container of
// one bot, and the server's end of its agent's connection.
//
// It is a process of its own, so that what the engine holds ends with it, and is
// driven as every other side is: by MCP over its standard streams, one call for
// the whole work, in which the way of that call does not count.
package bridge
