package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"

	"moorage/fsbridge"
	"moorage/fsbridge/agent/files"
)

// request is a call as it is carried out.
type request struct {
	l      *link
	call   *call
	ctx    context.Context
	json   []byte
	data   []byte
	params any
	bad    error // the parameters cannot be understood
}

// decode reads the parameters, and makes their paths absolute.
func (r *request) decode() error {
	base := r.l.base
	switch r.call.op {
	case fsbridge.OpPing:
		return nil
	case fsbridge.OpRead:
		p := new(fsbridge.ReadRequest)
		return r.parse(p, func() { p.Path = files.Resolve(base, p.Path) })
	case fsbridge.OpFetch:
		p := new(fsbridge.FetchRequest)
		return r.parse(p, func() { p.Path = files.Resolve(base, p.Path) })
	case fsbridge.OpWrite:
		p := new(fsbridge.WriteRequest)
		return r.parse(p, func() { p.Path = files.Resolve(base, p.Path) })
	case fsbridge.OpList:
		p := new(fsbridge.ListRequest)
		return r.parse(p, func() { p.Path = files.Resolve(base, p.Path) })
	case fsbridge.OpStat:
		p := new(fsbridge.StatRequest)
		return r.parse(p, func() { p.Path = files.Resolve(base, p.Path) })
	case fsbridge.OpExec:
		p := new(fsbridge.ExecRequest)
		return r.parse(p, func() { p.Cwd = files.Resolve(base, p.Cwd) })
	}
	return fsbridge.Errorf(r.call.op, "", fsbridge.CodeInvalid, "this agent does not know the operation")
}

func (r *request) parse(p any, resolve func()) error {
	if err := json.Unmarshal(r.json, p); err != nil {
		return fsbridge.Errorf(r.call.op, "", fsbridge.CodeInvalid, "parameters: %v", err)
	}
	resolve()
	r.params, r.json = p, nil
	return nil
}

// streamed reports whether a stream follows the request.
func (r *request) streamed() bool {
	switch p := r.params.(type) {
	case *fsbridge.WriteRequest:
		return p.Stream
	case *fsbridge.ExecRequest:
		return p.Stream
	}
	return false
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
	a := r.l.a
	switch {
	case r.bad != nil:
		r.l.answer(r.call, nil, nil, r.bad)
		return
	case r.call.op == fsbridge.OpPing:
		r.l.answer(r.call, nil, nil, nil)
		return
	case r.call.op == fsbridge.OpExec: // it waits most of its time
		result, data, err := r.exec()
		r.l.answer(r.call, result, data, err)
		return
	}
	if err := a.gate.enter(r.ctx); err != nil {
		r.l.answer(r.call, nil, nil, err)
		return
	}
	// The gate is held while the answer is sent, so that bodies that wait for
	// the connection do not pile up in memory.
	defer a.gate.leave()
	result, data, err := r.touchFiles()
	r.l.answer(r.call, result, data, err)
}

// touchFiles carries out an operation on files, inside the gate.
func (r *request) touchFiles() (result any, data []byte, err error) {
	tree := r.l.a.files
	switch p := r.params.(type) {
	case *fsbridge.ReadRequest:
		return withData(tree.Read(r.ctx, p))
	case *fsbridge.FetchRequest:
		res, err := tree.Fetch(r.ctx, p, r.send)
		return &res, nil, err
	case *fsbridge.WriteRequest:
		src := files.Bytes(r.data)
		if p.Stream {
			src = r.receive()
		}
		res, err := tree.Write(r.ctx, p, src)
		return &res, nil, err
	case *fsbridge.ListRequest:
		res, err := tree.List(r.ctx, p)
		return &res, fsbridge.AppendEntries(nil, res.Entries), err
	case *fsbridge.StatRequest:
		return withData(tree.Stat(r.ctx, p))
	}
	panic("no operation on files")
}

func withData[T any](res T, data []byte, err error) (any, []byte, error) { return &res, data, err }

// exec runs a command.
func (r *request) exec() (any, []byte, error) {
	p := r.params.(*fsbridge.ExecRequest)
	stdin := r.data
	if p.Stream {
		var err error
		if stdin, err = r.gather(fsbridge.StdinMax); err != nil {
			return nil, nil, err
		}
	}
	return withData(r.l.a.processes.Exec(r.ctx, p, stdin))
}
