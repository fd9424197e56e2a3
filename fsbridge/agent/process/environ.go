package process

import (
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"moorage/fsbridge"
)

const (
	defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	defaultTerm = "xterm-256color"
)

// environment is what every command gets of variables, in order.
type environment struct {
	names  []string
	values map[string]string
}

func newEnvironment(list []string) environment {
	e := environment{values: make(map[string]string)}
	for _, s := range list {
		if name, value, ok := strings.Cut(s, "="); ok && name != "" && name != markName {
			e.set(name, value)
		}
	}
	e.init("PATH", defaultPath)
	if e.values["HOME"] == "" {
		home := "/"
		if u, err := lookupUser("0"); err == nil {
			home = u.home
		}
		e.set("HOME", home)
	}
	e.init("USER", "root")
	return e
}

func (e *environment) set(name, value string) {
	if _, ok := e.values[name]; !ok {
		e.names = append(e.names, name)
	}
	e.values[name] = value
}

// init is set for a variable that is not there.
func (e *environment) init(name, value string) {
	if _, ok := e.values[name]; !ok {
		e.set(name, value)
	}
}

// with returns the environment of one command: the request's own variables win,
// then those that follow from the user and the terminal.
func (e *environment) with(who *user, req *fsbridge.ExecRequest) []string {
	extra := make(map[string]string, len(req.Env)+3)
	if who.set {
		extra["HOME"], extra["USER"] = who.home, who.name
	}
	if req.TTY != nil && e.values["TERM"] == "" {
		extra["TERM"] = defaultTerm
	}
	for name, value := range req.Env {
		extra[name] = value
	}
	delete(extra, markName) // which launch adds
	list := make([]string, 0, len(e.names)+len(extra)+1)
	for _, name := range e.names {
		value, ok := extra[name]
		if !ok {
			value = e.values[name]
		}
		delete(extra, name)
		list = append(list, name+"="+value)
	}
	for name, value := range extra {
		list = append(list, name+"="+value)
	}
	return list
}

// search returns the PATH of an environment.
func search(env []string) string {
	for _, s := range env {
		if path, ok := strings.CutPrefix(s, "PATH="); ok {
			return path
		}
	}
	return defaultPath
}

// find returns the file of a program: name itself if it has a slash (the child
// takes it from its working directory), else the first executable of path.
func find(name, path, cwd string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	var denied bool
	for _, dir := range filepath.SplitList(path) {
		file := inDir(cwd, filepath.Join(dir, name))
		info, err := os.Stat(file)
		if err != nil || info.IsDir() {
			continue
		}
		if info.Mode()&0o111 != 0 {
			return file, nil
		}
		denied = true
	}
	e := fsbridge.NewError(fsbridge.OpExec, fsbridge.Path(name), unix.ENOENT)
	e.Message = "no such program in PATH " + printable(path)
	if denied {
		e.Errno, e.Message = unix.EACCES, "not executable, and no other of that name in PATH "+printable(path)
	}
	return "", e
}

// inDir is the absolute path of one that is taken from dir.
func inDir(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

func printable(s string) string { return strings.ToValidUTF8(s[:min(len(s), 1024)], "?") }
