// Package rootmount mounts a container's root filesystem in the server, so that
// it can be attached where a task expects it, or in a running container's mount
// namespace.
//
// containerd's snapshotters say how a snapshot is to be mounted: an overlay of
// directories, a bind mount of one directory, or something else. Detached follows
// that, through an idmapped clone of the directories when the container has ids
// of its own (package idmap). It is visible nowhere until Attach.
//
// # An overlay with an idmapped upper directory
//
// Overlayfs remembers the credentials of the one who mounts it and makes its
// inodes with them. The host's root has no id in the upper directory's mapping, so
// the kernel would answer EOVERFLOW to the making of the work directory and mount
// it read-only without a word. The mounting thread therefore has the file system
// ids (setfsuid(2)) of the container's root, and every capability. Mounts so made
// need Linux 5.19.
//
// # Layers
//
// Directories are named to the kernel relative to the one that they all are in:
// with fsopen(2) one by one ("lowerdir+", Linux 6.8, at most 500), else in one
// option of at most 4,096 bytes.
//
// # Threads
//
// Every mount is made on an OS thread of its own, which ends with it: its working
// directory and ids are no other goroutine's.
package rootmount
