package process

import (
	"os"
	"sync"

	"moorage/fsbridge"
)

// inputTotal is how many bytes may wait until processes read them, of all
// processes; of one it is StdinMax.
const inputTotal = 32 << 20

// eot is what a terminal takes for the end, at the start of a line.
const eot = 4

// input is what standard input is written to. A queue takes what is to be
// written; while there is any, a goroutine writes it, so that a process that does
// not read holds up nobody.
type input struct {
	t        *Table
	file     *os.File
	terminal bool // the file is the capture's too, which closes it

	mu     sync.Mutex
	queue  []byte
	busy   bool // a goroutine writes
	ending bool // no more is taken; a pipe is closed after what is in the queue
	broken bool // nobody reads any more
	last   byte // the last byte that was put, 0 at first
}

// newInput makes an input; nothing is written yet.
func newInput(t *Table, file *os.File, terminal bool) *input {
	return &input{t: t, file: file, terminal: terminal}
}

// admitInput counts the first n bytes for a process that is to be started.
func (t *Table) admitInput(n int) error {
	if all := t.queued.Add(int64(n)); n > 0 && all > inputTotal {
		t.queued.Add(-int64(n))
		return fsbridge.Errorf(fsbridge.OpExec, "", fsbridge.CodeLimit, "stdin: processes have not read %d bytes that were "+
			"written before, and at most %d may wait in all; try again when they have read", all-int64(n), inputTotal)
	}
	return nil
}

// begin writes the first input, which was admitted, and with end the end.
func (in *input) begin(b []byte, end bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	admitted := len(b)
	if in.terminal && end && len(b) > 0 {
		b = in.typeEnd(b)
	}
	in.t.queued.Add(int64(len(b) - admitted))
	in.ending = end && !in.terminal
	in.queueLocked(b)
}

// put queues b and, with end, the end. All of b is taken or nothing.
func (in *input) put(op fsbridge.Op, b []byte, end bool) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if err := in.check(op, len(b)); err != nil {
		return err
	}
	if in.terminal && end {
		b = in.typeEnd(b)
	}
	in.ending = in.ending || end && !in.terminal
	if in.broken {
		b = nil
	}
	in.t.queued.Add(int64(len(b)))
	in.queueLocked(b)
	return nil
}

// queueLocked adds b, which was counted.
func (in *input) queueLocked(b []byte) {
	if len(b) > 0 {
		in.last = b[len(b)-1]
	}
	if len(in.queue) == 0 {
		in.queue = b[:len(b):len(b)]
	} else {
		in.queue = append(in.queue, b...)
	}
	if !in.busy && (len(in.queue) > 0 || in.ending) {
		in.busy = true
		in.t.wg.Go(in.flush)
	}
}

// check refuses n bytes that cannot be taken.
func (in *input) check(op fsbridge.Op, n int) error {
	refuse := func(code fsbridge.Code, format string, args ...any) error {
		return fsbridge.Errorf(op, "", code, format, args...)
	}
	waiting, all := len(in.queue), in.t.queued.Load()
	switch {
	case n == 0:
		return nil
	case in.ending:
		return refuse(fsbridge.CodeInvalid, "input: standard input is closed; %s", howToWrite)
	case in.broken:
		return refuse(fsbridge.CodeInvalid, "input: the process has closed its standard input")
	case waiting+n > fsbridge.StdinMax:
		return refuse(fsbridge.CodeLimit, "input: none of the %d bytes was taken: the process has not read %d bytes that were "+
			"written before, and at most %d may wait; write them when it has read", n, waiting, fsbridge.StdinMax)
	case all+int64(n) > inputTotal:
		return refuse(fsbridge.CodeLimit, "input: none of the %d bytes was taken: processes have not read %d bytes that were "+
			"written before, and at most %d may wait in all; write them when they have read", n, all, inputTotal)
	}
	return nil
}

const howToWrite = "to write to a command, start it with standard input kept open (stdin_open true, or tty true)"

// typeEnd adds EOT to b, twice where that is not the start of a line.
func (in *input) typeEnd(b []byte) []byte {
	last := in.last
	if len(b) > 0 {
		last = b[len(b)-1]
	}
	b = b[:len(b):len(b)]
	if last != 0 && last != '\n' && last != eot {
		b = append(b, eot)
	}
	return append(b, eot)
}

// flush writes the queue until it is empty.
func (in *input) flush() {
	for {
		b := in.next()
		if b == nil {
			return
		}
		if _, err := in.file.Write(b); err != nil { // nobody reads it
			in.discard()
		}
	}
}

// next takes the next piece of the queue, nil when that is empty.
func (in *input) next() []byte {
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.queue) > 0 {
		b := in.queue[:min(len(in.queue), pumpSize)]
		in.queue = in.queue[len(b):]
		in.t.queued.Add(-int64(len(b)))
		return b
	}
	in.queue, in.busy = nil, false
	if in.ending && !in.terminal {
		in.file.Close()
	}
	return nil
}

// discard empties the queue for ever.
func (in *input) discard() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.t.queued.Add(-int64(len(in.queue)))
	in.queue, in.broken = nil, true
}

// end takes no more; what is in the queue is still written.
func (in *input) end() {
	if !in.terminal {
		in.put(fsbridge.OpFollow, nil, true)
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.ending = true
}

// close gives the queue up. A terminal's file is left open.
func (in *input) close() {
	in.discard()
	if !in.terminal {
		in.file.Close()
	}
}

// open reports whether more is taken.
func (in *input) open() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return !in.ending && !in.broken
}
