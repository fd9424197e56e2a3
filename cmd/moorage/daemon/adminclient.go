package daemon

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"moorage/sandbox"
)

// Admin is the client of a server's API for its operator.
type Admin struct {
	client *http.Client
	dirs   Dirs
}

// NewAdmin makes a client. With start it starts a server if none runs.
func NewAdmin(d Dirs, start bool) *Admin {
	h := Handshake{Mode: ModeAdmin}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		if start {
			return DialOrStart(ctx, d, h, BackgroundArgs)
		}
		return Dial(ctx, d.Socket(), h)
	}
	return &Admin{client: &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}, dirs: d}
}

// Info asks the server what it is.
func (a *Admin) Info(ctx context.Context) (Info, error) {
	var i Info
	resp, err := a.do(ctx, "GET", "/info", nil)
	if err != nil {
		return i, err
	}
	defer resp.Body.Close()
	return i, json.NewDecoder(resp.Body).Decode(&i)
}

// Images lists the image store.
func (a *Admin) Images(ctx context.Context) ([]sandbox.Image, error) {
	end, err := a.stream(ctx, "GET", "/images", nil, nil)
	return end.Images, err
}

// Import sends an image tar.
func (a *Admin) Import(ctx context.Context, tar io.Reader, name string) ([]sandbox.Image, error) {
	end, err := a.stream(ctx, "POST", "/images/import?name="+url.QueryEscape(name), tar, nil)
	return end.Images, err
}

// Pull has the server fetch an image.
func (a *Admin) Pull(ctx context.Context, name string, progress sandbox.Progress) ([]sandbox.Image, error) {
	end, err := a.stream(ctx, "POST", "/images/pull?name="+url.QueryEscape(name), nil, func(e Event) { progress(e.Done, e.Total, e.What) })
	return end.Images, err
}

// SelfTest has the server start a container and delete it again.
func (a *Admin) SelfTest(ctx context.Context, report func(Event)) error {
	_, err := a.stream(ctx, "POST", "/self-test", nil, report)
	return err
}

// StopAll has the server stop every container.
func (a *Admin) StopAll(ctx context.Context, report func(Event)) error {
	_, err := a.stream(ctx, "POST", "/containers/stop", nil, report)
	return err
}

func (a *Admin) do(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://moorage"+path, body)
	if err != nil {
		return nil, err
	}
	resp, err := a.client.Do(req)
	var u *url.Error
	if errors.As(err, &u) {
		return nil, u.Err // "Get http://moorage/..." tells a person nothing
	}
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return nil, fmt.Errorf("ask the server: %s: %s", resp.Status, strings.TrimSpace(string(b)))
	}
	return resp, nil
}

// stream reports the events of an answer and returns the last.
func (a *Admin) stream(ctx context.Context, method, path string, body io.Reader, report func(Event)) (Event, error) {
	resp, err := a.do(ctx, method, path, body)
	if err != nil {
		return Event{}, err
	}
	defer resp.Body.Close()
	dec := json.NewDecoder(bufio.NewReader(resp.Body))
	for {
		var e Event
		if err := dec.Decode(&e); err != nil {
			return Event{}, fmt.Errorf("read the server's answer: %w; see %s", err, a.dirs.Log())
		}
		switch {
		case e.Error != "":
			return Event{}, errors.New(e.Error)
		case e.End:
			return e, nil
		case report != nil:
			report(e)
		}
	}
}
