package quota

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrUnsupported is wrapped by errors that say why there are no project quotas
// in a place.
var ErrUnsupported = errors.New("no project quotas")

// Project is the number that files have which are limited together. 0 is that of
// files that are not limited.
type Project uint32

// bytesPerInode: besides bytes the number of files is limited, to one for so
// many bytes, since inodes are not counted in bytes.
const bytesPerInode = 4096

// Usage is what the files of a project take, and may.
type Usage struct {
	Bytes, Files int64
	Limit        int64 // bytes; 0 if there is none
}

// quotactl(2) and struct fs_disk_quota of linux/dqblk_xfs.h, which the kernel
// translates for other file systems. Blocks are of 512 bytes there.
const (
	projectQuota = 2
	getQuota     = 'X'<<8 + 3
	setLimits    = 'X'<<8 + 4
	getState     = 'X'<<8 + 8

	quotaVersion  = 1
	projectFlag   = 2
	blockSoft     = 1 << 2
	blockHard     = 1 << 3
	inodeSoft     = 1 << 0
	inodeHard     = 1 << 1
	basicBlock    = 512
	stateVersion  = 1
	enforcedState = 1 << 5 // FS_QUOTA_PDQ_ENFD
)

type diskQuota struct {
	Version   int8
	Flags     int8
	FieldMask uint16
	ID        uint32

	BlockHard, BlockSoft, InodeHard, InodeSoft uint64
	Blocks, Inodes                             uint64
	_                                          [56]byte // timers, warnings, realtime blocks
}

// quotaState is struct fs_quota_statv.
type quotaState struct {
	Version int8
	_       uint8
	Flags   uint16
	_       [156]byte
}

// Supported reports why the file system of dir limits no projects, by an error
// that wraps ErrUnsupported; nil if it does.
func Supported(dir string) error {
	s := quotaState{Version: stateVersion}
	if err := quotactl(dir, getState, 0, unsafe.Pointer(&s)); err != nil {
		return err
	}
	if s.Flags&enforcedState == 0 {
		return fmt.Errorf("%w in %s: it is not mounted with prjquota", ErrUnsupported, dir)
	}
	return nil
}

// SetLimit sets the most bytes that the files of a project may take on the file
// system of dir; 0 is no limit. What is there already stays.
func SetLimit(dir string, p Project, most int64) error {
	blocks := (uint64(most) + basicBlock - 1) / basicBlock
	inodes := (uint64(most) + bytesPerInode - 1) / bytesPerInode
	return quotactl(dir, setLimits, p, unsafe.Pointer(&diskQuota{
		Version: quotaVersion, Flags: projectFlag, ID: uint32(p),
		FieldMask: blockSoft | blockHard | inodeSoft | inodeHard,
		BlockHard: blocks, BlockSoft: blocks, InodeHard: inodes, InodeSoft: inodes,
	}))
}

// Read reads what the files of a project take on the file system of dir.
func Read(dir string, p Project) (Usage, error) {
	var q diskQuota
	err := quotactl(dir, getQuota, p, unsafe.Pointer(&q))
	if errors.Is(err, unix.ENOENT) {
		return Usage{}, nil // no file ever was of it
	}
	return Usage{Bytes: int64(q.Blocks) * basicBlock, Files: int64(q.Inodes), Limit: int64(q.BlockHard) * basicBlock}, err
}

func quotactl(dir string, command uintptr, p Project, arg unsafe.Pointer) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	_, _, errno := unix.Syscall6(unix.SYS_QUOTACTL_FD, f.Fd(), command<<8|projectQuota, uintptr(p), uintptr(arg), 0, 0)
	switch errno {
	case 0:
		return nil
	case unix.ENOSYS, unix.EOPNOTSUPP, unix.ENOTTY, unix.EINVAL, unix.ESRCH, unix.ENOTBLK:
		return fmt.Errorf("%w in %s: %w; the kernel, the file system or its mount has none", ErrUnsupported, dir, errno)
	default:
		return fmt.Errorf("project quota in %s: %w", dir, errno)
	}
}
