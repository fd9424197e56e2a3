package fsbridge

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestConnectRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		hello []byte
		want  string
	}{
		{"another version", frame(Header{Kind: KindHello}, `{"version":99,"boot_id":"b","pid":1}`, ""), "another version"},
		{"no boot id", frame(Header{Kind: KindHello}, `{"version":2,"pid":1}`, ""), "boot id"},
		{"no pid", frame(Header{Kind: KindHello}, `{"version":2,"boot_id":"b"}`, ""), "pid"},
		{"no JSON", frame(Header{Kind: KindHello}, `hello`, ""), "hello"},
		{"a response", frame(Header{ID: 1, Kind: KindResponse}, `{}`, ""), "response in place of hello"},
		{"garbage", bytes.Repeat([]byte{0x7f}, 100), "flags"},
		{"nothing", nil, "EOF"},
	} {
		server, agent := net.Pipe()
		var wg sync.WaitGroup
		wg.Go(func() {
			agent.Write(c.hello)
			agent.Close()
		})
		client, err := Connect(t.Context(), server, Welcome{})
		if err == nil {
			client.Close()
			t.Errorf("%s: connected", c.name)
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v", c.name, err)
		}
		if _, err := server.Write([]byte{0}); err == nil {
			t.Errorf("%s: the stream is left open", c.name)
		}
		wg.Wait()
	}
}

func TestVersion(t *testing.T) {
	server, agent := net.Pipe()
	go agent.Write(frame(Header{Kind: KindHello}, `{"version":99}`, ""))
	defer agent.Close()
	if _, err := Connect(t.Context(), server, Welcome{}); !errors.Is(err, ErrVersion) {
		t.Errorf("got %v", err)
	}
}

func TestSilentHello(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, agent := net.Pipe()
		defer agent.Close()
		start := time.Now()
		_, err := Connect(t.Context(), server, Welcome{})
		var broken *ProtocolError
		if !errors.As(err, &broken) || time.Since(start) != HelloTimeout {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		server, agent2 := net.Pipe()
		defer agent2.Close()
		if _, err := Connect(ctx, server, Welcome{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

func TestCloseTwice(t *testing.T) {
	server, agent := socketpair(t)
	c := against(t, server, agent, func(h *hostile) { h.skip() })
	if c.Err() != nil || c.Hello().BootID != "b" {
		t.Errorf("got %v, %+v", c.Err(), c.Hello())
	}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	<-c.Done()
	if c.Err() != ErrClosed {
		t.Errorf("got %v", c.Err())
	}
}

// Each lie in an answer ends the connection.
func TestLyingAnswers(t *testing.T) {
	read := func(c *Client) error {
		_, _, _, err := c.Read(t.Context(), ReadRequest{Path: "/f", MaxBytes: 10, Text: true})
		return err
	}
	write := func(c *Client) error { _, err := c.Write(t.Context(), WriteRequest{Path: "/f"}, nil); return err }
	list := func(c *Client) error { _, err := c.List(t.Context(), ListRequest{Path: "/", Limit: 1}); return err }
	stat := func(c *Client) error {
		_, _, err := c.Stat(t.Context(), StatRequest{Path: "/f", Head: true})
		return err
	}
	exec := func(c *Client) error {
		_, _, err := c.Exec(t.Context(), ExecRequest{Command: ":", MaxOutput: 4}, nil)
		return err
	}
	follow := func(c *Client) error {
		_, _, err := c.Follow(t.Context(), FollowRequest{ProcessID: "p1", MaxOutput: 1}, nil)
		return err
	}
	processes := func(c *Client) error { _, err := c.Processes(t.Context()); return err }
	const one = `{"process_id":"p1","pid":1,"state":"running"`
	for _, c := range []struct {
		name     string
		call     func(*Client) error
		js, data string
	}{
		{"no JSON", read, `{`, ""},
		{"wrong type", read, `{"size":"big"}`, ""},
		{"body too long", read, `{"path":"/f","next_byte":11}`, "12345678901"},
		{"body that does not fit", read, `{"path":"/f","next_byte":2}`, "123"},
		{"head that does not fit", read, `{"path":"/f","head_len":4}`, "123"},
		{"negative head", read, `{"path":"/f","head_len":-1}`, "123"},
		{"long head", read, `{"path":"/f","head_len":513}`, strings.Repeat("x", 513)},
		{"binary as text", read, `{"path":"/f","next_byte":2}`, "\xff\x00"},
		{"unasked image", read, `{"path":"/f","next_byte":2,"binary":true}`, "\xff\x00"},
		{"relative path", read, `{"path":"f"}`, ""},
		{"bad mode", read, `{"path":"/f","mode":65535}`, ""},
		{"bad revision", read, `{"path":"/f","revision":"../../etc/passwd"}`, ""},
		{"negative size", read, `{"path":"/f","size":-1}`, ""},
		{"negative lines", read, `{"path":"/f","total_lines":-2}`, ""},
		{"written size", write, `{"path":"/f","size":-1}`, ""},
		{"written revision", write, `{"path":"/f","revision":"X"}`, ""},
		{"too many entries", list, `{"path":"/","total":2,"count":2}`, entries("a", "b")},
		{"entry outside", list, `{"path":"/","total":1,"count":1}`, entries("../a")},
		{"absolute entry", list, `{"path":"/","total":1,"count":1}`, entries("/a")},
		{"entry of no type", list, `{"path":"/","total":1,"count":1}`, "\x01a\x09"},
		{"an entry too few", list, `{"path":"/","total":2,"count":2}`, entries("a")},
		{"an entry too many", list, `{"path":"/","total":2,"count":0}`, entries("a")},
		{"countless entries", list, `{"path":"/","total":2,"count":1000000000}`, entries("a")},
		{"small total", list, `{"path":"/","total":0,"count":1}`, entries("a")},
		{"endless pages", list, `{"path":"/","total":9,"next_offset":0,"denied":-1}`, ""},
		{"next page of nothing", list, `{"path":"/","total":9,"next_offset":5}`, ""},
		{"stat of no type", stat, `{"path":"/f"}`, ""},
		{"stat's long head", stat, `{"path":"/f","type":"file"}`, strings.Repeat("x", 513)},
		{"no process", exec, `{"state":"exited","exit_code":0,"pid":1}`, ""},
		{"no state", exec, `{"process_id":"p1","pid":1}`, ""},
		{"no exit code", exec, `{"process_id":"p1","pid":1,"state":"exited"}`, ""},
		{"no signal", exec, `{"process_id":"p1","pid":1,"state":"signaled"}`, ""},
		{"running with a code", exec, `{"process_id":"p1","pid":1,"state":"running","exit_code":0}`, ""},
		{"bad id", exec, `{"process_id":"p 1","pid":1,"state":"running"}`, ""},
		{"negative output", exec, `{"process_id":"p1","pid":1,"state":"running","stdout_bytes":4,"stdout_head":4,"stdout_tail":-4}`, ""},
		{"output too long", exec, `{"process_id":"p1","pid":1,"state":"running","stdout_bytes":9,"stdout_head":4,"stdout_tail":4}`, "12345678"},
		{"output that does not fit", exec, `{"process_id":"p1","pid":1,"state":"running","stdout_bytes":9,"stdout_head":4}`, "123"},
		{"uncounted output", exec, `{"process_id":"p1","pid":1,"state":"running","stdout_head":3}`, "123"},
		{"another process", follow, `{"process_id":"p2","pid":1,"state":"running"}`, ""},
		{"followed too far", follow, one + `,"stdout_bytes":9,"stdout_head":5}`, "12345"},
		{"followed tail", follow, one + `,"stdout_bytes":9,"stdout_tail":2}`, "12"},
		{"followed past the end", follow, one + `,"stdout_bytes":9,"stdout_from":8,"stdout_head":2}`, "12"},
		{"lost before the beginning", follow, one + `,"stderr_bytes":9,"stderr_from":3,"stderr_lost":4}`, ""},
		{"negative loss", follow, one + `,"stderr_bytes":9,"stderr_lost":-1}`, ""},
		{"unasked match", follow, one + `,"matched":true}`, ""},
		{"followed state", follow, `{"process_id":"p1","pid":1,"state":"exited"}`, ""},
		{"data of processes", processes, `{}`, "x"},
		{"small total of processes", processes, `{"processes":[` + one + `,"started":"2026-01-01T00:00:00Z"}]}`, ""},
		{"too many processes", processes, `{"total":1400,"processes":[` + strings.Repeat(one+`,"started":"2026-01-01T00:00:00Z"},`, 1300) + one + `}]}`, ""},
		{"long command", processes, `{"total":1,"processes":[` + one + `,"command":"` + strings.Repeat("x", 201) + `"}]}`, ""},
		{"command of NUL", processes, `{"total":1,"processes":[` + one + `,"command":"\u0000"}]}`, ""},
		{"output of a list", processes, `{"total":1,"processes":[` + one + `,"stdout_bytes":3,"stdout_head":3}]}`, ""},
		{"spool outside", exec, `{"process_id":"p1","pid":1,"state":"running","stdout_path":"x"}`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			server, agent := socketpair(t)
			client := against(t, server, agent, func(h *hostile) {
				h.send(Header{ID: h.next().ID, Kind: KindResponse}, c.js, c.data)
				h.skip()
			})
			brokenBy(t, client, c.call(client), "")
		})
	}
}

// An answer of Follow that is at its limits is accepted.
func TestFollowAtItsLimits(t *testing.T) {
	server, agent := socketpair(t)
	c := against(t, server, agent, func(h *hostile) {
		js := `{"process_id":"p1","pid":1,"state":"running","stdout_bytes":9,"stdout_from":5,"stdout_lost":5,"stdout_head":4,` +
			`"stderr_bytes":2,"stderr_head":2,"matched":true,"next_cursor":"9.2"}`
		h.send(Header{ID: h.next().ID, Kind: KindResponse}, js, "abcdxy")
		h.skip()
	})
	res, out, err := c.Follow(t.Context(), FollowRequest{ProcessID: "p1", MaxOutput: 1, WaitFor: "x"}, nil)
	if err != nil || string(out.StdoutHead) != "abcd" || string(out.StderrHead) != "xy" || !res.Matched || res.NextCursor != "9.2" {
		t.Errorf("got %+v, %q, %v", res, out, err)
	}
}

// What an agent says in an error is held to bounds too.
func TestErrorIsTamed(t *testing.T) {
	server, agent := socketpair(t)
	c := against(t, server, agent, func(h *hostile) {
		h.send(Header{ID: h.next().ID, Kind: KindError}, `{"op":"rm -rf","code":"surprise","errno":2,"message":"`+strings.Repeat("é", 10_000)+`"}`, "")
		h.skip()
	})
	err := c.Ping(t.Context())
	var remote *Error
	if !errors.As(err, &remote) || remote.Op != "ping" || remote.Code != CodeIO || len(remote.Message) > maxText || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %.200v", err)
	}
	if c.Err() != nil {
		t.Error(c.Err())
	}
}

func TestTooLargeIsNotSent(t *testing.T) {
	server, agent := socketpair(t)
	c := against(t, server, agent, func(h *hostile) {
		h.send(Header{ID: h.next().ID, Kind: KindResponse}, "", "")
		h.skip()
	})
	if _, _, err := c.Stat(t.Context(), StatRequest{Path: Path(strings.Repeat("x", MaxJSON))}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	if _, _, err := c.Stat(t.Context(), StatRequest{Path: "a\x00"}); !errors.Is(err, ErrInvalid) {
		t.Errorf("got %v", err)
	}
	if err := c.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

// A frame that a socket takes only in parts arrives whole, in order, with others
// from many writers between.
func TestLargeFramesFromManyWriters(t *testing.T) {
	server, agent := socketpair(t)
	out, in := NewConn(server), NewConn(agent)
	const writers, each = 8, 20
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if w%2 == 0 {
				ctx = context.Background() // the way without a detour
			}
			data := bytes.Repeat([]byte{byte('a' + w)}, 300_000)
			for range each {
				if _, err := out.Write(ctx, Header{ID: uint64(w + 1), Kind: KindResponse}, []byte(`{}`), data); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range writers * each {
		var f Frame
		if err := in.Read(&f); err != nil {
			t.Fatal(err)
		}
		if len(bytes.Trim(f.Data, string(rune('a'+f.ID-1)))) > 0 || len(f.Data) != 300_000 {
			t.Fatalf("frame of %d is mixed", f.ID)
		}
	}
	wg.Wait()
	out.Close()
	in.Close()
}

func TestBuildOf(t *testing.T) {
	note := func(id string) string { return string(rune(len(id))) + "\x00\x00\x00" + string(buildNote) + id }
	program := "\x7fELF" + strings.Repeat("\x00", 3000) + note("action/main/content-hash_1") + "\x00\x00"
	if id, err := BuildOf(strings.NewReader(program)); err != nil || id != "content-hash_1" {
		t.Errorf("got %q, %v", id, err)
	}
	for _, s := range []string{"", "#!/bin/sh\n", string(buildNote) + "x", note(""), note("cut")[:14], "\xff\xff\xff\xff" + string(buildNote)} {
		if id, err := BuildOf(strings.NewReader(s)); err == nil {
			t.Errorf("%q has build %q", s, id)
		}
	}
	if _, err := BuildOf(iotestReader{}); err == nil {
		t.Error("a broken reader has a build")
	}
}

type iotestReader struct{}

func (iotestReader) Read([]byte) (int, error) { return 0, io.ErrClosedPipe }

// entries are regular files of these names, as an agent sends them.
func entries(names ...string) string {
	all := make([]Entry, len(names))
	for i, name := range names {
		all[i] = Entry{Name: Path(name), Type: TypeFile, ModTime: time.Unix(0, 0)}
	}
	return string(AppendEntries(nil, all))
}
