package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"moorage/tools"
)

// Bounds of the HTTP listener.
const (
	headerTimeout  = 5 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 64 << 10
)

// web is the listener for streamable HTTP and SSE; nil when there is none.
type web struct {
	listener net.Listener
	server   *http.Server
}

func listenHTTP(o Options, server *tools.Server, d *door) (*web, error) {
	if o.HTTP == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", o.HTTP)
	if err != nil {
		return nil, fmt.Errorf("listen for HTTP at %s: %w; choose another address with --http", o.HTTP, err)
	}
	if a, ok := l.Addr().(*net.TCPAddr); ok && !a.IP.IsLoopback() {
		o.Log.Warn("HTTP without TLS on an address that others can reach; tokens cross the network readable", "addr", l.Addr())
	}
	o.Guard.Addr = l.Addr().String()
	o.Guard.Tokens = tools.OpenTokens(o.Dirs.Tokens())
	return &web{l, &http.Server{
		Handler: counted(server.HTTPHandler(o.Guard), d), ReadHeaderTimeout: headerTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelWarn),
	}}, nil
}

// counted keeps the server from leaving as idle while a request is answered.
func counted(next http.Handler, d *door) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer d.enter(&d.web)()
		next.ServeHTTP(w, r)
	})
}

func (w *web) address() string {
	if w == nil {
		return ""
	}
	return w.listener.Addr().String()
}

func (w *web) start(wg *sync.WaitGroup, log *slog.Logger) {
	if w == nil {
		return
	}
	wg.Go(func() {
		if err := w.server.Serve(w.listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("serve HTTP", "err", err)
		}
	})
}

// shutdown lets calls end for a while, and then ends them.
func (w *web) shutdown() {
	if w == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), shutdownGrace)
	defer cancel()
	if w.server.Shutdown(ctx) != nil {
		w.server.Close()
	}
}
