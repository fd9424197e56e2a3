// Package search carries out glob and grep inside a container.
//
// # Model
//
// A [Searcher] walks the tree below a path (walk): its workers take directories
// and batches of files from one stack, the deepest first. A directory is read
// with getdents and what is in it is opened from it, so no path is resolved twice
// and no link is followed. What a file or directory is the directory tells. A
// small file is one open, one read, one close.
//
// A grep has two passes. The first counts what is in each file, by several
// workers and in no order, and keeps the first files by path that the page asked
// for can need (hits). The second reads those again and makes the page, in order.
// So the result does not depend on which worker was faster, all is counted, and
// memory goes with the page. A file that changed in between has fewer matches on
// the page, or others.
//
// # What is searched
//
// Regular files only. Without All: not .git, not what a .gitignore or a
// repository's info/exclude ignores (package pattern), whether or not there is a
// repository; those of directories above the path only up to its repository. The
// user's own file of git is not read. The kernel's file systems, as /proc, are
// entered only by a search that starts in one.
//
// A file is binary, and left out without All, if there is a NUL byte in its first
// block (blockSize). A NUL byte in a later one ends the search of the file there.
//
// # Bounds
//
// A walk sees SearchMax nodes, has heldDirs directories open beside one for each
// worker, and pendingMax directories waiting. Each worker has a block in memory; a
// line, or with Multiline a file, that is longer is read into a larger buffer, of
// at most longMax, by one search at a time. A longer line is searched in parts of
// that size, a longer file with Multiline too.
//
// # Threads
//
// A search runs in its caller's goroutine and up to workersMax-1 helpers, of
// which all searches together have [Helpers]. Each may block in a system call, so
// the agent makes threads for them ahead. A search that finds no helper free does
// without.
//
// # Locks
//
// walk.mu guards the stack, glob.mu and grep.mu what is found. Nothing is called
// and nothing waits under them but on walk.changed.
//
// # What it does not do
//
// It changes nothing and remembers nothing between two searches.
package search
