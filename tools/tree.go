package tools

import (
	"context"
	"fmt"

	"moorage/fsbridge"
)

func (s *Server) addTree() {
	add(s, definition{
		name:        "fs_mkdir",
		description: "Make a directory and those above it; one that exists is fine.",
		hints:       hints{idempotent: true},
	}, s.fsMkdir)
	add(s, definition{
		name:        "fs_move",
		description: "Move or rename a file or directory, across mounts too; parent directories are made.",
		hints:       hints{destructive: true},
	}, s.fsMove)
	add(s, definition{
		name:        "fs_delete",
		description: "Delete a file, a link (not its target), or a directory; what is missing is no error. There is no undo.",
		hints:       hints{destructive: true, idempotent: true},
	}, s.fsDelete)
}

type mkdirInput struct {
	Path        string `json:"path" doc:"Directory, absolute or from /data."`
	Mode        string `json:"mode,omitempty" doc:"Octal mode (default 0755)." pattern:"^0?[0-7]{3,4}$" takes:"an octal mode as a string, such as \"0755\""`
	ContainerID string `json:"container_id,omitempty" doc:"Container, else the current one."`
}

type mkdirFacts struct {
	where
	Path    string `json:"path"`
	Created bool   `json:"created"`
}

func (s *Server) fsMkdir(ctx context.Context, c *call, in mkdirInput) (r reply[mkdirFacts], err error) {
	path, err := parsePath("path", in.Path)
	if err != nil {
		return r, err
	}
	a, at, err := c.agent(ctx, in.ContainerID)
	if err != nil {
		return r, err
	}
	res, err := a.Mkdir(ctx, fsbridge.MkdirRequest{Path: path, Mode: octal(in.Mode)})
	if err != nil {
		return r, err
	}
	r.facts = mkdirFacts{at, show(res.Path), res.Created}
	if res.Created {
		r.say("Created " + r.facts.Path + ".")
	} else {
		r.say(r.facts.Path + " is there already.")
	}
	return r, nil
}

type moveInput struct {
	Source      string `json:"source" doc:"What to move."`
	Destination string `json:"destination" doc:"Its new path, not the directory to put it in."`
	Overwrite   bool   `json:"overwrite,omitempty" doc:"Replace a file that is there."`
	ContainerID string `json:"container_id,omitempty" doc:"Container, else the current one."`
}

type moveFacts struct {
	where
	Source      string `json:"source"`
	Destination string `json:"destination"`
	Replaced    bool   `json:"replaced"`
}

func (s *Server) fsMove(ctx context.Context, c *call, in moveInput) (r reply[moveFacts], err error) {
	from, err := parsePath("source", in.Source)
	if err != nil {
		return r, err
	}
	to, err := parsePath("destination", in.Destination)
	if err != nil {
		return r, err
	}
	a, at, err := c.agent(ctx, in.ContainerID)
	if err != nil {
		return r, err
	}
	res, err := a.Move(ctx, fsbridge.MoveRequest{Source: from, Destination: to, Overwrite: in.Overwrite})
	if err != nil {
		return r, err
	}
	r.facts = moveFacts{at, show(res.Source), show(res.Destination), res.Replaced}
	text := fmt.Sprintf("Moved %s to %s", r.facts.Source, r.facts.Destination)
	if res.Replaced {
		text += ", in place of what was there"
	}
	r.say(text + ".")
	return r, nil
}

type removeInput struct {
	Path        string `json:"path" doc:"Path, absolute or from /data."`
	Recursive   bool   `json:"recursive,omitempty" doc:"A directory with all that is in it."`
	ContainerID string `json:"container_id,omitempty" doc:"Container, else the current one."`
}

type removeFacts struct {
	where
	Path    string `json:"path"`
	Deleted bool   `json:"deleted"`
	Count   int64  `json:"count"`
}

func (s *Server) fsDelete(ctx context.Context, c *call, in removeInput) (r reply[removeFacts], err error) {
	path, err := parsePath("path", in.Path)
	if err != nil {
		return r, err
	}
	a, at, err := c.agent(ctx, in.ContainerID)
	if err != nil {
		return r, err
	}
	res, err := a.Delete(ctx, fsbridge.DeleteRequest{Path: path, Recursive: in.Recursive})
	if err != nil {
		return r, err
	}
	r.facts = removeFacts{at, show(res.Path), res.Deleted, res.Count}
	switch {
	case !res.Deleted:
		r.say(r.facts.Path + " does not exist: nothing was deleted.")
	case res.Count > 1:
		r.say(fmt.Sprintf("Deleted %s and the %s in it.", r.facts.Path, count(res.Count-1, "entry")))
	default:
		r.say("Deleted " + r.facts.Path + ".")
	}
	return r, nil
}
