package agent

import (
	"context"
	"fmt"
	"runtime/debug"

	"moorage/fsbridge"
	"moorage/fsbridge/agent/files"
)

// request is a call as it is carried out.
type request struct {
	l      *link
	call   *call
	op     operation
	ctx    context.Context
	data   []byte
	params any
	bad    error // it cannot be understood
}

// decode looks the operation up and reads its parameters. It reports whether a
// stream follows.
func (r *request) decode(js []byte) (streamed bool) {
	op, ok := operations[r.call.op]
	if !ok {
		r.bad = fsbridge.Errorf(r.call.op, "", fsbridge.CodeInvalid, "this agent does not know the operation")
		return false
	}
	var err error
	if r.params, streamed, err = op.parse(r.l.base, js); err != nil {
		r.bad = fsbridge.Errorf(r.call.op, "", fsbridge.CodeInvalid, "parameters: %v", err)
	}
	r.op = op
	return streamed
}

// run carries the request out and answers it. A panic costs the request, not the
// container.
func (r *request) run() {
	defer func() {
		if p := recover(); p != nil {
			r.l.a.log.Error("operation panicked", "op", r.call.op.String(), "err", fmt.Sprint(p), "stack", string(debug.Stack()))
			r.l.answer(r.call, nil, nil, fsbridge.Errorf(r.call.op, "", fsbridge.CodeIO, "internal error of the agent"))
		}
	}()
	gate := r.l.a.gate
	switch {
	case r.bad != nil:
		r.l.answer(r.call, nil, nil, r.bad)
		return
	case !r.op.waits:
		if err := gate.enter(r.ctx); err != nil {
			r.l.answer(r.call, nil, nil, err)
			return
		}
		// The gate is held while the answer is sent, so that bodies that wait for
		// the connection do not pile up in memory.
		defer gate.leave()
	}
	result, data, err := r.op.run(r)
	r.l.answer(r.call, result, data, err)
}

// content is what a write writes.
func (r *request) content(streamed bool) files.Source {
	if streamed {
		return r.receive()
	}
	return files.Bytes(r.data)
}

// exec runs a command.
func (r *request) exec(p *fsbridge.ExecRequest) (any, []byte, error) {
	stdin := r.data
	if p.Stream {
		var err error
		if stdin, err = r.gather(fsbridge.StdinMax); err != nil {
			return nil, nil, err
		}
	}
	return withData(r.l.a.processes.Exec(r.ctx, p, stdin))
}
