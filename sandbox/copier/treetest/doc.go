// Package treetest helps tests of what copies, keeps or restores directory trees:
// [Compare] tells how two trees differ, to the byte and to every attribute, and
// [Mutate] makes trees with everything in them and changes them.
//
// It works on real directories and follows no symbolic link. Paths are relative
// to the tree's root, which itself is ".".
package treetest
