package agent

import (
	"context"
	"io"

	"moorage/fsbridge"
	"moorage/fsbridge/agent/files"
)

// send sends p in the request's stream, outside of the gate while it waits for
// credit.
func (r *request) send(p []byte) error {
	r.l.a.gate.leave()
	defer r.l.a.gate.mustEnter()
	for len(p) > 0 {
		n, err := r.call.out.Take(r.ctx, nil, len(p))
		if err != nil {
			return err
		}
		if _, err := r.l.conn.Write(context.Background(), fsbridge.Header{ID: r.call.id, Kind: fsbridge.KindData}, nil, p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// receive is the request's stream as the source of a write: outside of the gate
// while it waits for data.
func (r *request) receive() files.Source {
	next := r.chunks()
	return func(context.Context) ([]byte, error) {
		r.l.a.gate.leave()
		defer r.l.a.gate.mustEnter()
		return next()
	}
}

// chunks returns a function that yields the stream's chunks, each until the next
// is asked for, and grants credit as they are used up.
func (r *request) chunks() func() ([]byte, error) {
	var chunk []byte
	used := 0
	return func() (_ []byte, err error) {
		used += len(chunk)
		if used >= fsbridge.CreditStep && !r.call.in.Ended() {
			r.call.in.Grant(used)
			if err := r.l.conn.WriteCredit(context.Background(), r.call.id, used); err != nil {
				return nil, err
			}
			used = 0
		}
		chunk, err = r.call.in.Take(r.ctx, chunk)
		return chunk, err
	}
}

// gather takes the whole stream, at most limit bytes.
func (r *request) gather(limit int) ([]byte, error) {
	next := r.chunks()
	var all []byte
	for {
		chunk, err := next()
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		if len(all)+len(chunk) > limit {
			return nil, fsbridge.Errorf(r.call.op, "", fsbridge.CodeTooLarge, "more than %d bytes of standard input", limit)
		}
		all = append(all, chunk...)
	}
}
