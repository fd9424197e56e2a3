// Package sandboxtest is the suite that every sandbox.Runtime passes, and what
// its tests need: the agent built from source, image tars made on the spot, a
// system containerd of the test's own, and a look for what was left behind.
//
// [Run] is given a function that opens a runtime on new directories. It uses
// real containers with the real agent, so it needs root; without root its tests
// are skipped, and say so.
package sandboxtest
