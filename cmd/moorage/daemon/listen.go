package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/user"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"moorage/sandbox"
)

// maxConns bounds the connections on the socket at once.
const maxConns = 256

// Group is the group whose members may use the socket.
const Group = "moorage"

// listen opens the server's socket. The directory's lock is held, so what is at
// its path is left over.
func listen(path string) (*net.UnixListener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove old socket: %w", err)
	}
	old := unix.Umask(0o117) // 0660 from the start; nothing else makes files yet
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	unix.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("listen at %s (at most 107 bytes): %w", path, err)
	}
	g, err := user.LookupGroup(Group)
	if err != nil {
		return l, nil // no such group: root alone
	}
	gid, err := strconv.Atoi(g.Gid)
	if err == nil {
		err = os.Chown(path, 0, gid)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("give the socket to group %s: %w", Group, err), l.Close())
	}
	return l, nil
}

// newDoor makes a door through which nobody has come yet.
func newDoor(version string, log *slog.Logger) *door {
	d := &door{version: version, log: log}
	d.since.Store(time.Now().UnixNano())
	return d
}

// door accepts connections, does the handshake, and hands each to the function
// of its mode. It knows how many are open and since when none was.
type door struct {
	version string
	modes   map[string]func(ctx context.Context, c *net.UnixConn, h Handshake)
	log     *slog.Logger

	open  atomic.Int64 // connections on the socket
	web   atomic.Int64 // HTTP requests
	since atomic.Int64 // unix nanoseconds of when one of them ended
}

// idle is how long nobody has been there.
func (d *door) idle() time.Duration {
	if d.open.Load() > 0 || d.web.Load() > 0 {
		return 0
	}
	return time.Since(time.Unix(0, d.since.Load()))
}

// enter counts a client in, in one of the door's counters, and returns what
// counts it out.
func (d *door) enter(counter *atomic.Int64) (leave func()) {
	counter.Add(1)
	return func() {
		d.since.Store(time.Now().UnixNano())
		counter.Add(-1)
	}
}

// run accepts until the listener is closed, and then waits for the connections.
func (d *door) run(ctx context.Context, l *net.UnixListener) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		c, err := l.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil { // out of file descriptors, as a rule: others may end
			d.log.Error("accept", "err", err)
			select {
			case <-time.After(100 * time.Millisecond):
				continue
			case <-ctx.Done():
				return nil
			}
		}
		leave := d.enter(&d.open)
		wg.Go(func() {
			defer leave()
			defer c.Close()
			d.serve(ctx, c)
		})
	}
}

func (d *door) serve(ctx context.Context, c *net.UnixConn) {
	var h Handshake
	if err := readLine(c, &h); err != nil {
		d.refuse(c, fmt.Sprintf("handshake: %v; expected one line such as {\"moorage\":1,\"mode\":\"mcp\",\"bot\":\"default\"}", err))
		return
	}
	serve, ok := d.modes[h.Mode]
	switch {
	case h.Moorage != 1:
		d.refuse(c, fmt.Sprintf("handshake version %d: this server %s speaks version 1; use the same version of moorage on both sides", h.Moorage, d.version))
	case !ok:
		d.refuse(c, fmt.Sprintf("handshake mode %q: allowed are %q and %q", h.Mode, ModeMCP, ModeAdmin))
	case h.Mode == ModeMCP && botError(h.Bot) != nil:
		d.refuse(c, botError(h.Bot).Error())
	case d.open.Load() > maxConns:
		d.refuse(c, fmt.Sprintf("limit_exceeded: %d connections are open, no more are allowed; close one", maxConns))
	default:
		reply := Reply{OK: true, Version: d.version}
		if h.takes() {
			reply.Handover = h.Handover
		}
		if err := writeLine(c, reply); err == nil {
			serve(ctx, c, h)
		}
	}
}

func botError(name string) error {
	_, err := sandbox.ParseBot(name)
	return err
}

func (d *door) refuse(c net.Conn, why string) {
	d.log.Warn("refused connection", "err", why)
	_ = writeLine(c, Reply{Error: why, Version: d.version}) // the peer may be gone: nothing is lost
}
