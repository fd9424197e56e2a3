package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"moorage/cmd/moorage/store"
	"moorage/sandbox"
	"moorage/sandbox/containerd"
	"moorage/tools"
)

// BackgroundArgs are the arguments of a server that another command starts: it
// leaves by itself when no client has been there for a while.
var BackgroundArgs = []string{"--idle-exit", "10m"}

// shutdownGrace is how long calls may go on after the server was told to stop.
const shutdownGrace = 5 * time.Second

// Options configure a server.
type Options struct {
	Dirs       Dirs
	Version    string
	Store      store.Spec
	Containerd string        // address of a system containerd; "" = embedded
	HTTP       string        // address for streamable HTTP and SSE; "" = none
	IdleExit   time.Duration // leave when no client was there for so long; 0 = never
	ShimPath   string        // the embedded engine's shim

	Engine  containerd.Options // Root, Run and Log are set from the fields here
	Manager sandbox.Options    // likewise Log
	Tools   tools.Options      // likewise Version and Log
	Guard   tools.HTTPOptions  // likewise Tokens and Log
	Log     *slog.Logger
}

// Run runs a server until ctx ends. Containers go on after it.
func Run(ctx context.Context, o Options) (err error) {
	defer func() { reportReady(err) }()
	begun := time.Now()
	if err := checkRun(o); err != nil {
		return err
	}
	lock, err := Acquire(o.Dirs, o.Version)
	if err != nil {
		return err
	}
	defer lock.Close()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	st, err := openStore(o)
	if err != nil {
		return err
	}
	defer closeStore(st, o.Log)
	e, err := openEngine(ctx, o, st.Dir())
	if err != nil {
		return err
	}
	defer e.close()
	o.Manager.Log = o.Log
	manager := sandbox.NewManager(e.runtime, o.Manager)
	defer manager.Close()
	o.Tools.Version, o.Tools.Log = o.Version, o.Log
	server := tools.NewServer(manager, o.Tools)

	socket, err := listen(o.Dirs.Socket())
	if err != nil {
		return err
	}
	defer socket.Close()
	d := newDoor(o.Version, o.Log)
	web, err := listenHTTP(o, server, d)
	if err != nil {
		return err
	}
	info := Info{Version: o.Version, PID: os.Getpid(), Engine: e.name, Dirs: o.Dirs, HTTP: web.address()}
	ops := newConnListener()
	d.modes = map[string]func(context.Context, *net.UnixConn, Handshake){
		ModeMCP: func(ctx context.Context, c *net.UnixConn, h Handshake) {
			serveMCP(ctx, server, c, h, o.Log)
		},
		ModeAdmin: func(ctx context.Context, c *net.UnixConn, h Handshake) { ops.hand(ctx, c, h) },
	}
	api := &admin{info: info, images: e.runtime, manager: manager, log: o.Log}

	var wg sync.WaitGroup
	defer wg.Wait()
	apiServer := &http.Server{Handler: api.handler(), ReadHeaderTimeout: handshakeTimeout, BaseContext: func(net.Listener) context.Context { return ctx }}
	wg.Go(func() { _ = apiServer.Serve(ops) }) // ends by Close below
	wg.Go(func() { _ = d.run(ctx, socket) })
	wg.Go(func() {
		if err := manager.Adopt(ctx); err != nil {
			o.Log.Error("adopt containers", "err", err)
		}
	})
	web.start(&wg, o.Log)
	o.Log.Info("server is ready", "version", o.Version, "pid", info.PID, "socket", o.Dirs.Socket(), "http", info.HTTP, "engine", e.name, "dur", time.Since(begun))
	reportReady(nil)

	waitForEnd(ctx, d, o.IdleExit)
	o.Log.Info("server stops; containers go on")
	socket.Close()
	server.Close() // ends the streams of HTTP clients, which would hold up the next line
	web.shutdown()
	stop()
	return errors.Join(apiServer.Close(), ops.Close())
}

// waitForEnd returns when ctx ends or no client has been there for idle.
func waitForEnd(ctx context.Context, d *door, idle time.Duration) {
	if idle <= 0 {
		<-ctx.Done()
		return
	}
	tick := time.NewTicker(max(idle/10, 10*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if d.idle() >= idle {
				return
			}
		}
	}
}
