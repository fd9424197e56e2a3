// Package changes tells what changed between two states of a container: its root
// filesystem by layers, its data as a plain tree, both in one list in the order of
// their paths in the container.
//
// What is compared lies on the host and may be a running container's: see package
// layers for what that means. All changes are walked and counted; only a page of
// them, and patches up to a bound, are kept.
package changes
