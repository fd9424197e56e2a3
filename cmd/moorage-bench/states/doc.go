// Package states measures how containers' states are kept, put back, forked and
// compared. It runs an engine of its own, since what it compares with, the
// engine's own way to make a layer, has to work on the very same files.
//
// It is a side of the benchmark: [Serve] answers the tools [SceneTool] and
// [ChainTool], whose results are JSON of [Result].
//
// # A scene
//
// A container gets its files by a shell of its own, in the root filesystem or in
// the data. Then, in each round:
//
//   - busy: create_snapshot while a process appends a few bytes every 5 ms;
//   - the engine's layer of the same root filesystem: a tar, gzipped;
//   - quiet: create_snapshot while nothing but the agent runs;
//   - again: the same with one file changed since;
//   - fork and create: a container from that snapshot, and one from the image, each
//     until true has run in it;
//   - diff: with the state before the files were made, which lists them all, and
//     with the present, in which one file is another;
//   - restore: of the running container, until true has run in it;
//   - untimed, every file is touched, so that all are in the uppermost layer again,
//     as when they were made, and the file system is synced.
//
// Snapshots are deleted as soon as they are measured, and that is not timed.
package states
