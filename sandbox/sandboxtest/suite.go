package sandboxtest

import (
	"context"
	"io"
	"testing"
	"time"

	"moorage/fsbridge"
	"moorage/sandbox"
)

// limit bounds each wait of the suite.
const limit = 30 * time.Second

// Runtime is what the suite wants of a runtime: images too.
type Runtime interface {
	sandbox.Runtime
	sandbox.ImageStore
}

// Subject is a runtime under test, on directories of its own. Whoever opened it
// closes it, and deletes the containers that a failed test has left.
type Subject struct {
	Runtime Runtime
	// Restart ends the runtime, as a server's end does, and opens another one on
	// the same directories.
	Restart func() Runtime
	// DataDir is the host's directory of a bot's data; nil if it has none that a
	// test may look at.
	DataDir func(sandbox.Bot) string
}

// Run runs the suite. open is called once for each test.
func Run(t *testing.T, open func(t *testing.T) Subject) {
	for name, test := range map[string]func(*suite){
		"Life":           testLife,
		"Taken":          testTaken,
		"Bots":           testBots,
		"Unknown":        testUnknown,
		"Record":         testRecord,
		"Data":           testData,
		"Environment":    testEnvironment,
		"Fence":          testFence,
		"Limits":         testLimits,
		"NoShell":        testNoShell,
		"NoHosts":        testNoHosts,
		"Restart":        testRestart,
		"ManyAtOnce":     testManyAtOnce,
		"MissingImage":   testMissingImage,
		"Waiting":        testWaiting,
		"StopIgnored":    testStopIgnored,
		"DeleteInPieces": testDelete,
	} {
		t.Run(name, func(t *testing.T) { test(&suite{T: t, Subject: open(t)}) })
	}
}

// suite is one test of it.
type suite struct {
	*testing.T
	Subject
}

var (
	ann = sandbox.Ref{Bot: "ann", ID: "one"}
	bob = sandbox.Ref{Bot: "bob", ID: "one"}
)

func (s *suite) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	s.Cleanup(cancel)
	return ctx
}

// must fails the test at once.
func (s *suite) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// spec is a container of the built-in image.
func (s *suite) spec(ref sandbox.Ref) sandbox.Spec {
	s.Helper()
	img, err := s.Runtime.EnsureImage(s.ctx(), sandbox.BaseImage, nil)
	s.must(err)
	return sandbox.Spec{Ref: ref, Image: img, Snapshotter: "overlayfs"}
}

// start makes and starts a container, and connects to its agent.
func (s *suite) start(spec sandbox.Spec) *fsbridge.Client {
	s.Helper()
	s.must(s.Runtime.Create(s.ctx(), spec))
	s.must(s.Runtime.Start(s.ctx(), spec.Ref))
	return s.connect(spec.Ref)
}

func (s *suite) connect(ref sandbox.Ref) *fsbridge.Client {
	s.Helper()
	stream, err := s.Runtime.Connect(s.ctx(), ref)
	s.must(err)
	return s.greet(stream)
}

func (s *suite) greet(stream io.ReadWriteCloser) *fsbridge.Client {
	s.Helper()
	c, err := fsbridge.Connect(s.ctx(), stream, fsbridge.Welcome{DataDir: "/data"})
	s.must(err)
	s.Cleanup(func() { c.Close() })
	if c.Hello().PID != 1 {
		s.Errorf("the agent is process %d", c.Hello().PID)
	}
	return c
}

// shell runs a line and returns what it wrote; both streams.
func (s *suite) shell(c *fsbridge.Client, line string) string {
	s.Helper()
	res, out, err := c.Exec(s.ctx(), fsbridge.ExecRequest{Command: line, Wait: limit, MaxOutput: 64 << 10}, nil)
	if err != nil {
		s.Fatalf("%s: %v", line, err)
	}
	if res.State == fsbridge.Running {
		s.Errorf("%q is not done within %s", line, limit)
	}
	return string(out.StdoutHead) + string(out.StdoutTail) + string(out.StderrHead) + string(out.StderrTail)
}

func (s *suite) write(c *fsbridge.Client, path, text string) {
	s.Helper()
	_, err := c.Write(s.ctx(), fsbridge.WriteRequest{Path: fsbridge.Path(path)}, []byte(text))
	s.must(err)
}

// read returns a file's content, or "-" if it does not exist.
func (s *suite) read(c *fsbridge.Client, path string) string {
	s.Helper()
	_, _, body, err := c.Read(s.ctx(), fsbridge.ReadRequest{Path: fsbridge.Path(path)})
	if isNotExist(err) {
		return "-"
	}
	s.must(err)
	return string(body)
}

func (s *suite) state(ref sandbox.Ref) sandbox.State {
	s.Helper()
	st, err := s.Runtime.Status(s.ctx(), ref)
	s.must(err)
	return st.State
}

func (s *suite) expect(err, want error, doing string) {
	s.Helper()
	if !is(err, want) {
		s.Errorf("%s: expected %v, got %v", doing, want, err)
	}
}
