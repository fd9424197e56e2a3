package sandbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"moorage/fsbridge"
)

// Agent is the open connection to a container's agent, and what had to be done
// to have it.
type Agent struct {
	*fsbridge.Client
	Ref     Ref
	Created bool // the bot had no container: this one was made
	Started bool // it did not run: it was started
}

// Agent returns the agent of one of the bot's containers, id, or of its current
// one if id is "". A container that does not run is started. A bot that has none
// gets one made from the default image, unless Options.NoAutoCreate is set.
//
// ErrNotFound: no such container of this bot. ErrUnavailable: it does not start
// or its agent does not answer.
func (m *Manager) Agent(ctx context.Context, bot Bot, id ContainerID) (Agent, error) {
	ref := Ref{bot, id}
	if id == "" {
		var err error
		var made bool
		if ref, made, err = m.currentOrNew(ctx, bot); err != nil {
			return Agent{}, err
		}
		if made {
			a, err := m.running(ctx, ref)
			return Agent{Client: a.Client, Ref: ref, Created: true, Started: true}, err
		}
	}
	if c := m.open(ref); c != nil {
		return Agent{Client: c, Ref: ref}, nil
	}
	return m.running(ctx, ref)
}

// open returns the client of a container if its connection is open.
func (m *Manager) open(ref Ref) *fsbridge.Client {
	m.mu.Lock()
	c := m.agents[ref]
	m.mu.Unlock()
	if c == nil || c.Err() != nil {
		return nil
	}
	return c
}

// running makes sure that the container runs and its agent is connected. A
// caller who leaves does not undo a start that has begun: the next one needs it.
func (m *Manager) running(ctx context.Context, ref Ref) (Agent, error) {
	type outcome struct {
		agent Agent
		err   error
	}
	done := make(chan outcome, 1)
	m.mu.Lock()
	closed := m.closed
	if !closed {
		m.watch.Go(func() {
			a, err := m.ensureRunning(ctx, ref)
			done <- outcome{a, err}
		})
	}
	m.mu.Unlock()
	if closed {
		return Agent{}, errClosed(ref)
	}
	select {
	case o := <-done:
		return o.agent, o.err
	case <-ctx.Done():
		return Agent{}, fmt.Errorf("wait for container %s to start: %w", ref.ID, ctx.Err())
	}
}

func errClosed(ref Ref) error {
	return fmt.Errorf("container %s: %w: the server is stopping", ref.ID, ErrUnavailable)
}

func (m *Manager) ensureRunning(ctx context.Context, ref Ref) (Agent, error) {
	unlock, err := m.containers.lock(ctx, ref)
	if err != nil {
		return Agent{}, fmt.Errorf("wait for container %s: %w", ref.ID, err)
	}
	defer unlock()
	if c := m.open(ref); c != nil {
		return Agent{Client: c, Ref: ref}, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), startTimeout)
	defer cancel()
	st, err := m.rt.Status(ctx, ref)
	if err != nil {
		m.forget(ref, err)
		return Agent{}, err
	}
	if st.State == StateRunning {
		c, err := m.connect(ctx, ref, redialTimeout)
		if err == nil {
			return Agent{Client: c, Ref: ref}, nil
		}
		m.opts.Log.Warn("restart container without agent", "bot", ref.Bot, "container", ref.ID, "err", err)
		if err := m.rt.Stop(ctx, ref, 0); err != nil {
			return Agent{}, fmt.Errorf("stop container %s whose agent is gone: %w", ref.ID, err)
		}
	}
	c, err := m.start(ctx, ref)
	return Agent{Client: c, Ref: ref, Started: true}, err
}

// start starts a container and waits for its agent. The container's lock is held.
func (m *Manager) start(ctx context.Context, ref Ref) (*fsbridge.Client, error) {
	begun := time.Now()
	if err := m.rt.Start(ctx, ref); err != nil {
		return nil, fmt.Errorf("start container %s: %w", ref.ID, err)
	}
	c, err := m.connect(ctx, ref, startTimeout)
	if err != nil {
		undo, cancel := cleanupContext(ctx)
		defer cancel()
		return nil, errors.Join(fmt.Errorf("start container %s: %w", ref.ID, err), m.rt.Stop(undo, ref, 0))
	}
	m.opts.Log.Info("started container", "bot", ref.Bot, "container", ref.ID, "dur", time.Since(begun))
	return c, nil
}

// connect waits for the agent of a running container to dial, and keeps the
// client. The container's lock is held.
func (m *Manager) connect(ctx context.Context, ref Ref, wait time.Duration) (*fsbridge.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	stream, err := m.rt.Connect(ctx, ref)
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("connect to the agent: %w: it did not dial within %v", ErrUnavailable, wait)
		}
		return nil, fmt.Errorf("connect to the agent: %w", err)
	}
	c, err := fsbridge.Connect(ctx, stream, fsbridge.Welcome{Version: fsbridge.Version, DataDir: fsbridge.Path(m.opts.DataDir)})
	if err != nil {
		stream.Close()
		return nil, fmt.Errorf("greet the agent: %w: %w", ErrUnavailable, err)
	}
	if v := c.Hello().Version; v != fsbridge.Version {
		c.Close()
		return nil, fmt.Errorf("greet the agent: %w: it speaks version %d of the wire, this server %d", ErrUnavailable, v, fsbridge.Version)
	}
	if err := m.keep(ref, c); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// keep puts a client into the map, and takes it out when its connection ends.
func (m *Manager) keep(ref Ref, c *fsbridge.Client) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return errClosed(ref)
	}
	m.agents[ref] = c
	m.watch.Go(func() {
		<-c.Done()
		c.Close()
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.agents[ref] == c {
			delete(m.agents, ref)
		}
		if !m.closed {
			m.opts.Log.Info("agent's connection ended", "bot", ref.Bot, "container", ref.ID, "err", c.Err())
		}
	})
	return nil
}

// drop closes the client of a container, if there is one.
func (m *Manager) drop(ref Ref) {
	m.mu.Lock()
	c := m.agents[ref]
	delete(m.agents, ref)
	m.mu.Unlock()
	if c != nil {
		c.Close()
	}
}

// forget removes what is cached of a container that turns out not to exist.
func (m *Manager) forget(ref Ref, err error) {
	if !errors.Is(err, ErrNotFound) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.current[ref.Bot] == ref {
		delete(m.current, ref.Bot)
	}
}

// currentOrNew returns the bot's current container; made says that it had none
// and this call made it.
func (m *Manager) currentOrNew(ctx context.Context, bot Bot) (ref Ref, made bool, err error) {
	m.mu.Lock()
	ref, ok := m.current[bot]
	m.mu.Unlock()
	if ok {
		return ref, false, nil
	}
	unlock, err := m.lockBot(ctx, bot)
	if err != nil {
		return Ref{}, false, err
	}
	ref, err = m.lookUpCurrent(ctx, bot)
	unlock()
	if err == nil || !errors.Is(err, ErrNotFound) || m.opts.NoAutoCreate {
		return ref, false, err
	}
	created, err := m.create(ctx, CreateRequest{Bot: bot, ID: ContainerID(uuid.NewString()), onlyFirst: true}, nil)
	return created.Status.Spec.Ref, created.Created, err
}

// lookUpCurrent asks the runtime which container of the bot was updated last.
func (m *Manager) lookUpCurrent(ctx context.Context, bot Bot) (Ref, error) {
	all, err := m.rt.List(ctx, bot)
	if err != nil {
		return Ref{}, fmt.Errorf("list containers: %w", err)
	}
	newest, ok := newest(all)
	if !ok {
		return Ref{}, fmt.Errorf("current container: %w: this bot has none", ErrNotFound)
	}
	m.setCurrent(newest)
	return newest, nil
}

func (m *Manager) setCurrent(ref Ref) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.current[ref.Bot] = ref
}

// newest is the container that was updated last; of equals, the greater id.
func newest(all []Status) (Ref, bool) {
	var best *Status
	for i, st := range all {
		if best == nil || st.UpdatedAt.After(best.UpdatedAt) ||
			st.UpdatedAt.Equal(best.UpdatedAt) && st.Spec.Ref.ID > best.Spec.Ref.ID {
			best = &all[i]
		}
	}
	if best == nil {
		return Ref{}, false
	}
	return best.Spec.Ref, true
}

// cleanupContext outlives its parent's cancellation, for undoing what failed.
func cleanupContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
}
