package agent

import (
	"moorage/fsbridge"
	"moorage/fsbridge/agent/files"
	"moorage/fsbridge/agent/search"
)

// operation is how one operation of the wire is carried out.
type operation struct {
	// parse reads the parameters, makes their paths absolute, and tells whether a
	// stream follows the request.
	parse func(base fsbridge.Path, js []byte) (params any, streamed bool, err error)
	// run carries it out. What it returns is the answer.
	run func(r *request) (result any, data []byte, err error)
	// waits tells that it waits most of its time, and so stays outside of the gate.
	waits bool
}

// operations is the table of what this agent can do.
var operations = map[fsbridge.Op]operation{
	fsbridge.OpPing: {
		parse: func(fsbridge.Path, []byte) (any, bool, error) { return nil, false, nil },
		run:   func(*request) (any, []byte, error) { return nil, nil, nil },
		waits: true,
	},
	fsbridge.OpRead: inFiles(func(p *fsbridge.ReadRequest) paths { return paths{&p.Path} },
		func(r *request, t *files.Tree, p *fsbridge.ReadRequest) (any, []byte, error) {
			return withData(t.Read(r.ctx, p))
		}),
	fsbridge.OpFetch: inFiles(func(p *fsbridge.FetchRequest) paths { return paths{&p.Path} },
		func(r *request, t *files.Tree, p *fsbridge.FetchRequest) (any, []byte, error) {
			return plain(t.Fetch(r.ctx, p, r.send))
		}),
	fsbridge.OpWrite: inFiles(func(p *fsbridge.WriteRequest) paths { return paths{&p.Path} },
		func(r *request, t *files.Tree, p *fsbridge.WriteRequest) (any, []byte, error) {
			return plain(t.Write(r.ctx, p, r.content(p.Stream)))
		}),
	fsbridge.OpList: inFiles(func(p *fsbridge.ListRequest) paths { return paths{&p.Path} },
		func(r *request, t *files.Tree, p *fsbridge.ListRequest) (any, []byte, error) {
			res, err := t.List(r.ctx, p)
			return &res, fsbridge.AppendEntries(nil, res.Entries), err
		}),
	fsbridge.OpStat: inFiles(func(p *fsbridge.StatRequest) paths { return paths{&p.Path} },
		func(r *request, t *files.Tree, p *fsbridge.StatRequest) (any, []byte, error) {
			return withData(t.Stat(r.ctx, p))
		}),
	fsbridge.OpEdit: inFiles(func(p *fsbridge.EditRequest) paths { return paths{&p.Path} },
		func(r *request, t *files.Tree, p *fsbridge.EditRequest) (any, []byte, error) {
			return withData(t.Edit(r.ctx, p))
		}),
	fsbridge.OpPatch: inFiles(func(p *fsbridge.PatchRequest) paths { return paths{&p.Path} },
		func(r *request, t *files.Tree, p *fsbridge.PatchRequest) (any, []byte, error) {
			return plain(t.Patch(r.ctx, p))
		}),
	fsbridge.OpMkdir: inFiles(func(p *fsbridge.MkdirRequest) paths { return paths{&p.Path} },
		func(r *request, t *files.Tree, p *fsbridge.MkdirRequest) (any, []byte, error) {
			return plain(t.Mkdir(r.ctx, p))
		}),
	fsbridge.OpMove: inFiles(func(p *fsbridge.MoveRequest) paths { return paths{&p.Source, &p.Destination} },
		func(r *request, t *files.Tree, p *fsbridge.MoveRequest) (any, []byte, error) {
			return plain(t.Move(r.ctx, p))
		}),
	fsbridge.OpDelete: inFiles(func(p *fsbridge.DeleteRequest) paths { return paths{&p.Path} },
		func(r *request, t *files.Tree, p *fsbridge.DeleteRequest) (any, []byte, error) {
			return plain(t.Delete(r.ctx, p))
		}),
	fsbridge.OpGlob: inSearch(func(p *fsbridge.GlobRequest) paths { return paths{&p.Path} },
		func(r *request, s *search.Searcher, p *fsbridge.GlobRequest) (any, []byte, error) {
			res, err := s.Glob(r.ctx, p)
			return &res, fsbridge.AppendEntries(nil, res.Entries), err
		}),
	fsbridge.OpGrep: inSearch(func(p *fsbridge.GrepRequest) paths { return paths{&p.Path} },
		func(r *request, s *search.Searcher, p *fsbridge.GrepRequest) (any, []byte, error) {
			res, err := s.Grep(r.ctx, p)
			return &res, fsbridge.AppendMatches(nil, res.Matches), err
		}),
	fsbridge.OpExec: waiting(func(p *fsbridge.ExecRequest) paths { return paths{&p.Cwd} }, (*request).exec),
	fsbridge.OpFollow: waiting(func(*fsbridge.FollowRequest) paths { return nil },
		func(r *request, p *fsbridge.FollowRequest) (any, []byte, error) {
			return withData(r.l.a.processes.Follow(r.ctx, p, r.data))
		}),
	fsbridge.OpProcesses: {
		parse: func(fsbridge.Path, []byte) (any, bool, error) { return nil, false, nil },
		run:   func(r *request) (any, []byte, error) { return plain(r.l.a.processes.List(), nil) },
		waits: true,
	},
}

// paths are the parameters that are resolved.
type paths []*fsbridge.Path

// inFiles is an operation on files.
func inFiles[P any](of func(*P) paths, run func(*request, *files.Tree, *P) (any, []byte, error)) operation {
	return operation{
		parse: parser(of),
		run:   func(r *request) (any, []byte, error) { return run(r, r.l.a.files, r.params.(*P)) },
	}
}

// inSearch is a search in the files.
func inSearch[P any](of func(*P) paths, run func(*request, *search.Searcher, *P) (any, []byte, error)) operation {
	return operation{
		parse: parser(of),
		run:   func(r *request) (any, []byte, error) { return run(r, r.l.a.search, r.params.(*P)) },
	}
}

// waiting is an operation that waits most of its time.
func waiting[P any](of func(*P) paths, run func(*request, *P) (any, []byte, error)) operation {
	return operation{
		parse: parser(of),
		run:   func(r *request) (any, []byte, error) { return run(r, r.params.(*P)) },
		waits: true,
	}
}

// streamer is implemented by parameters after which a stream may follow.
type streamer interface{ Streamed() bool }

func parser[P any](of func(*P) paths) func(fsbridge.Path, []byte) (any, bool, error) {
	return func(base fsbridge.Path, js []byte) (any, bool, error) {
		p := new(P)
		if err := fsbridge.Decode(js, p); err != nil {
			return nil, false, err
		}
		for _, path := range of(p) {
			*path = files.Resolve(base, *path)
		}
		s, ok := any(p).(streamer)
		return p, ok && s.Streamed(), nil
	}
}

func plain[T any](res T, err error) (any, []byte, error) { return &res, nil, err }

func withData[T any](res T, data []byte, err error) (any, []byte, error) { return &res, data, err }
