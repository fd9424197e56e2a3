package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"moorage/sandbox"
)

// Trailers of an export: one of them says how it ended. Without any the
// connection ended before it did.
const (
	trailerDone  = "Moorage-Done"
	trailerError = "Moorage-Error"
)

// snapshot is one as it is sent: a Spec's JSON does not say whose it is.
type snapshot struct {
	sandbox.Snapshot
	Container sandbox.ContainerID
}

func asSent(all ...sandbox.Snapshot) []snapshot {
	sent := make([]snapshot, len(all))
	for i, sn := range all {
		sent[i] = snapshot{sn, sn.Spec.Ref.ID}
	}
	return sent
}

func (s snapshot) received() sandbox.Snapshot {
	s.Spec.Ref = sandbox.Ref{Bot: s.Bot, ID: s.Container}
	return s.Snapshot
}

// snapshotOf reads which snapshot of which bot a request means. The name may be
// left out where all are meant.
func snapshotOf(r *http.Request) (sandbox.Bot, sandbox.SnapshotName, error) {
	q := r.URL.Query()
	bot, err := sandbox.ParseBot(q.Get("bot"))
	if err != nil || q.Get("name") == "" {
		return bot, "", err
	}
	name, err := sandbox.ParseSnapshotName(q.Get("name"))
	return bot, name, err
}

func (a *admin) listSnapshots(w http.ResponseWriter, r *http.Request) {
	stream(w, func(func(Event)) (Event, error) {
		bot, _, err := snapshotOf(r)
		if err != nil {
			return Event{}, err
		}
		all, err := a.manager.ListSnapshots(r.Context(), bot, "", "")
		return Event{Snapshots: asSent(all...)}, err
	})
}

func (a *admin) deleteSnapshot(w http.ResponseWriter, r *http.Request) {
	stream(w, func(func(Event)) (Event, error) {
		bot, name, err := snapshotOf(r)
		if err != nil {
			return Event{}, err
		}
		sn, err := a.manager.DeleteSnapshot(r.Context(), bot, name)
		return Event{Snapshots: asSent(sn)}, err
	})
}

func (a *admin) importSnapshot(w http.ResponseWriter, r *http.Request) {
	stream(w, func(func(Event)) (Event, error) {
		bot, name, err := snapshotOf(r)
		if err != nil {
			return Event{}, err
		}
		sn, err := a.manager.ImportSnapshot(r.Context(), bot, name, r.Body)
		return Event{Snapshots: asSent(sn)}, err
	})
}

// exportSnapshot sends the tar, then how it ended.
func (a *admin) exportSnapshot(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/x-tar")
	w.Header().Set("Trailer", trailerDone+", "+trailerError)
	bot, name, err := snapshotOf(r)
	if err == nil {
		err = a.manager.ExportSnapshot(r.Context(), bot, name, w)
	}
	if err != nil {
		w.Header().Set(trailerError, url.QueryEscape(err.Error())) // a header has one line
		return
	}
	w.Header().Set(trailerDone, "yes")
}

func snapshotPath(what string, bot sandbox.Bot, name sandbox.SnapshotName) string {
	return "/snapshots" + what + "?bot=" + url.QueryEscape(string(bot)) + "&name=" + url.QueryEscape(string(name))
}

// Snapshots lists a bot's snapshots.
func (a *Admin) Snapshots(ctx context.Context, bot sandbox.Bot) ([]sandbox.Snapshot, error) {
	end, err := a.stream(ctx, "GET", snapshotPath("", bot, ""), nil, nil)
	all := make([]sandbox.Snapshot, len(end.Snapshots))
	for i, sn := range end.Snapshots {
		all[i] = sn.received()
	}
	return all, err
}

// DeleteSnapshot deletes one and returns what it was.
func (a *Admin) DeleteSnapshot(ctx context.Context, bot sandbox.Bot, name sandbox.SnapshotName) (sandbox.Snapshot, error) {
	return a.oneSnapshot(ctx, snapshotPath("/delete", bot, name), nil)
}

// ImportSnapshot sends an image tar to make a snapshot of.
func (a *Admin) ImportSnapshot(ctx context.Context, bot sandbox.Bot, name sandbox.SnapshotName, tar io.Reader) (sandbox.Snapshot, error) {
	return a.oneSnapshot(ctx, snapshotPath("/import", bot, name), tar)
}

func (a *Admin) oneSnapshot(ctx context.Context, path string, body io.Reader) (sandbox.Snapshot, error) {
	end, err := a.stream(ctx, "POST", path, body, nil)
	if err != nil {
		return sandbox.Snapshot{}, err
	}
	if len(end.Snapshots) != 1 {
		return sandbox.Snapshot{}, fmt.Errorf("read the server's answer: it has %d snapshots; see %s", len(end.Snapshots), a.dirs.Log())
	}
	return end.Snapshots[0].received(), nil
}

// ExportSnapshot writes one as an image tar. After an error what was written is
// not whole.
func (a *Admin) ExportSnapshot(ctx context.Context, bot sandbox.Bot, name sandbox.SnapshotName, w io.Writer) error {
	resp, err := a.do(ctx, "GET", snapshotPath("/export", bot, name), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(w, resp.Body); err != nil {
		return err
	}
	switch text, err := url.QueryUnescape(resp.Trailer.Get(trailerError)); {
	case err == nil && text != "":
		return errors.New(text)
	case resp.Trailer.Get(trailerDone) == "":
		return fmt.Errorf("read the server's answer: %w; see %s", io.ErrUnexpectedEOF, a.dirs.Log())
	}
	return nil
}
