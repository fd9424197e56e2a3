package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// wire is `moorage stdio` with its input and output in a test's hands, byte by
// byte.
type wire struct {
	t   *testing.T
	cmd *exec.Cmd
	in  *os.File
	out *os.File
	r   *bufio.Reader

	answered map[string]bool
}

// answer is a line from it.
type answer struct {
	ID     json.RawMessage
	Method string
	Result *struct {
		Content []struct{ Text string }
		IsError bool
	}
	Error *struct{ Message string }
	bad   bool // it is no message
}

// text is what the answer says, an error or not.
func (a answer) text() string {
	switch {
	case a.Error != nil:
		return a.Error.Message
	case a.Result != nil && len(a.Result.Content) > 0:
		return a.Result.Content[0].Text
	}
	return ""
}

// pairs make the two ends of what a client and its server talk over. The
// first, of which the server's ends are read and written, is the client's.
var pairs = map[string]func(t *testing.T) (ours, theirs [2]*os.File){
	"pipes": func(t *testing.T) (ours, theirs [2]*os.File) {
		theirs[0], ours[0] = mustPipe(t)
		ours[1], theirs[1] = mustPipe(t)
		return ours, theirs
	},
	"sockets": func(t *testing.T) (ours, theirs [2]*os.File) {
		for i := range ours {
			ours[i], theirs[i] = mustSocketpair(t)
		}
		return ours, theirs
	},
	"one socket": func(t *testing.T) (ours, theirs [2]*os.File) {
		our, their := mustSocketpair(t)
		return [2]*os.File{our, our}, [2]*os.File{their, their}
	},
	"named pipes": func(t *testing.T) (ours, theirs [2]*os.File) { // which are not handed over
		for i := range ours {
			name := filepath.Join(t.TempDir(), "p")
			if err := unix.Mkfifo(name, 0o600); err != nil {
				t.Fatal(err)
			}
			ends := [2]*os.File{mustOpen(t, name, unix.O_RDONLY|unix.O_NONBLOCK), mustOpen(t, name, unix.O_WRONLY)}
			ours[i], theirs[i] = ends[1-i], ends[i]
		}
		if err := unix.SetNonblock(int(theirs[0].Fd()), false); err != nil {
			t.Fatal(err)
		}
		return ours, theirs
	},
}

func mustPipe(t *testing.T) (r, w *os.File) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	return r, w
}

func mustOpen(t *testing.T, name string, flags int) *os.File {
	t.Helper()
	f, err := os.OpenFile(name, flags, 0)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func mustSocketpair(t *testing.T) (ours, theirs *os.File) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fds[0], true) // ours; theirs is as node makes it
	}
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
}

// wire starts an initialized session.
func (i instance) wire(t *testing.T, pair string) *wire {
	t.Helper()
	ours, theirs := pairs[pair](t)
	return i.wireOver(t, ours, theirs, nil)
}

// wireOver is wire of another user over what is given.
func (i instance) wireOver(t *testing.T, ours, theirs [2]*os.File, user *syscall.Credential) *wire {
	t.Helper()
	w := &wire{t: t, cmd: i.command("stdio", "--bot", "ann"), in: ours[0], out: ours[1], answered: map[string]bool{}}
	w.cmd.Stdin, w.cmd.Stdout, w.cmd.Stderr = theirs[0], theirs[1], os.Stderr
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: user}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for _, f := range theirs {
		f.Close() // twice the same for one socket
	}
	t.Cleanup(func() {
		w.in.Close()
		w.out.Close()
		_ = w.cmd.Process.Kill() // if it is still there
		_ = w.cmd.Wait()
	})
	if err := w.out.SetReadDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	w.r = bufio.NewReader(w.out)
	w.say(`{"jsonrpc":"2.0","id":"hello","method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`)
	if a := w.next(); string(a.ID) != `"hello"` || a.Error != nil {
		t.Fatalf("initialize: %+v", a)
	}
	w.say(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	return w
}

func (w *wire) say(line string) {
	w.t.Helper()
	if _, err := io.WriteString(w.in, line+"\n"); err != nil {
		w.t.Fatal(err)
	}
}

// toolCall is a line that calls a tool.
func toolCall(id any, name string, args map[string]any) string {
	b, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": map[string]any{"name": name, "arguments": args}})
	if err != nil {
		panic(err) // a mistake in a test
	}
	return string(b)
}

// line returns the next line, or how the output ended.
func (w *wire) line() (answer, error) {
	b, err := w.r.ReadBytes('\n')
	if err != nil {
		return answer{}, err
	}
	var a answer
	if json.Unmarshal(b, &a) != nil {
		a.bad = true
	}
	return a, nil
}

// next is the next line. A second answer, from the pipe to what a server had
// answered just before it was killed, is skipped.
func (w *wire) next() answer {
	w.t.Helper()
	for {
		a, err := w.line()
		if err != nil {
			w.t.Fatalf("read an answer: %v", err)
		}
		if a.bad || !w.answered[string(a.ID)] || !strings.HasPrefix(a.text(), "unavailable: ") {
			w.answered[string(a.ID)] = true
			return a
		}
	}
}

// call calls a tool and waits for its answer, which must be the next one.
func (w *wire) call(id any, name string, args map[string]any) answer {
	w.t.Helper()
	w.say(toolCall(id, name, args))
	a := w.next()
	if want, _ := json.Marshal(id); string(a.ID) != string(want) {
		w.t.Fatalf("%s %v: got %+v", name, id, a)
	}
	return a
}

// works is call, whose tool must succeed.
func (w *wire) works(id any, name string, args map[string]any) string {
	w.t.Helper()
	a := w.call(id, name, args)
	if a.Error != nil || a.Result.IsError {
		w.t.Fatalf("%s %v: %s", name, id, a.text())
	}
	return a.text()
}

// end ends the input and returns the exit code when the output has ended.
func (w *wire) end() int {
	w.t.Helper()
	if w.in == w.out {
		raw, err := w.in.SyscallConn()
		if err == nil {
			err = raw.Control(func(fd uintptr) { err = unix.Shutdown(int(fd), unix.SHUT_WR) })
		}
		if err != nil {
			w.t.Fatal(err)
		}
	} else {
		w.in.Close()
	}
	if a, err := w.line(); !errors.Is(err, io.EOF) {
		w.t.Fatalf("after the end: %+v, %v", a, err)
	}
	_ = w.cmd.Wait() // its code tells
	return w.cmd.ProcessState.ExitCode()
}

// holds says whether a process has what our descriptor is one end of: a pipe's
// two ends have one name.
func holds(t *testing.T, pid int, pipe *os.File) bool {
	t.Helper()
	raw, err := pipe.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var name string
	if err := raw.Control(func(fd uintptr) { name, err = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)) }); err != nil {
		t.Fatal(err)
	}
	for _, link := range links(t, pid) {
		if link == name {
			return true
		}
	}
	return false
}

// links are the names of a process's descriptors.
func links(t *testing.T, pid int) (names []string) {
	t.Helper()
	all, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range all {
		if name, err := os.Readlink(fd); err == nil {
			names = append(names, name)
		}
	}
	return names
}

// flags are those of a process's descriptor.
func flags(t *testing.T, pid, fd int) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", pid, fd))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "flags:"); ok {
			return strings.TrimSpace(rest)
		}
	}
	t.Fatalf("no flags in %s", b)
	return ""
}
