// Package text finds a pattern in the lines of a buffer.
//
// # Model
//
// A [Pattern] is compiled once and used by any number of goroutines. Its
// [Pattern.Next] finds the next match in a buffer of whole lines. Package regexp
// matches; but before that a text is looked for that every match has in it, if
// the pattern has such a text ([needles]): that is many times faster, and most
// lines are seen no more. Without one each line is matched by itself. A line of
// ASCII is matched by an automaton that is made as it is needed, since that takes
// a tenth of package regexp's time.
//
// A line is matched without its end, so \s or [^a] do not go over lines, and $
// stands before \r\n. With Lines unset (a multiline pattern) the buffer is
// matched as a whole: . matches a line's end, ^ and $ are those of lines.
//
// # Bounds
//
// RE2 takes time in proportion to the text times the pattern. The pattern's
// program is bounded (programMax) by what its repetitions amount to, before it is
// compiled. A line on which it would take long is matched through a reader that
// looks at the context. An automaton has at most statesMax states.
//
// # What it does not do
//
// It reads no files and knows nothing of binary ones.
package text
