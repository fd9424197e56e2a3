// Package quota limits the disk that directories may use together, by the
// project quotas of the kernel (XFS, ext4 with the feature "project").
//
// A project is a number on each file. A directory hands its own to what is made
// in it, and the file system counts and limits all files of a number. Once the
// limit is reached writing fails with ENOSPC (XFS) or EDQUOT (ext4); deleting
// works always. Files of different projects cannot be hard-linked or renamed into
// each other's directories (EXDEV): what is linked together belongs together.
//
// It needs Linux 5.14 (quotactl_fd), a file system mounted with prjquota, and root.
package quota
