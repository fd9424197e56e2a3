package sandbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

// CreateRequest asks for a container. Only Bot is needed.
type CreateRequest struct {
	Bot         Bot
	ID          ContainerID // "" = a new UUID
	Image       string      // "" = Options.DefaultImage
	Snapshotter string      // "" = Options.Snapshotter
	Env         map[string]string
	Limits      Limits

	// FromSnapshot makes a fork: root filesystem, image, and what the request
	// leaves out of Env and Limits are the snapshot's, and the data is a copy of
	// the snapshot's, the container's own (Spec.OwnData).
	FromSnapshot SnapshotName

	onlyFirst bool // give the bot's current container instead if it has one by now
}

// Created is a container that was made, or was there already.
type Created struct {
	Status  Status
	Created bool
	Started bool
}

// Create makes a container, starts it and waits for its agent. If the bot has
// one of that id that is as the request asks, it is returned as it is and becomes
// the current one; what the request leaves out may be anything. Else it is
// ErrAlreadyExists, saying what differs.
// When it fails nothing is left behind. A fork, once begun, is finished also when
// ctx ends; the error is then ErrPending.
func (m *Manager) Create(ctx context.Context, req CreateRequest, progress Progress) (Created, error) {
	if req.ID == "" {
		req.ID = ContainerID(uuid.NewString())
	}
	return m.create(ctx, req, progress)
}

func (m *Manager) create(ctx context.Context, req CreateRequest, progress Progress) (Created, error) {
	spec, err := m.spec(ctx, req)
	if err != nil {
		return Created{}, err
	}
	if st, err := m.rt.Status(ctx, spec.Ref); err == nil {
		return m.existing(ctx, req, spec, st)
	}
	if req.FromSnapshot == "" { // else the layers are there, even if the image is gone
		if _, err := m.rt.EnsureImage(ctx, spec.Image, progress); err != nil {
			return Created{}, err
		}
	}
	unlock, err := m.lockBot(ctx, req.Bot)
	if err != nil {
		return Created{}, err
	}
	if c, there, err := m.claim(ctx, req, spec); there || err != nil {
		unlock()
		return c, err
	}
	if req.FromSnapshot != "" {
		return m.fork(ctx, spec, unlock)
	}
	defer unlock()
	return m.make(ctx, spec, unlock)
}

// claim says whether the request's container is there by now, or another one
// that will do; if not, whether there is room for it. The bot's lock is held.
func (m *Manager) claim(ctx context.Context, req CreateRequest, spec Spec) (_ Created, there bool, err error) {
	if req.onlyFirst {
		if ref, err := m.lookUpCurrent(ctx, req.Bot); err == nil {
			st, err := m.rt.Status(ctx, ref)
			return Created{Status: st}, true, err
		}
	}
	if st, err := m.rt.Status(ctx, spec.Ref); err == nil {
		c, err := m.existing(ctx, req, spec, st)
		return c, true, err
	}
	return Created{}, false, m.roomForOneMore(ctx, req.Bot)
}

// existing answers a request for a container that is there.
func (m *Manager) existing(ctx context.Context, req CreateRequest, spec Spec, st Status) (Created, error) {
	ref := st.Spec.Ref
	if d := req.differs(spec, st.Spec); d != "" {
		return Created{}, fmt.Errorf("container %s: %w and is another: %s", ref.ID, ErrAlreadyExists, d)
	}
	if err := m.rt.Touch(ctx, ref); err != nil {
		return Created{}, fmt.Errorf("make container %s the current one: %w", ref.ID, err)
	}
	m.setCurrent(ref)
	st, err := m.rt.Status(ctx, ref)
	return Created{Status: st}, err
}

func (m *Manager) roomForOneMore(ctx context.Context, bot Bot) error {
	all, err := m.rt.List(ctx, bot)
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	if len(all) >= m.opts.MaxContainers {
		return fmt.Errorf("create container: %w: this bot has %d containers, at most %d are allowed; delete one first", ErrLimit, len(all), m.opts.MaxContainers)
	}
	return nil
}

// make creates and starts. It is called with the bot's lock, which it frees as
// soon as the record is there: from then on the container's lock is enough.
func (m *Manager) make(ctx context.Context, spec Spec, unlockBot func()) (_ Created, err error) {
	unlock, err := m.containers.lock(ctx, spec.Ref)
	if err != nil {
		return Created{}, fmt.Errorf("wait for container %s: %w", spec.Ref.ID, err)
	}
	defer unlock()
	if err := m.rt.Create(ctx, spec); err != nil {
		if spec.FromSnapshot != "" && errors.Is(err, ErrNotFound) {
			return Created{}, noSnapshot(spec.FromSnapshot) // deleted since it was looked up
		}
		return Created{}, fmt.Errorf("create container %s: %w", spec.Ref.ID, err)
	}
	m.setCurrent(spec.Ref)
	unlockBot()
	defer func() {
		if err == nil {
			return
		}
		undo, cancel := cleanupContext(ctx)
		defer cancel()
		m.drop(spec.Ref)
		m.forget(spec.Ref, ErrNotFound)
		err = errors.Join(err, m.rt.Delete(undo, spec.Ref, false))
	}()
	if _, err := m.start(ctx, spec.Ref); err != nil {
		return Created{}, err
	}
	st, err := m.rt.Status(ctx, spec.Ref)
	return Created{Status: st, Created: true, Started: true}, err
}

// Status is one container as it is.
func (m *Manager) Status(ctx context.Context, ref Ref) (Status, error) { return m.rt.Status(ctx, ref) }

// Listed is a container in a listing.
type Listed struct {
	Status  Status
	Current bool   // a call without an id means this one
	Usage   *Usage // nil when it does not run, or could not be measured in time
}

const (
	usageParallel = 8
	usageTimeout  = time.Second
)

// List returns the bot's containers sorted by id, or the one named by id.
// ErrNotFound if that one does not exist.
func (m *Manager) List(ctx context.Context, bot Bot, id ContainerID) ([]Listed, error) {
	all, err := m.rt.List(ctx, bot)
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	current, _ := newest(all)
	out := make([]Listed, 0, len(all))
	for _, st := range all {
		if id == "" || st.Spec.Ref.ID == id {
			out = append(out, Listed{Status: st, Current: st.Spec.Ref == current})
		}
	}
	if id != "" && len(out) == 0 {
		return nil, fmt.Errorf("container %s: %w", id, ErrNotFound)
	}
	slices.SortFunc(out, func(a, b Listed) int { return cmp.Compare(a.Status.Spec.Ref.ID, b.Status.Spec.Ref.ID) })
	m.measure(ctx, out)
	return out, nil
}

func (m *Manager) measure(ctx context.Context, all []Listed) {
	ctx, cancel := context.WithTimeout(ctx, usageTimeout)
	defer cancel()
	var wg sync.WaitGroup
	slots := make(chan struct{}, usageParallel)
	for i := range all {
		if all[i].Status.State != StateRunning {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if u, err := m.rt.Usage(ctx, all[i].Status.Spec.Ref); err == nil {
				all[i].Usage = &u
			}
		})
	}
	wg.Wait()
}

// Stop ends every process of a container; its files stay. wasRunning is false
// if there was nothing to stop. Once begun it is finished, also when ctx ends.
func (m *Manager) Stop(ctx context.Context, ref Ref, grace time.Duration) (wasRunning bool, err error) {
	unlock, err := m.containers.lock(ctx, ref)
	if err != nil {
		return false, fmt.Errorf("wait for container %s: %w", ref.ID, err)
	}
	defer unlock()
	st, err := m.rt.Status(ctx, ref)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace+cleanupTimeout)
	defer cancel()
	if err := m.rt.Stop(ctx, ref, grace); err != nil {
		return false, fmt.Errorf("stop container %s: %w", ref.ID, err)
	}
	m.drop(ref)
	m.opts.Log.Info("stopped container", "bot", ref.Bot, "container", ref.ID)
	return st.State != StateStopped, nil
}

// Delete removes a container with its active snapshot and, if it has data of its
// own, that. With data the bot's data goes too: ErrConflict if another container
// of the bot still uses it. From a container with data of its own the bot's is
// never touched. Once begun it is finished, also when ctx ends.
func (m *Manager) Delete(ctx context.Context, ref Ref, data bool) error {
	unlockBot, err := m.lockBot(ctx, ref.Bot)
	if err != nil {
		return err
	}
	defer unlockBot()
	unlock, err := m.containers.lock(ctx, ref)
	if err != nil {
		return fmt.Errorf("wait for container %s: %w", ref.ID, err)
	}
	defer unlock()
	st, err := m.rt.Status(ctx, ref)
	if err != nil {
		return err
	}
	data = data && !st.Spec.OwnData
	if data {
		if err := m.onlyUserOfData(ctx, ref); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), startTimeout)
	defer cancel()
	m.drop(ref)
	m.forget(ref, ErrNotFound)
	if err := m.rt.Delete(ctx, ref, data); err != nil {
		return fmt.Errorf("delete container %s: %w", ref.ID, err)
	}
	m.opts.Log.Info("deleted container", "bot", ref.Bot, "container", ref.ID, "data", data)
	return nil
}

func (m *Manager) onlyUserOfData(ctx context.Context, ref Ref) error {
	all, err := m.rt.List(ctx, ref.Bot)
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	var others []string
	for _, st := range sharing(all, ref.ID) {
		if st.Spec.Ref != ref {
			others = append(others, string(st.Spec.Ref.ID))
		}
	}
	if len(others) == 0 {
		return nil
	}
	return fmt.Errorf("delete the bot's data with container %s: %w: %s also use it; delete those first, or keep the data", ref.ID, ErrConflict, strings.Join(others, ", "))
}
