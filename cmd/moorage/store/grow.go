package store

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// XFS's ioctls, xfs_fs.h: the numbers are _IOR('X', 100, struct
// xfs_fsop_geom_v1) and _IOW('X', 110, struct xfs_growfs_data). They do what
// xfs_growfs does.
const (
	xfsGeometryV1 = 0x80705864
	xfsGrowData   = 0x4010586e
)

// geometry is the start of struct xfs_fsop_geom_v1, and room for the rest.
type geometry struct {
	BlockSize, RTExtSize, AGBlocks, AGCount, LogBlocks, SectSize, InodeSize, IMaxPct uint32
	DataBlocks                                                                       uint64
	_                                                                                [72]byte
}

// growData is struct xfs_growfs_data.
type growData struct {
	NewBlocks uint64
	IMaxPct   uint32
	_         uint32
}

// fill makes the mounted file system as large as its file, which a server that
// was killed may have left larger.
func fill(dev *os.File, at string) error {
	if err := unix.IoctlSetInt(int(dev.Fd()), unix.LOOP_SET_CAPACITY, 0); err != nil {
		return os.NewSyscallError("set the capacity of "+dev.Name(), err)
	}
	size, err := dev.Seek(0, 2)
	if err != nil {
		return err
	}
	root, err := os.Open(at)
	if err != nil {
		return err
	}
	defer root.Close()
	var g geometry
	if err := ioctl(root, xfsGeometryV1, unsafe.Pointer(&g)); err != nil {
		return os.NewSyscallError("read the size", err)
	}
	blocks := uint64(size) / uint64(g.BlockSize)
	if blocks <= g.DataBlocks {
		return nil
	}
	return os.NewSyscallError("grow XFS", ioctl(root, xfsGrowData, unsafe.Pointer(&growData{NewBlocks: blocks, IMaxPct: g.IMaxPct})))
}

func ioctl(f *os.File, request uintptr, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), request, uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}
