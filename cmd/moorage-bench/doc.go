// Command moorage-bench compares Moorage with what stands beside it, in one run,
// and prints one table. It starts everything that it compares with itself:
//
//   - the floor: a stock mcp-go server over stdio whose tool does nothing (this
//     binary again, with the argument "floor");
//   - @modelcontextprotocol/server-filesystem over stdio, not sandboxed, if Node
//     is in the cache (`make bench` puts it there);
//   - bare runc, on a bundle that it makes of the host's static busybox;
//   - rg, grep and find on the host, those that there are (`make bench` brings rg);
//   - the bridge: the agent of a container without MCP in between (this binary
//     again, see package bridge);
//   - containerd's own way to make a layer (this binary again, see package states).
//
// # Method
//
// The sides of a contest take turns in many short rounds, in an order that
// rotates, so that the machine's noise falls on all of them; the first round of
// each is not counted. All MCP servers are driven by the same client (package
// client), which encodes requests before the clock runs and looks at little more
// of an answer than its id. Before it is timed, each side has shown that it does
// the work. Figures of different runs do not compare; the ratios of one run do.
//
// # The rows
//
// fs_read, fs_write, fs_list, fs_edit: the same files of 4 KiB, and a directory
// of 100, that each server was given through its own tools. An edit exchanges one
// line for another and back, so every one changes the file. In flight together,
// reads, writes and lists are of one file or directory, edits of a file each,
// since an edit must know what the last one left. Moorage syncs what it writes to
// the disk; the reference server does not.
//
// exec true: a process is started and waited for, by the agent and by `runc exec`,
// whose own start is a part of it as it is for who calls it.
//
// fs_grep: one line is in 50 of 5,000 files of 4 KiB, the very same files for all:
// the bot's data, seen by the native tools on the host. Their start and the
// reading of what they print count, as they do for an agent that runs them. None
// of the files is ignored or binary, so all tools read the same. The reference
// server has no search of contents; its search_files, which opens no file, looks
// for the 50 names. What its clients would do instead, read every file, is no
// contest.
//
// fs_glob: 100 of 100,000 empty files in 1,000 directories by their name, and the
// 200 newest of all, for which each must be looked at for its time. Ten directories
// each hold links to the same files, since that many are slow to make on some
// filesystems; a search sees no difference, but finds more of them in the
// processor's cache, and so do the others. rg sorts only within directories, so
// that there the native side is find with sort.
//
// read of 100 MB: a call is the whole file, from the page cache. Through the bridge
// by slices one after the other, the next asked for when the last has come, and by
// one stream; through fs_read, where each slice becomes JSON; and by pread on the
// host, which is what there would be without a container. Two links to one file.
// The reference server has no slices.
//
// create to first answer: a container from create_container to the answer of its
// agent, against `runc run` of true, which also waits for its end and clears up.
//
// exec true, 20 x 50/s offered: 20 bots with a client and a container each. A
// command is due every 20 ms in each whether those before it have ended or not,
// and its time counts from when it was due: what waits its turn is not left out.
// The rate is of commands that had ended when the time was over or, later, when
// the last one had. There is no peer: `runc exec` takes longer than both processors
// of a small machine have for each.
//
// keep, fork, restore, diff: containers' states, with few files, many, and a big
// one, in the root filesystem or in the data (package states says what is done in
// a round). The engine's CreateDiff makes a gzipped tar of the same root filesystem,
// which is the way of `docker commit`; it leaves the data out. All of it happens
// twice: on the host's file system, for which an ext4 is made in a file, since one
// that has been in use for long can take ten times as long to make files on; and
// on a loop store. What the container waits is while it is frozen, or operations
// are held back.
//
// keep in a row: so many snapshots of one container, a small file changed before
// each; then reading and opening of files that were there before the first, by
// turns with a container of which no snapshot was made.
//
// server start, server RSS: `moorage serve` on empty directories, until its socket
// answers.
//
// # What it leaves
//
// Nothing: state, trees of files included, is in a directory of its own, servers
// are started and stopped by process id, containers are deleted, also after an
// error or a signal. An aim that is missed is printed and is no failure; the exit
// code is 1 only if something broke, or the server lacks a tool: then its contests
// are left out. A run ends within nine minutes, or is an error, with the rows that
// there are by then; it takes about five, with -short, which keeps no big file, two.
package main
