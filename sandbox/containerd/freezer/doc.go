// Package freezer stops all processes of containers for a moment, by the files of
// their cgroups: without the OCI runtime, which takes milliseconds for it.
//
// # Model
//
// A container has one cgroup directory with cgroup v2, one for each hierarchy
// with v1; all have the same last element. Those that can freeze are used: v1's
// have a freezer.state, v2's a cgroup.freeze. On a host in hybrid mode, where a
// container has both, v1's. Freezing is hierarchical: cgroups below are frozen too.
//
// A frozen process runs no instruction in user space, and none of its system
// calls is on the way to change a file. A signal to it is kept until it is
// thawed, with v1 SIGKILL too; v2 lets that end it.
//
// # Lifecycle
//
// Freeze freezes all or none. What it has frozen stays so if this process ends:
// ThawAll is for the start of the next.
//
// # What it does not do
//
// It does not tell the OCI runtime or containerd: runc's state, which looks at
// the cgroup, says paused; containerd's task goes on to say running.
package freezer
