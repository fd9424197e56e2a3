// Package trees makes the trees of files that searches are compared on. A tree
// is the same on every machine.
package trees
