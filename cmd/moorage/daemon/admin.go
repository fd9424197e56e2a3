package daemon

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"moorage/sandbox"
)

// selfTestBot owns the containers that a self-test makes. It is no name that a
// person would choose, and its data is deleted with the container.
const selfTestBot = "moorage-self-test"

// Info is what a server says of itself.
type Info struct {
	Version string `json:"version"`
	PID     int    `json:"pid"`
	Engine  string `json:"engine"` // "embedded" or the address of a system containerd
	Dirs    Dirs   `json:"dirs"`
	HTTP    string `json:"http,omitempty"`
}

// Event is one line of an answer that takes long: progress, then one of the others.
type Event struct {
	Done      int64           `json:"done,omitempty"`
	Total     int64           `json:"total,omitempty"`
	What      string          `json:"what,omitempty"`
	Images    []sandbox.Image `json:"images,omitempty"`
	Snapshots []snapshot      `json:"snapshots,omitempty"`
	Error     string          `json:"error,omitempty"`
	End       bool            `json:"end,omitempty"`
}

// admin is the operator's API.
type admin struct {
	info    Info
	images  sandbox.ImageStore
	manager *sandbox.Manager
	log     *slog.Logger
}

func (a *admin) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /info", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, a.info) })
	mux.HandleFunc("GET /images", a.listImages)
	mux.HandleFunc("POST /images/import", a.importImage)
	mux.HandleFunc("POST /images/pull", a.pullImage)
	mux.HandleFunc("GET /snapshots", a.listSnapshots)
	mux.HandleFunc("GET /snapshots/export", a.exportSnapshot)
	mux.HandleFunc("POST /snapshots/import", a.importSnapshot)
	mux.HandleFunc("POST /snapshots/delete", a.deleteSnapshot)
	mux.HandleFunc("POST /self-test", a.selfTest)
	mux.HandleFunc("POST /containers/stop", a.stopAll)
	return mux
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client may be gone
}

// stream runs work and sends its events, as many as the client takes, then its
// end with what it returned.
func stream(w http.ResponseWriter, work func(emit func(Event)) (Event, error)) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	c := http.NewResponseController(w)
	enc := json.NewEncoder(w)
	events := make(chan Event, 1)
	done := make(chan Event, 1)
	go func() {
		end, err := work(func(e Event) {
			select {
			case events <- e:
			default: // a newer one will come
			}
		})
		end.End = true
		if err != nil {
			end.Error = err.Error()
		}
		done <- end
	}()
	for {
		select {
		case e := <-events:
			_ = enc.Encode(e) // if the client is gone the work's context ends it
			_ = c.Flush()
		case e := <-done:
			_ = enc.Encode(e)
			return
		}
	}
}

func (a *admin) listImages(w http.ResponseWriter, r *http.Request) {
	stream(w, func(func(Event)) (Event, error) {
		images, err := a.images.Images(r.Context())
		return Event{Images: images}, err
	})
}

func (a *admin) importImage(w http.ResponseWriter, r *http.Request) {
	stream(w, func(func(Event)) (Event, error) {
		images, err := a.images.Import(r.Context(), r.Body, r.URL.Query().Get("name"))
		return Event{Images: images}, err
	})
}

func (a *admin) pullImage(w http.ResponseWriter, r *http.Request) {
	stream(w, func(emit func(Event)) (Event, error) {
		img, err := a.images.Pull(r.Context(), r.URL.Query().Get("name"), func(done, total int64, what string) {
			emit(Event{Done: done, Total: total, What: what})
		})
		return Event{Images: []sandbox.Image{img}}, err
	})
}

// selfTest makes a container from the default image, asks its agent, and
// deletes it.
func (a *admin) selfTest(w http.ResponseWriter, r *http.Request) {
	stream(w, func(emit func(Event)) (Event, error) {
		begun := time.Now()
		id := sandbox.ContainerID("t" + fmt.Sprintf("%x", randomBytes(8)))
		c, err := a.manager.Create(r.Context(), sandbox.CreateRequest{Bot: selfTestBot, ID: id}, nil)
		if err != nil {
			return Event{}, err
		}
		defer func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 30*time.Second)
			defer cancel()
			if err := a.manager.Delete(ctx, c.Status.Spec.Ref, true); err != nil {
				a.log.Error("delete the self-test's container", "err", err)
			}
		}()
		agent, err := a.manager.Agent(r.Context(), selfTestBot, id)
		if err == nil {
			err = agent.Ping(r.Context())
		}
		emit(Event{Done: time.Since(begun).Microseconds(), What: c.Status.Spec.Image})
		return Event{}, err
	})
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails, says crypto/rand
	return b
}

// stopAll stops every running container of every bot.
func (a *admin) stopAll(w http.ResponseWriter, r *http.Request) {
	stream(w, func(emit func(Event)) (Event, error) {
		n, err := a.manager.StopAll(r.Context(), 5*time.Second)
		emit(Event{Done: int64(n)})
		return Event{}, err
	})
}
