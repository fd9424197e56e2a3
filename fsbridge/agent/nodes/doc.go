// Package nodes works on whole trees of a file system, below an open directory:
// it removes and copies them, and knows what is mounted.
//
// # Model
//
// A node is a name in an open directory. From there on every step is relative to
// a directory that is open (openat, unlinkat), never follows a symbolic link and
// never enters another mount. So a tree that others change meanwhile can make a
// step fail, but cannot lead it outside. The way back up is "..", which must be
// the directory that the way down began in.
//
// # Bounds
//
// A tree of any depth is walked with one or two open directories and, for each
// level, at most as many names as one batch has. There is no recursion. Work
// stops when its context ends, within one system call and at most copyChunk
// bytes.
package nodes
