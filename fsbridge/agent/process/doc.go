// Package process runs commands inside a container for the agent: it starts
// them, catches their output, reaps them, and keeps what is left of them.
//
// # Model
//
// A [Table] holds the processes that were started through it. Each is the leader
// of its own process group, or of its own session if it has a terminal. A
// process is running until its leader has exited and what it had written is
// read; its background children live on and may go on writing. A handle outlives
// the connection that asked for it; a finished one is kept for an hour or until
// 256 newer ones have finished.
//
// # Output
//
// Each stream has one goroutine that moves it from a pipe into a file of the
// spool, <id>.out or <id>.err, at most SpoolMax bytes of a stream and 256 MiB in
// all, the oldest finished process making room. What is beyond is counted and
// dropped, as is what comes after an error of the file (a full disk), which the
// result tells; so a command that writes for ever neither grows anything nor stops.
// The head and the tail for the result are kept in memory until it was made.
//
// # Exits
//
// One goroutine waits for children, on SIGCHLD. As PID 1 it waits for any child,
// orphans included; elsewhere only for those it has started, since the others
// are not its own. A child may exit before the fork that made it has returned:
// its status is kept while any fork is under way.
//
// # Limits
//
// A fork that fails for want of processes or memory is CodeLimit. Commands have
// a higher oom_score_adj than the agent, so that they die before it.
//
// # Locks
//
// capture.mu, then Table.mu; score.mu, reaper.mu and Process.mu are leaves.
// Under capture.mu the spool file is written, under Table.mu spool files are
// removed, under score.mu is a fork; nothing else waits under any.
package process
