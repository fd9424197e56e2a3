package fsbridge

import (
	"encoding/binary"
	"fmt"
)

// HeaderSize is the length in bytes of what comes before a frame's JSON.
const HeaderSize = 20

// maxGreeting is the most bytes of JSON in a hello or a welcome.
const maxGreeting = 64 << 10

// Kind says what a frame is for; doc.go has the table.
type Kind uint8

// The kinds of frames.
const (
	KindHello Kind = 1 + iota
	KindWelcome
	KindRequest
	KindResponse
	KindError
	KindData
	KindEnd
	KindCredit
	KindCancel
)

var kindNames = [...]string{
	"", "hello", "welcome", "request", "response", "error", "data", "end", "credit", "cancel",
}

func (k Kind) String() string {
	if k == 0 || int(k) >= len(kindNames) {
		return fmt.Sprintf("kind %d", uint8(k))
	}
	return kindNames[k]
}

// Op says which operation a request asks for; doc.go has the table.
type Op uint8

// The operations.
const (
	OpPing Op = 1 + iota
	OpRead
	OpFetch
	OpWrite
	OpList
	OpStat
	OpExec
	OpEdit
	OpPatch
	OpGlob
	OpGrep
	OpMkdir
	OpMove
	OpDelete
	OpFollow
	OpProcesses
)

var opNames = [...]string{
	"", "ping", "read", "fetch", "write", "list", "stat", "exec",
	"edit", "patch", "glob", "grep", "mkdir", "move", "delete", "follow", "processes",
}

func (o Op) String() string {
	if o == 0 || int(o) >= len(opNames) {
		return fmt.Sprintf("operation %d", uint8(o))
	}
	return opNames[o]
}

// Header is the fixed part of a frame.
type Header struct {
	ID      uint64
	Kind    Kind
	Op      Op
	JSONLen int
	DataLen int
}

// AppendHeader appends the header's wire form to b.
func AppendHeader(b []byte, h Header) []byte {
	b = binary.LittleEndian.AppendUint64(b, h.ID)
	b = append(b, byte(h.Kind), byte(h.Op), 0, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(h.JSONLen))
	return binary.LittleEndian.AppendUint32(b, uint32(h.DataLen))
}

// ParseHeader reads a header from the first HeaderSize bytes of b and checks all
// that can be known without the connection's state. The error is a
// *ProtocolError.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderSize {
		return Header{}, violation("header of %d bytes", len(b))
	}
	if flags := binary.LittleEndian.Uint16(b[10:]); flags != 0 {
		return Header{}, violation("unknown flags %#x", flags)
	}
	jsonLen, dataLen := binary.LittleEndian.Uint32(b[12:]), binary.LittleEndian.Uint32(b[16:])
	if jsonLen > MaxJSON || dataLen > MaxData {
		return Header{}, violation("frame too long: %d bytes of JSON, %d of data", jsonLen, dataLen)
	}
	h := Header{
		ID:      binary.LittleEndian.Uint64(b),
		Kind:    Kind(b[8]),
		Op:      Op(b[9]),
		JSONLen: int(jsonLen),
		DataLen: int(dataLen),
	}
	return h, h.check()
}

// check holds each kind to its shape.
func (h Header) check() error {
	var ok bool
	switch h.Kind {
	case KindHello, KindWelcome:
		ok = h.JSONLen > 0 && h.JSONLen <= maxGreeting && h.DataLen == 0
	case KindRequest, KindResponse:
		ok = true
	case KindError:
		ok = h.JSONLen > 0 && h.DataLen == 0
	case KindData:
		ok = h.JSONLen == 0 && h.DataLen > 0
	case KindCredit:
		ok = h.JSONLen == 0 && h.DataLen == 4
	case KindEnd, KindCancel:
		ok = h.JSONLen == 0 && h.DataLen == 0
	default:
		return violation("unknown %v", h.Kind)
	}
	greeting := h.Kind == KindHello || h.Kind == KindWelcome
	switch {
	case !ok:
		return violation("%v with %d bytes of JSON and %d of data", h.Kind, h.JSONLen, h.DataLen)
	case greeting != (h.ID == 0):
		return violation("%v with id %d", h.Kind, h.ID)
	case (h.Kind == KindRequest) != (h.Op != 0):
		return violation("%v with %v", h.Kind, h.Op)
	}
	return nil
}

// Frame is one frame as it was received.
type Frame struct {
	Header
	JSON []byte
	Data []byte
}

// Credit returns how many bytes a credit frame grants.
func (f *Frame) Credit() uint32 { return binary.LittleEndian.Uint32(f.Data) }

func violation(format string, args ...any) *ProtocolError {
	return &ProtocolError{Reason: fmt.Sprintf(format, args...)}
}
