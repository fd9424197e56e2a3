package process

import (
	"slices"
	"strings"
	"unicode/utf8"

	"moorage/fsbridge"
)

// List tells about the processes that run and those that have finished, each the
// newest first.
func (t *Table) List() fsbridge.ProcessesResult {
	t.mu.Lock()
	running := make([]*Process, 0, len(t.running)+len(t.finished))
	for _, p := range t.running {
		running = append(running, p)
	}
	finished := slices.Clone(t.finished)
	t.mu.Unlock()
	newest := func(a, b *Process) int { return b.seq - a.seq }
	slices.SortFunc(running, newest)
	slices.SortFunc(finished, newest)
	all := append(running, finished...)
	res := fsbridge.ProcessesResult{Total: len(all)}
	all = all[:min(len(all), fsbridge.ProcessesMax)]
	res.Processes = make([]fsbridge.ProcessInfo, 0, len(all))
	for _, p := range all {
		res.Processes = append(res.Processes, p.info())
	}
	return res
}

func (p *Process) info() fsbridge.ProcessInfo {
	info := fsbridge.ProcessInfo{ExecResult: p.status(), Command: p.command, Started: p.started, TTY: p.session}
	p.count(&info.ExecResult, false)
	info.NextCursor = p.seenTo().String()
	info.StdinOpen = info.State == fsbridge.Running && p.in != nil && p.in.open()
	return info
}

// describe returns what a command is: its line, or argv as a shell would take it.
func describe(req *fsbridge.ExecRequest) string {
	if req.Command != "" {
		return shorten(req.Command)
	}
	var b strings.Builder
	for i, arg := range req.Argv {
		if b.Len() > fsbridge.CommandMax {
			break
		}
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(quote(shorten(arg)))
	}
	return shorten(b.String())
}

// plain are the bytes that a shell takes as they are.
const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789%+,-./:=@_"

func quote(arg string) string {
	if arg != "" && strings.Trim(arg, plain) == "" {
		return arg
	}
	return "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
}

// shorten makes s text of at most CommandMax bytes.
func shorten(s string) string {
	const cut = "..."
	if len(s) <= fsbridge.CommandMax {
		return strings.ToValidUTF8(s, "?")
	}
	end := fsbridge.CommandMax - len(cut)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return strings.ToValidUTF8(s[:end], "?") + cut
}
