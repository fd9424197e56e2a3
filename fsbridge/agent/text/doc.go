// Package text changes the content of files: it replaces exact passages, places
// the hunks of patches, and tells the difference. It knows bytes, not files.
//
// # Model
//
// A [Change] is a content before and after. [Replace] makes one from edits and
// [Patch] one from hunks; both change all or nothing, and say in an
// *fsbridge.Error (without operation and path) what a caller needs to mend what
// he asked for. The [Diff] of a Change is made from where it was changed, not by
// comparing the whole.
//
// # Lines
//
// A line ends with LF; the CR before it belongs to its end. The content's own
// line ends, its byte order mark, a missing end of the last line and bytes that
// are not UTF-8 stay as they are where nothing is replaced. Text that comes in
// with LF stands for the content's line ends, whatever they are.
//
// # Bounds
//
// All is linear in the content, but for the placing of hunks, which has a bound
// of its own (workMax). Memory is a few times the content, which the caller
// bounds.
package text
