package daemon

import (
	"context"
	"net"
	"sync"
)

// connListener is a net.Listener of connections that the door accepted.
type connListener struct {
	conns chan net.Conn
	done  chan struct{}
	close func()
}

func newConnListener() *connListener {
	l := &connListener{conns: make(chan net.Conn), done: make(chan struct{})}
	l.close = sync.OnceFunc(func() { close(l.done) })
	return l
}

func (l *connListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *connListener) Close() error {
	l.close()
	return nil
}

func (l *connListener) Addr() net.Addr { return &net.UnixAddr{Name: "admin", Net: "unix"} }

// hand gives a connection to whoever accepts, and waits until it is closed.
func (l *connListener) hand(ctx context.Context, c net.Conn, _ Handshake) {
	w := &watchedConn{Conn: c, closed: make(chan struct{})}
	select {
	case l.conns <- w:
	case <-l.done:
		return
	case <-ctx.Done():
		return
	}
	select {
	case <-w.closed:
	case <-ctx.Done():
	}
}

// watchedConn tells when it is closed.
type watchedConn struct {
	net.Conn
	once   sync.Once
	closed chan struct{}
}

func (w *watchedConn) Close() error {
	w.once.Do(func() { close(w.closed) })
	return w.Conn.Close()
}
