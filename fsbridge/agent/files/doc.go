// Package files carries out the operations on files inside a container: plain
// system calls, of which the mount namespace is the fence.
//
// # Model
//
// A [Tree] is the container's file system as the agent sees it. Its methods take
// a request of package fsbridge and return its result, or an *fsbridge.Error.
// Paths are made absolute and cleaned as text ([Resolve]) before anything else,
// so "a/../b" is "b" whatever "a" is; symbolic links in what is left are followed
// by the kernel.
//
// # Regular files only
//
// A node is looked at before it is opened, and opened without blocking: a FIFO,
// a device or a socket is refused and never hangs a call. What the size of a file
// says is never trusted: /proc and /sys say 0 or 4096. Reading goes on until the
// end of the file or the limit.
//
// On the kernel's file systems, as /proc, no file is made or replaced, and none
// can be: a write says so instead of failing by halves.
//
// # Writing
//
// A write makes a temporary file beside its target, fills it, gives it the
// target's mode, owner and extended attributes, syncs it, renames it over the
// target and syncs the directory. Through a symbolic link it is the link's target
// that is replaced. An append to a file that exists is one write at its end and a
// sync; when that fails half way the file is cut back to what it was. The
// temporary file is made like its target and synced before the path's lock is
// taken, so that writers of one path share the disk's work; if the target has
// changed by then, that is done again. Writers of
// one path take turns from the check of the revision to the rename, so a
// revision that was checked still holds then. Containers that share a mount have
// an agent each: between the last look at what a change was made of and its
// rename an agent holds the directory's flock (turn), and a change of what is no
// longer there is made anew. Programs do not take turns with agents.
//
// Names of temporary files carry the agent's boot id. The directories that had
// one are noted, without a sync, in a file of the spool; the next agent removes
// what a killed one left in them, and nothing of any other agent.
//
// # Changing
//
// An edit is a write whose content is made, under the place's lock, of what is
// there (package text); when a program has changed the file meanwhile it is made
// anew. A patch prepares all its files beside their places, then changes the
// names: first what is new, then what replaces (the old and the new are swapped),
// last what goes. What was there has a temporary name until all is done and
// synced, so that each change of a name can be taken back; an agent that is
// killed leaves each file whole. A move to another file system is a copy beside
// the destination (package nodes), which then gets its name in the same way,
// before the source loses its own.
//
// A deletion happens in place: one that is stopped has deleted a part, and says
// so. Neither it nor a move touches the root, a mount point, a directory with one
// below, or what is the kernel's.
//
// # Revisions
//
// A revision is the first half of the content's SHA-256 in hex. It is remembered
// by device, inode, size and times of the file, unless those are so young that a
// write could hide in them.
//
// # Locks
//
// A place's lock (locks) is held over the end of a write, and over the whole of
// an edit, a patch, a move and a deletion. Who needs several takes them in the
// order of place.compare. Under them a directory's turn is taken, for a look and
// a rename; it is the lock of the place without a name. Under them, for one file at a time, the turn of large
// files (Tree.large) is taken. The mutexes in locks, revisions and journal are
// leaves: nothing else is taken and nothing waits under them.
package files
