package handover

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"moorage/tools"
)

// Layout of the journal, version 1; see doc.go. Offsets and sizes in bytes.
const (
	slotsAt  = 4 << 10
	slotSize = 1 << 10
	slots    = tools.InFlight
	helloAt  = slotsAt + slots*slotSize
	inputAt  = helloAt + tools.HelloMax
	// readMax is the most that one read of the input takes.
	readMax = 64 << 10
	// inputMax is the most input that is kept: a line that is just too long, and
	// what was read behind a line.
	inputMax  = tools.MessageMax + 4*readMax
	inputSize = 2 * inputMax // so that what is kept can be moved without overlap
	size      = inputAt + inputSize
)

// seals keep the journal's size: a map of it never faults.
const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL

// journal is one mapping of a journal.
type journal struct {
	memory []byte
	stored func() // called after each store, in tests

	// Positions in the stream of input, but for base.
	base     *atomic.Uint64 // the position that is at the input area's beginning
	consumed *atomic.Uint64 // the beginning of the first line that is not dealt with
	read     *atomic.Uint64 // the end of what was read
	window   *atomic.Uint64 // where a read that may be under way ends at most; none if not over read

	writing *atomic.Uint64 // 1 while a message that may get out in parts is written
	hello   *atomic.Uint64 // length of the initialize message
}

// create makes an empty journal and a descriptor of it, which is the caller's.
func create() (*journal, int, error) {
	fd, err := unix.MemfdCreate("moorage-journal", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, -1, fmt.Errorf("make a journal: %w", err)
	}
	err = unix.Ftruncate(fd, size)
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
	}
	var j *journal
	if err == nil {
		j, err = mapJournal(fd)
	}
	if err != nil {
		unix.Close(fd)
		return nil, -1, fmt.Errorf("make a journal: %w", err)
	}
	return j, fd, nil
}

// openJournal maps a journal that the other side made.
func openJournal(fd int) (*journal, error) {
	got, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil || got&seals != seals {
		return nil, errors.Join(fmt.Errorf("open the journal: it has the seals %#x, expected %#x", got, seals), err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Size != size {
		return nil, errors.Join(fmt.Errorf("open the journal: it has %d bytes, expected %d", st.Size, size), err)
	}
	return mapJournal(fd)
}

func mapJournal(fd int) (*journal, error) {
	m, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	j := &journal{memory: m}
	for i, w := range []**atomic.Uint64{&j.base, &j.consumed, &j.read, &j.window, &j.writing, &j.hello} {
		*w = j.word(8 * i)
	}
	return j, nil
}

// close unmaps the journal, which nobody may use any more.
func (j *journal) close() { _ = unix.Munmap(j.memory) } // it can only fail for a mapping that is none

func (j *journal) word(at int) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Pointer(&j.memory[at]))
}

// store is one step: between any two the process may end.
func (j *journal) store(w *atomic.Uint64, v uint64) {
	w.Store(v)
	if j.stored != nil {
		j.stored()
	}
}

func (j *journal) input() []byte      { return j.memory[inputAt:size] }
func (j *journal) helloBytes() []byte { return j.memory[helloAt:inputAt] }

// slot is where a request in flight stands.
type slot struct {
	begun *atomic.Uint64 // 1 + the position of its line; 0 if the slot is free
	kind  *atomic.Uint64 // length of the id, and whether it is a tool call
	id    []byte
}

// toolCall is added to the length of the id.
const toolCall = 1 << 32

func (j *journal) slot(i int) slot {
	at := slotsAt + i*slotSize
	return slot{j.word(at), j.word(at + 8), j.memory[at+16 : at+slotSize]}
}
