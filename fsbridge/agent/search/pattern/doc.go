// Package pattern matches names and paths in the container: the globs of a
// request, and the rules of .gitignore files.
//
// # Model
//
// A path is names with slashes between them, without one at either end. A
// pattern is a row of segments, each of which matches one name, or any number of
// names where it is **. A segment that is plain text, or has one star at an end,
// is compared as text; any other is doublestar's to match. So a slash is never
// matched by a star or a class, whatever is in it.
//
// # Bounds
//
// Braces are written out before anything is matched, to at most maxAlternatives
// patterns: the product of a row of them would grow without limit. Matching takes
// at most the length of the path times that of the pattern.
//
// # What it does not do
//
// It reads no file and knows no file system. Names are compared as bytes, but for
// ? and classes, which take one character of UTF-8.
package pattern
