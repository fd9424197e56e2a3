// Package copier copies directory trees: everything in them, with several
// workers, and in passes, so that only the last one needs the tree to be still.
//
// # What is kept
//
// Names of any bytes, content with its holes, hard links within the tree,
// symbolic links, FIFOs, devices and the whiteouts of overlayfs; of each the
// owner, mode, times to the nanosecond and all extended attributes, with
// capabilities, access lists and what overlayfs keeps in them. Sockets are left
// out. The process's umask, and what the destination's directory would hand down,
// do not matter. It needs root, or a tree that belongs to the caller and has
// nothing in it that only root can make.
//
// A file is linked from the [Reference] if by its record nothing of it has changed,
// else cloned where the file system can (FICLONE) and it is not small, else copied:
// inside the kernel where that works, small files by reading and writing. To clone
// a small file takes longer, and the kernel first writes to disk what of it is not
// there yet.
//
// # Passes
//
// [Copy.Pass] brings the copy up to a source that may be written to meanwhile;
// [Copy.Finish] does it a last time while the source is still. Each pass looks at all
// inodes, but reads only the directories and opens only the files that are not as
// the pass before saw them. A file that changed is made again: no file of the copy
// is ever written to once it is made.
//
// A directory has the names it had if its inode is what it was: it is looked at
// before it is read, and a look afterwards that finds it changed makes it doubtful.
// An inode is what it was if its number, ctime, mtime, size and mode are. A change
// sets the ctime, but three can be missed, and are not:
//
//   - A ctime has the resolution of a tick. One that is less than 20 ms older than
//     the look at it is never trusted (as in git's index).
//   - A write sets the ctime when it begins, and may go on for long.
//   - What is written through a mapping sets it only when a page is written for
//     the first time since it was on disk.
//
// A file that somebody had open for writing when it was copied, which covers both
// of these, is doubtful: the next pass copies it again. The kernel tells by
// refusing a read lease; the lease is given back at once, but a process that
// opens the file for writing in that moment, without wanting to wait (O_NONBLOCK),
// gets EAGAIN. See [Copy.Finish] for the last pass.
//
// The record keeps what Finish saw. It is right as long as the source's inodes and
// the copy both survive: a caller that wants that beyond a power failure syncs the
// copy's file system before it keeps the record.
//
// # Links between layers
//
// [Links] is for a source that is an overlayfs layer and will be below another:
// it carries the files with several names up, since overlayfs would take them
// apart. [Measure] tells whether there are any.
//
// # A hostile source
//
// Entries may become anything at any moment of a pass. Directories are opened
// relative to each other or below the root (openat2: no links, no other mount),
// checked to be the inode that was seen. Nothing is opened to be read but a name
// that was a regular file a moment before, without waiting and without following
// a link, and nothing is read before the opened file is seen to be that inode and
// regular. What takes the name in that moment is opened and closed, no more: a FIFO
// does not block (a process that waits for a reader goes on), a socket cannot be
// opened, a device's driver sees an open for reading. A container makes no device
// nodes (it has no CAP_MKNOD), and one that has some could rename them there: a
// tree that is copied must hold no device whose mere opening does harm.
//
// # Bounds
//
// At most 16 workers, each with up to 0.4 MB of buffers; 64 idle directories open
// in each of the source, the copy and the reference, and four files a worker more.
// Of the last pass and of the one that runs 48 bytes a file and its name are kept,
// together about 150 MB for 1,000,000 files, and as much as one of both for a
// reference's record. Paths have any length. A pass ends within 100 ms of its
// context, but for a single call of the kernel that takes longer (the clone of a
// file whose content is not on disk yet).
//
// # Locks
//
// A pass's, a directory's, a pool's and a forest's mutex are held one at a time,
// but for a forest's, which is the last and is also taken within a directory's.
// None is held while a file is copied.
package copier
