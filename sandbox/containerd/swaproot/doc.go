// Package swaproot gives a running container another root filesystem under its
// feet: its processes, connections and other mounts live on.
//
// # Model
//
// A container's root filesystem is one mount, the root of its mount namespace.
// All others (/proc, the data, the agent's directory) are children of that one,
// or of each other. Swap puts a new mount in the place of the first and moves the
// direct children over, with all that is below them; nothing is mounted anew, so
// what is open there stays open. The kernel moves the working and root directory
// of each process that is at "/" (pivot_root).
//
// Whatever a process has open, mapped, or as working directory *on the old root
// filesystem* stays there, and so would what is written to it later. [Quiet] says
// whether there is such a thing.
//
// No file is written: the place for the new root is the old one's "/" itself,
// where only who already looks from outside can see it. So a container that has
// moved, removed or replaced directories of its root has no say in it.
//
// # Threads
//
// Each Swap has an operating system thread of its own, which ends with it: it is
// in the container's mount namespace, and must never run anything else.
//
// # What it does not do
//
// It makes no root filesystem, and does not stop the container's processes: hold
// back the agent, or freeze them, while Quiet and Swap run. The new mount keeps
// its own flags (read-only, nosuid).
package swaproot
