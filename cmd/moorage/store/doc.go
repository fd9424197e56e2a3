// Package store is where a server keeps what is durable and large: the layers of
// images and containers, the bots' data and their copies.
//
// # Kinds
//
// A plain store is the server's directory Root itself. A loop store is one file,
// Root/store.xfs, which holds an XFS file system that the server mounts at
// Root/store: there files are copied in constant time by sharing their blocks
// (reflinks) and, where the kernel has them, project quotas limit a bot's disk,
// whatever the file system of the host can do. Layers and data are both in it,
// since blocks are shared within one file system only. The server's lock, log,
// tokens and sockets are not: they are needed before it is mounted.
//
// A Root has one kind for good. One that holds a store.xfs is opened with it, also
// when nothing is asked for; if that cannot be done Open fails, so that never an
// empty store is shown instead. A Root whose plain store is in use is not opened
// as a loop store.
//
// # Room
//
// The file's blocks are reserved when it is made and when it grows (fallocate),
// and the loop device passes on no discards, which would give them back. A sparse
// file would promise room that others can take: XFS would then lose writes that
// it had accepted, and shut down. So a full host disk does no harm to a loop
// store, and a full loop store is an ordinary ENOSPC. A file system that cannot
// reserve (ext3, NFS) cannot hold one.
//
// # Lifecycle
//
// The file is made under another name, formatted and renamed: one that has the
// name is ready. Open attaches it to a loop device, or finds the one to which an
// earlier server has attached it, and mounts it unless it is mounted; after a
// power cut XFS replays its log there, which is waited for. Close unmounts it,
// unless containers run on it. The device detaches itself with the last mount.
//
// Open and Close run under the lock of the server's directories.
package store
