package main

import (
	"bufio"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// serveHTTP runs a server in the foreground with an HTTP listener, and returns
// its address once it is ready.
func (i instance) serveHTTP(args ...string) (addr string, cmd *exec.Cmd) {
	i.t.Helper()
	cmd = i.command(append([]string{"serve", "--http", "127.0.0.1:0"}, args...)...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		i.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		i.t.Fatal(err)
	}
	found := make(chan string, 1)
	logged := make(chan struct{})
	go func() {
		defer close(logged)
		for s := bufio.NewScanner(stderr); s.Scan(); {
			if _, rest, ok := strings.Cut(s.Text(), " http="); ok && strings.Contains(s.Text(), "server is ready") {
				addr, _, _ := strings.Cut(rest, " ")
				found <- addr
			}
		}
		close(found)
	}()
	i.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // a test may have ended it
		<-logged
		_ = cmd.Wait() // a test may have done that too
	})
	addr, ok := <-found
	if !ok {
		i.t.Fatal("the server ended before it was ready")
	}
	return addr, cmd
}

func TestHTTPNeedsToken(t *testing.T) {
	i := newInstance(t)
	addr, _ := i.serveHTTP()
	ask := func(token string) *http.Response {
		t.Helper()
		body := `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`
		req, err := http.NewRequest("POST", "http://"+addr+"/mcp", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json, text/event-stream")
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp
	}
	for _, token := range []string{"", "moor_wrong"} {
		if r := ask(token); r.StatusCode != 401 || !strings.HasPrefix(r.Header.Get("WWW-Authenticate"), "Bearer") {
			t.Errorf("token %q: %s, WWW-Authenticate %q", token, r.Status, r.Header.Get("WWW-Authenticate"))
		}
	}
	token := strings.TrimSpace(i.run("token", "add", "--bot", "ann")) // while the server runs
	if r := ask(token); r.StatusCode != 200 {
		t.Errorf("with a token: %s", r.Status)
	}
	list := i.run("token", "list")
	if strings.Contains(list, token) || !strings.Contains(list, "ann") {
		t.Errorf("token list: %s", list)
	}
	i.run("token", "revoke", "--bot", "ann")
	if r := ask(token); r.StatusCode != 401 {
		t.Errorf("with a revoked token: %s", r.Status)
	}
}
