package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"moorage/cmd/moorage/handover"
)

// The modes of a connection.
const (
	ModeMCP   = "mcp"
	ModeAdmin = "admin"
)

// Bounds of the handshake.
const (
	handshakeMax     = 4 << 10
	handshakeTimeout = 5 * time.Second
)

// Handshake is the first line of a client.
type Handshake struct {
	Moorage int    `json:"moorage"` // version of the handshake: 1
	Mode    string `json:"mode"`
	Bot     string `json:"bot,omitempty"` // with ModeMCP
	// Handover, with ModeMCP, is the version in which the client can hand over its
	// standard input and output; 0 if it cannot.
	Handover int `json:"handover,omitempty"`
}

// Reply is the server's answer to it.
type Reply struct {
	OK       bool   `json:"ok"`
	Version  string `json:"version,omitempty"`
	Handover int    `json:"handover,omitempty"` // as in the handshake if the server takes it
	Error    string `json:"error,omitempty"`
}

// takes says whether the client's descriptors are handed over next.
func (h Handshake) takes() bool { return h.Mode == ModeMCP && h.Handover == handover.Version }

// Conn is a connection after the handshake.
type Conn struct {
	*net.UnixConn
	Handover bool // the server expects the descriptors next: handover.Give
}

// Dial connects to a running server and does the handshake.
func Dial(ctx context.Context, socket string, h Handshake) (Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return Conn{}, fmt.Errorf("connect to the server: %w", err)
	}
	h.Moorage = 1
	var r Reply
	err = writeLine(c, h)
	if err == nil {
		err = readLine(c, &r)
	}
	if err == nil && !r.OK {
		err = errors.New(r.Error)
	}
	if err != nil {
		c.Close()
		return Conn{}, fmt.Errorf("greet the server at %s: %w", socket, err)
	}
	return Conn{c.(*net.UnixConn), r.Handover != 0}, nil
}

func writeLine(c net.Conn, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := c.SetWriteDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return err
	}
	_, err = c.Write(append(b, '\n'))
	return errors.Join(err, c.SetWriteDeadline(time.Time{}))
}

// readLine reads one line and not a byte more: what follows is the session's.
func readLine(c net.Conn, v any) error {
	if err := c.SetReadDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return err
	}
	line := make([]byte, 0, 128)
	for b := []byte{0}; len(line) < handshakeMax; {
		if _, err := io.ReadFull(c, b); err != nil {
			return err
		}
		if b[0] == '\n' {
			return errors.Join(json.Unmarshal(line, v), c.SetReadDeadline(time.Time{}))
		}
		line = append(line, b[0])
	}
	return fmt.Errorf("the first line is longer than %d bytes", handshakeMax)
}
