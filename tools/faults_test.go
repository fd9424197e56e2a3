package tools

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"moorage/sandbox"
)

// TestKilledAgent: the next call works, in the container as it was.
func TestKilledAgent(t *testing.T) {
	l := newLive(t, sandbox.Options{})
	l.call(t, "fs_write", args{"path": "kept", "content": "x"})
	l.call(t, "fs_write", args{"path": "/root/kept", "content": "y"}).wants(t, args{"created": true})
	l.call(t, "exec", args{"command": "mkfifo /tmp/up"})
	l.send(t, callLine("victim", "exec", args{"command": "echo > /tmp/up; sleep 300"}))
	l.call(t, "exec", args{"command": "cat /tmp/up"})
	killAgent(t, l.bot)
	a := l.must(t)
	if string(a.ID) != `"victim"` {
		t.Fatalf("%s", a.raw)
	}
	has(t, parseResult(t, a.Result).text(), "unavailable: the connection to the container ended before the answer came; what was asked may or may not have been done.")
	r := l.call(t, "fs_read", args{"path": "kept"})
	r.wants(t, args{"started": true})
	r.body(t, "x")
	l.call(t, "fs_read", args{"path": "/root/kept"}).body(t, "y")
}

// killAgent kills PID 1 of the bot's one container, from the host.
func killAgent(t *testing.T, bot sandbox.Bot) {
	t.Helper()
	found, err := filepath.Glob("/proc/[0-9]*/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range found {
		mounts, _ := os.ReadFile(path)
		cmdline, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
		if !strings.HasPrefix(string(cmdline), "/.moorage/agent") || !strings.Contains(string(mounts), "/bots/"+string(bot)+" ") {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatalf("no agent of %s among %d processes", bot, len(found))
}

// TestReadsAreRepeated: a reading call whose container is stopped under it works.
func TestReadsAreRepeated(t *testing.T) {
	l := newLive(t, sandbox.Options{})
	l.call(t, "create_container", args{"container_id": "c"})
	l.call(t, "fs_write", args{"path": "f", "content": strings.Repeat("x", 30_000)})
	stopper := dial(t, l.Server, l.bot)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 5 {
			stopper.call(t, "stop_container", args{"container_id": "c", "grace_seconds": 0})
		}
	}()
	for stopped := false; !stopped; {
		select {
		case <-done:
			stopped = true
		default:
		}
		if r := l.call(t, "fs_read", args{"path": "f"}); len(r.Content[0].Text) != 30_000 {
			t.Errorf("%.300s", r.raw)
		}
	}
}

// TestFirstCallsAtOnce make one container, not several.
func TestFirstCallsAtOnce(t *testing.T) {
	l := newLive(t, sandbox.Options{})
	for i := range 8 {
		l.send(t, callLine(i, "exec", args{"command": "echo hi"}))
	}
	made := 0
	for range 8 {
		r := parseResult(t, l.must(t).Result)
		r.body(t, "hi\n")
		if r.Facts["container_created"] == true {
			made++
		}
	}
	if r := l.call(t, "list_containers", "{}"); made < 1 || len(r.Facts["containers"].([]any)) != 1 {
		t.Errorf("%d calls made a container; %s", made, r.text())
	}
}

// TestImagePull: progress while an image comes; when it takes too long the call
// says so, the pull goes on, and the same call again works.
func TestImagePull(t *testing.T) {
	l := newLive(t, sandbox.Options{NoAutoCreate: true})
	reg := newRegistry(t)
	image := reg.push(t, "some/image:1")
	l.callTime = 3 * time.Second
	l.send(t, fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"create_container","arguments":{"container_id":"c","image":%q},"_meta":{"progressToken":"pull"}}}`, image))
	notified := 0
	for {
		a := l.must(t)
		if a.Method == "notifications/progress" {
			notified++
			continue
		}
		r := parseResult(t, a.Result)
		has(t, r.text(), "timeout: the image is still being pulled, which goes on. Call create_container again with the same arguments in a while.")
		break
	}
	if notified == 0 || notified > 40 {
		t.Errorf("%d notifications", notified)
	}
	reg.open()
	l.callTime = CallTime
	r := l.call(t, "create_container", args{"container_id": "c", "image": image})
	r.wants(t, args{"created": true, "image": image})
	// The image holds no program at all; the agent runs all the same.
	l.call(t, "fs_write", args{"path": "/made", "content": "x"}).wants(t, args{"created": true})
	has(t, l.fails(t, "exec", args{"command": "ls"}), "unsupported: the image has no /bin/sh, which command needs. Give argv instead")
	has(t, l.fails(t, "exec", args{"argv": []string{"ls"}}), "not_found: ")
}

// slowRegistry is a registry whose blobs come only once it is opened.
type slowRegistry struct {
	host string
	gate chan struct{}
	once sync.Once
}

func newRegistry(t *testing.T) *slowRegistry {
	t.Helper()
	s := &slowRegistry{gate: make(chan struct{})}
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			select {
			case <-s.gate:
			case <-r.Context().Done():
				return
			}
		}
		inner.ServeHTTP(w, r)
	}))
	s.host = strings.TrimPrefix(server.URL, "http://")
	t.Cleanup(func() {
		s.open()
		server.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return s
}

func (s *slowRegistry) open() { s.once.Do(func() { close(s.gate) }) }

// push puts an image of random files there, and returns its whole name.
func (s *slowRegistry) push(t *testing.T, as string) string {
	t.Helper()
	img, err := random.Image(300<<10, 2)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(s.host+"/"+as, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	defer transport.CloseIdleConnections()
	if err := remote.Write(ref, img, remote.WithTransport(transport)); err != nil {
		t.Fatal(err)
	}
	return ref.Name()
}

// TestHTTPAndSSEWithContainers: the same tools over the other transports.
func TestHTTPAndSSEWithContainers(t *testing.T) {
	l := newLive(t, sandbox.Options{})
	tokens := OpenTokens(filepath.Join(t.TempDir(), "tokens.json"))
	token, _, err := tokens.Add(l.bot)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{bench: &bench{Server: l.Server}, tokens: tokens, alice: token}
	s.http = httptest.NewServer(l.HTTPHandler(HTTPOptions{Tokens: tokens}))
	defer s.http.Close()
	defer l.Close()
	session := s.open(t, token)
	r := s.post(t, token, callLine(1, "fs_write", args{"path": "f", "content": "by http"}), session...)
	has(t, r.body, `"created":true`, `"container_created":true`)
	c := s.sse(t, token)
	has(t, c.answer(t, callLine(1, "fs_read", args{"path": "f"})), `"by http"`)
	l.call(t, "fs_read", args{"path": "f"}).body(t, "by http")
	// A client that goes away ends its command.
	l.call(t, "exec", args{"command": "mkfifo /tmp/up"})
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		line := callLine(2, "exec", args{"command": "echo $$ > /tmp/pid; echo > /tmp/up; sleep 300"})
		if res, err := s.http.Client().Do(s.request(t, ctx, ask{http.MethodPost, "/mcp", token, line, session})); err == nil {
			res.Body.Close()
		}
	}()
	l.call(t, "exec", args{"command": "cat /tmp/up"})
	cancel()
	<-gone
	l.call(t, "exec", args{"command": "p=$(cat /tmp/pid); while kill -0 -- -$p 2>/dev/null; do sleep 0.02; done; echo gone", "wait_seconds": 10}).body(t, "gone\n")
	s.http.Client().CloseIdleConnections()
}
