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
// all, the oldest finished process making room. What is beyond, and what comes
// after an error of the file (a full disk), which the result tells, is counted,
// and the newest of it kept in memory: 64 KiB of a stream, or 4 KiB when all
// such rings have 8 MiB. So a command that writes for ever neither grows anything
// nor stops, and can still be followed. The head and the tail for the result of
// Exec are kept in memory until it was made.
//
// A [Table.Follow] reads from the spool file and the ring by its cursor. It is
// woken by new output if it looks for something, and looks at most a fifth of the
// time.
//
// # Input
//
// Standard input has a queue, and a goroutine while there is anything in it. A
// queue has at most StdinMax bytes, all of them 32 MiB; more is refused, and
// nobody waits for a process that does not read.
//
// # Kills
//
// A kill is for the process group and for all descendants, those too that have
// left group and session and lost their parents: each command has its id in its
// environment, which children inherit. It looks through /proc until it finds none
// that is new. What escapes: a program that has cleared or overwritten its
// environment and whose parents have ended before the kill.
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
// capture.mu, then Table.mu, then input.mu; score.mu, reaper.mu, Process.mu,
// watchers.mu and census.mu are leaves. Under capture.mu the spool file is
// written, under Table.mu spool files are removed, under score.mu is a fork, under
// census.looking /proc is read; nothing else waits under any.
package process
