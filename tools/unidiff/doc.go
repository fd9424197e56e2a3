// Package unidiff reads the text of a unified diff, as diff -u, git diff and
// language models write it, into the file patches of package fsbridge.
//
// The syntax of headers, names and hunks is that of go-gitdiff. Before that the
// text is mended where models often go wrong and the meaning is plain: the line
// counts of a hunk header (or all of its numbers) that do not fit the hunk, an
// empty line for an empty context line, and a fence around the whole. The name
// prefixes a/ and b/ are taken off where both are there, as patch -p1 does.
//
// It reads no file: where a hunk belongs is found where the file is.
package unidiff
