// Package layers reads, compares, joins and archives overlayfs layers on the
// host, without mounting them.
//
// # Model
//
// A layer is the upper or a lower directory of an overlayfs mount. A [Stack] is
// a list of them, top first: what a mount of them would show is its view. The
// rules of the view are the kernel's (Documentation/filesystems/overlayfs.rst):
// the topmost entry of a name wins; a directory shows what equally named
// directories below it have too, down to the first that is opaque
// (trusted.overlay.opaque=y) or until something that is no directory hides the
// rest; a whiteout (a character device 0:0, or an empty file with
// trusted.overlay.whiteout) hides what is below and does not show.
// trusted.overlay.opaque=x says only that a directory may have whiteouts of the
// second form. The top directory of a layer is never opaque.
//
// A plain stack is one ordinary directory, to which none of this applies.
//
// Layers made under redirect_dir=on or metacopy=on are refused: ErrUnsupported.
//
// # What is done with them
//
//   - [Stack.Lookup] and [Stack.Open]: one path of the view.
//   - [Changes]: what differs between two views. Where both rest on the same
//     layers, which are known by their directories, only what is above is read.
//   - [Patch]: a change of a text file as a unified diff.
//   - [Merge]: several layers become one that shows the same.
//   - [WriteTar] and [ReadTar]: a layer as an OCI layer tar, a plain directory as
//     a tar, and both back.
//
// # Trust
//
// The content of layers is a bot's, and a layer may be the upper directory of a
// running container. Every step is openat2 below the layer's top directory,
// without symbolic links, other mounts or "..": a tree that changes meanwhile
// makes the result mixed or the call fail, and never leads outside. Only what is
// a regular file is read. Needs Linux 5.6.
//
// # Bounds
//
// Of each layer at most openLevels directories are open on the way down; a path
// has at most pathMax bytes and depthMax names. In memory are the names of the
// directories on the way, not of the whole tree; Merge and WriteTar also keep
// the paths of files with several names, ReadTar those of directories.
package layers
