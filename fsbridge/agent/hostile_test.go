package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"moorage/fsbridge"
	"moorage/fsbridge/agent"
)

// peer is a server that says what a test says.
type peer struct {
	*fsbridge.Conn
	rw io.ReadWriteCloser
}

// face lets an agent serve a connection to a peer, which has said its welcome.
// ended gives the error with which Serve has returned.
func face(t *testing.T, a *agent.Agent) (p *peer, ended func() error) {
	t.Helper()
	server, inside := socketpair(t)
	result := make(chan error, 1)
	go func() { result <- a.Serve(context.Background(), inside) }()
	p = &peer{fsbridge.NewConn(server), server}
	var f fsbridge.Frame
	if err := p.ReadGreeting(t.Context(), fsbridge.KindHello, &f); err != nil {
		t.Fatal(err)
	}
	var hello fsbridge.Hello
	if err := json.Unmarshal(f.JSON, &hello); err != nil || hello.Version != fsbridge.Version || hello.BootID == "" || hello.Build == "" {
		t.Fatalf("got %+v, %v", hello, err)
	}
	w := fsbridge.Welcome{Version: fsbridge.Version, DataDir: fsbridge.Path(t.TempDir())}
	if err := p.WriteJSON(t.Context(), fsbridge.Header{Kind: fsbridge.KindWelcome}, w, nil); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	ended = func() (err error) {
		once.Do(func() {
			err = <-result
			p.Close()
		})
		return err
	}
	t.Cleanup(func() {
		p.Close()
		ended()
	})
	return p, ended
}

// send sends a frame; that the agent has hung up is its right.
func (p *peer) send(h fsbridge.Header, js, data string) {
	p.Write(context.Background(), h, []byte(js), []byte(data))
}

func (p *peer) request(id uint64, op fsbridge.Op, js string) {
	p.send(fsbridge.Header{ID: id, Kind: fsbridge.KindRequest, Op: op}, js, "")
}

// slow starts a request that stays in flight and has no stream.
func (p *peer) slow(id uint64) {
	p.request(id, fsbridge.OpExec, `{"argv":["sleep","1000"],"wait":50000000000}`)
}

// upload starts one that waits for its stream.
func (p *peer) upload(id uint64) { p.request(id, fsbridge.OpWrite, `{"path":"f","stream":true}`) }

// answer reads frames until the answer to id.
func (p *peer) answer(t *testing.T, id uint64) fsbridge.Frame {
	t.Helper()
	for {
		var f fsbridge.Frame
		if err := p.Read(&f); err != nil {
			t.Fatal(err)
		}
		if f.ID == id && (f.Kind == fsbridge.KindResponse || f.Kind == fsbridge.KindError) {
			return f
		}
	}
}

// A server that breaks the rules costs its connection, and nothing else.
func TestBrokenServer(t *testing.T) {
	a := newAgent(t)
	big := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(big, make([]byte, 10*fsbridge.Window), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, script := range map[string]func(p *peer){
		"garbage":       func(p *peer) { p.rw.Write([]byte(strings.Repeat("\xff", 100))) },
		"a hello":       func(p *peer) { p.send(fsbridge.Header{Kind: fsbridge.KindHello}, "{}", "") },
		"a response":    func(p *peer) { p.send(fsbridge.Header{ID: 1, Kind: fsbridge.KindResponse}, "{}", "") },
		"an id twice":   func(p *peer) { p.slow(1); p.slow(1) },
		"a stray chunk": func(p *peer) { p.slow(1); p.send(fsbridge.Header{ID: 1, Kind: fsbridge.KindData}, "", "x") },
		"a stray end":   func(p *peer) { p.slow(1); p.send(fsbridge.Header{ID: 1, Kind: fsbridge.KindEnd}, "", "") },
		"too long": func(p *peer) {
			h := fsbridge.Header{ID: 1, Kind: fsbridge.KindRequest, Op: fsbridge.OpPing, DataLen: 1 << 30}
			p.rw.Write(fsbridge.AppendHeader(nil, h))
		},
		"too many": func(p *peer) {
			for id := range uint64(fsbridge.MaxInFlight + 1) {
				p.upload(id + 1)
			}
		},
		"too much credit": func(p *peer) {
			p.request(1, fsbridge.OpFetch, `{"path":"`+big+`","length":-1}`)
			p.send(fsbridge.Header{ID: 1, Kind: fsbridge.KindCredit}, "", "\xff\xff\xff\xff")
		},
	} {
		p, ended := face(t, a)
		script(p)
		var broken *fsbridge.ProtocolError
		if err := ended(); !errors.As(err, &broken) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if err := connect(t, a, t.TempDir()).Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

// What the agent does not understand is answered with an error, and frames for
// requests that have ended are passed over.
func TestStrangeRequests(t *testing.T) {
	p, _ := face(t, newAgent(t))
	for id, c := range []struct {
		op fsbridge.Op
		js string
	}{{99, ""}, {fsbridge.OpRead, ""}, {fsbridge.OpRead, "{"}, {fsbridge.OpRead, `{"path":1}`}, {fsbridge.OpExec, `[]`}, {fsbridge.OpWrite, `{"path":"\u0000zz"}`}} {
		p.request(uint64(id+1), c.op, c.js)
		f := p.answer(t, uint64(id+1))
		var e fsbridge.Error
		if err := json.Unmarshal(f.JSON, &e); f.Kind != fsbridge.KindError || err != nil || e.Code != fsbridge.CodeInvalid {
			t.Errorf("%v %s: got %v %s", c.op, c.js, f.Kind, f.JSON)
		}
	}
	for _, kind := range []fsbridge.Kind{fsbridge.KindCancel, fsbridge.KindEnd} {
		p.send(fsbridge.Header{ID: 1, Kind: kind}, "", "")
	}
	p.send(fsbridge.Header{ID: 1, Kind: fsbridge.KindData}, "", "late")
	p.request(100, fsbridge.OpPing, "")
	if f := p.answer(t, 100); f.Kind != fsbridge.KindResponse {
		t.Errorf("got %v %s", f.Kind, f.JSON)
	}
}

// A connection that ends in the middle of an upload leaves nothing of it.
func TestServerGoesDuringUpload(t *testing.T) {
	a := newAgent(t)
	p, ended := face(t, a)
	dir := t.TempDir()
	p.request(1, fsbridge.OpWrite, `{"path":"`+dir+`/new/f","stream":true}`)
	p.send(fsbridge.Header{ID: 1, Kind: fsbridge.KindData}, "", "half of it")
	p.Close()
	if err := ended(); err == nil {
		t.Error("the connection has no end")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestBadWelcome(t *testing.T) {
	a := newAgent(t)
	for name, js := range map[string]string{"version": `{"version":99}`, "JSON": `{`} {
		server, inside := socketpair(t)
		result := make(chan error, 1)
		go func() { result <- a.Serve(t.Context(), inside) }()
		p := fsbridge.NewConn(server)
		p.Write(t.Context(), fsbridge.Header{Kind: fsbridge.KindWelcome}, []byte(js), nil)
		if err := <-result; err == nil {
			t.Errorf("a welcome with bad %s is accepted", name)
		}
		p.Close()
	}
}
