package process

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"moorage/fsbridge"
)

// cursor is a place in stdout and in stderr.
type cursor struct{ out, err int64 }

func (c cursor) String() string {
	return strconv.FormatInt(c.out, 10) + "." + strconv.FormatInt(c.err, 10)
}

// Follow writes input, sends a signal, waits, and returns what is new of the
// output, as the request says. When ctx ends first the process goes on.
func (t *Table) Follow(ctx context.Context, req *fsbridge.FollowRequest, input []byte) (fsbridge.FollowResult, []byte, error) {
	f, err := t.follower(req)
	if err == nil {
		err = f.act(req, input)
	}
	if err != nil {
		return fsbridge.FollowResult{}, nil, err
	}
	matched, err := f.wait(ctx, req.Wait)
	if err != nil {
		return fsbridge.FollowResult{}, nil, fsbridge.NewError(fsbridge.OpFollow, "", err)
	}
	res, data := f.result(req.OutputLimit())
	res.Matched = matched
	return res, data, nil
}

// follower is a Follow as it is carried out.
type follower struct {
	p      *Process
	at     cursor
	signal unix.Signal // 0: none
	scan   *scanner    // nil: nothing is looked for
}

func invalid(format string, args ...any) error {
	return fsbridge.Errorf(fsbridge.OpFollow, "", fsbridge.CodeInvalid, format, args...)
}

// follower finds the process and checks the request.
func (t *Table) follower(req *fsbridge.FollowRequest) (f *follower, err error) {
	f = new(follower)
	if f.p, err = t.find(req.ProcessID); err != nil {
		return nil, err
	}
	switch {
	case req.Wait < 0 || req.Wait > fsbridge.WaitMax:
		return nil, invalid("wait is %v, it may be 0 to %v", req.Wait, fsbridge.WaitMax)
	case req.MaxOutput < 0:
		return nil, invalid("max_output is %d, the least is 0", req.MaxOutput)
	}
	if req.Signal != "" {
		if f.signal, err = parseSignal(req.Signal); err != nil {
			return nil, err
		}
	}
	if f.at, err = f.p.cursor(req.Cursor); err != nil {
		return nil, err
	}
	if req.WaitFor != "" {
		f.scan, err = newScanner(req.WaitFor, f.p, f.at)
	}
	return f, err
}

// find returns the process of an id.
func (t *Table) find(id string) (*Process, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.running[id]; p != nil {
		return p, nil
	}
	if i := slices.IndexFunc(t.finished, func(p *Process) bool { return p.id == id }); i >= 0 {
		return t.finished[i], nil
	}
	why := "it has finished long ago, was cancelled, or never was"
	if !strings.HasSuffix(id, "-"+t.tag) {
		why = "there is none of this id since the container was started"
	}
	return nil, fsbridge.Errorf(fsbridge.OpFollow, "", fsbridge.CodeProcess, "process %.80q: %s; list the processes to see those that "+
		"are kept: all that run, and finished ones for %v or until %d newer ones have finished", printable(id), why, hours(finishedAge), finishedMax)
}

func hours(d time.Duration) string { return fmt.Sprintf("%g h", d.Hours()) }

// cursor reads a cursor as FollowRequest has it.
func (p *Process) cursor(text string) (c cursor, err error) {
	var now fsbridge.ExecResult
	p.count(&now, false)
	end := cursor{now.StdoutBytes, now.StderrBytes}
	switch text {
	case "":
		return p.seenTo(), nil
	case "0":
		return cursor{}, nil
	case "end":
		return end, nil
	}
	out, errs, ok := strings.Cut(text, ".")
	if c.out, err = strconv.ParseInt(out, 10, 64); err == nil {
		c.err, err = strconv.ParseInt(errs, 10, 64)
	}
	switch {
	case !ok || err != nil || c.String() != text || c.out < 0 || c.err < 0:
		return c, invalid("cursor %.80q: it may be a next_cursor of this process, \"0\" for the beginning of its output, "+
			"\"end\" for what comes from now on, or left out for what comes after the last call", printable(text))
	case c.out > end.out || c.err > end.err:
		return c, invalid("cursor %q is past the end of the output, which is at %q: it is not one of this process", text, end)
	}
	return c, nil
}

// seenTo is up to where output was returned.
func (p *Process) seenTo() cursor {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen
}

// see notes up to where output is returned, and returns that for the result.
func (p *Process) see(c cursor) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = c
	return c.String()
}

// act writes the input, closes it and sends the signal.
func (f *follower) act(req *fsbridge.FollowRequest, input []byte) error {
	if len(input) > 0 {
		if err := f.p.canRead(); err != nil {
			return err
		}
	}
	if f.p.in != nil && (len(input) > 0 || req.Close) && !f.p.hasEnded() {
		if err := f.p.in.put(fsbridge.OpFollow, input, req.Close); err != nil {
			return err
		}
	}
	if f.signal != 0 {
		f.p.send(f.signal)
	}
	return nil
}

// canRead refuses input to a process that cannot have any.
func (p *Process) canRead() error {
	switch {
	case p.hasEnded():
		return invalid("input: process %s has ended (%s) and reads no more; %s", p.id, p.ending(), howToWrite)
	case p.in == nil:
		return invalid("input: the standard input of process %s was closed when it started; %s", p.id, howToWrite)
	}
	return nil
}

func (p *Process) hasEnded() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// ending says how the process has ended.
func (p *Process) ending() string {
	switch res := p.status(); {
	case res.State == fsbridge.TimedOut:
		return "killed, as its timeout had passed"
	case res.ExitCode != nil:
		return fmt.Sprintf("exit code %d", *res.ExitCode)
	default:
		return "by " + res.Signal
	}
}

// wait waits for the end, for what is looked for, or for as long as the request
// says, and reports whether it was found. What is looked for may still come after
// the end, from children that hold the output.
func (f *follower) wait(ctx context.Context, most time.Duration) (found bool, err error) {
	timer := time.NewTimer(most)
	defer timer.Stop()
	news, forget := f.p.news.watch()
	defer forget()
	if f.scan == nil {
		news = nil
	}
	for last := false; ; {
		end := f.p.nextEnd(f.scan != nil) // before it is looked
		last = last || end == nil
		if f.scan != nil && f.scan.look(ctx) {
			return true, nil
		}
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if last {
			return false, nil
		}
		select {
		case <-news:
			last = f.scan.rest(ctx, end, timer.C)
		case <-end:
		case <-timer.C:
			last = true
		case <-ctx.Done():
		}
	}
}

// nextEnd returns a channel that is closed when the process has ended or, with
// output, when something of its output has; nil when all that has come.
func (p *Process) nextEnd(output bool) <-chan struct{} {
	ends := []<-chan struct{}{p.done}
	for _, c := range p.captures() {
		if output {
			ends = append(ends, c.eof)
		}
	}
	for _, end := range ends {
		select {
		case <-end:
		default:
			return end
		}
	}
	return nil
}

// result returns the state of the process and what is new.
func (f *follower) result(limit int) (fsbridge.FollowResult, []byte) {
	f.p.catchUp()
	res := fsbridge.FollowResult{ExecResult: f.p.status()} // the state before the output, which is then whole
	ended := res.State != fsbridge.Running
	out := f.p.stdout.fresh(f.at.out, limit, ended)
	var errs piece
	if f.p.stderr != nil {
		errs = f.p.stderr.fresh(f.at.err, limit, ended)
	}
	f.p.count(&res.ExecResult, false)
	res.StdoutHead, res.StdoutFrom, res.StdoutLost = len(out.data), out.from, out.from-f.at.out
	res.StderrHead, res.StderrFrom, res.StderrLost = len(errs.data), errs.from, errs.from-f.at.err
	res.More = res.StdoutBytes > out.end()+out.held || res.StderrBytes > errs.end()+errs.held
	res.NextCursor = f.p.see(cursor{out.end(), errs.end()})
	return res, append(out.data, errs.data...)
}

// piece is a part of a stream.
type piece struct {
	from int64
	data []byte
	held int64 // bytes after it that are kept back: a character that is not whole
}

func (p *piece) end() int64 { return p.from + int64(len(p.data)) }

// fresh returns at most limit bytes of a stream, from at on. It ends at a
// character's edge if what is missing may still come.
func (c *capture) fresh(at int64, limit int, ended bool) (p piece) {
	p.data, p.from = c.read(nil, at, limit)
	if p.from > at {
		whole := wholeStart(p.data)
		p.from += int64(len(p.data) - len(whole))
		p.data = whole
	}
	whole := wholeEnd(p.data)
	atEnd := p.end() >= c.written(false).total
	switch {
	case atEnd && ended, len(whole) == 0 && !atEnd:
		return p
	case atEnd:
		p.held = int64(len(p.data) - len(whole))
	}
	p.data = whole
	return p
}
