package handover

import (
	"bytes"
	"errors"
	"io"

	"golang.org/x/sys/unix"

	"moorage/tools"
)

// pageSize is of the largest pages that Go runs on.
const pageSize = 64 << 10

// keepMemory is how much of the input area keeps its memory when it is empty.
const keepMemory = 4 * pageSize

// input reads lines through a journal. Its positions are its own: what the
// journal says could be changed by the client at any time.
type input struct {
	*journal
	from end

	base, consumed, read uint64 // as in the journal
	line                 uint64 // length of the line that was read last and is not dealt with
	searched             uint64 // up to this position there is no line's end
	ended                bool
}

// next returns a copy of the next line, with its end if it has one; io.EOF
// after the last. A line over tools.MessageMax is cut, and stays over it.
func (i *input) next() ([]byte, error) {
	i.take()
	for {
		i.searched = max(i.searched, i.consumed)
		n := bytes.IndexByte(i.at(i.searched, i.read), '\n')
		switch {
		case n >= 0:
			i.line = i.searched + uint64(n) + 1 - i.consumed
		case i.ended && i.read > i.consumed:
			i.line = i.read - i.consumed
		case i.ended:
			return nil, io.EOF
		default:
			i.searched = i.read
			if err := i.fill(); err != nil {
				return nil, err
			}
			continue
		}
		return bytes.Clone(i.at(i.consumed, i.consumed+i.line)), nil
	}
}

// take notes that the line which was read last is dealt with.
func (i *input) take() {
	if i.line > 0 {
		i.consumed += i.line
		i.line = 0
		i.store(i.journal.consumed, i.consumed)
	}
}

// at is the input between two positions.
func (i *input) at(from, to uint64) []byte { return i.input()[from-i.base : to-i.base] }

// fill reads once. The area behind what was read is zero, and a line has no zero
// byte at its end: so what a read that was under way brought can be told.
func (i *input) fill() error {
	i.makeRoom()
	end := i.read + readMax
	i.store(i.window, end)
	n, err := i.from.Read(i.at(i.read, end))
	if n > 0 {
		i.read += uint64(n)
		i.store(i.journal.read, i.read)
	}
	if errors.Is(err, io.EOF) {
		i.ended = true
		return nil
	}
	return err
}

// makeRoom sees to readMax free bytes behind what was read.
func (i *input) makeRoom() {
	kept, gone := i.read-i.consumed, i.consumed-i.base
	switch {
	case kept > tools.MessageMax+readMax:
		i.cut(i.consumed + tools.MessageMax + readMax/2)
	case gone > 0 && (kept == 0 || gone >= max(kept, readMax)):
		i.move()
	}
}

// move brings what is kept to the area's beginning. It does not overlap what
// was there, so the store of base makes it valid at once.
func (i *input) move() {
	i.store(i.window, 0)
	kept, end := i.read-i.consumed, i.read-i.base
	copy(i.input(), i.at(i.consumed, i.read))
	i.base = i.consumed
	i.store(i.journal.base, i.base)
	i.clear(kept, end)
}

// cut forgets the end of a line that is too long, which nobody will look at.
func (i *input) cut(to uint64) {
	i.store(i.window, 0)
	end := i.read - i.base
	i.read, i.searched = to, to
	i.store(i.journal.read, i.read)
	i.clear(i.read-i.base, end)
}

// clear zeroes a part of the area, and gives back memory that is seldom needed.
func (i *input) clear(from, to uint64) {
	if give := max(keepMemory, (from+pageSize-1)/pageSize*pageSize); to > give {
		last := min((to+pageSize-1)/pageSize*pageSize, inputSize)
		if unix.Madvise(i.input()[give:last], unix.MADV_REMOVE) == nil {
			to = give
		}
	}
	if from < to {
		clear(i.input()[from:to])
	}
}
