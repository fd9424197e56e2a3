package fstest

import (
	"errors"
	"strconv"
	"strings"
	"sync"

	"moorage/fsbridge"
)

var atomicCases = []testCase{
	{"ReadersSeeWholeFiles", atomicReaders},
	{"OneOfManyCreates", atomicCreate},
	{"CountByRevision", atomicCount},
	{"AppendsJoin", atomicAppends},
}

// parallel runs f n times at once, and waits.
func parallel(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

func atomicReaders(e *env) {
	const size = 200_000
	path := e.put("f", strings.Repeat("0", size))
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := range 10 {
				content := strings.Repeat(string(rune('a'+w*5+i%5)), size)
				if _, err := e.Client.Write(e.Context(), fsbridge.WriteRequest{Path: path}, []byte(content)); err != nil {
					e.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				res, _, body, err := e.Client.Read(e.Context(), fsbridge.ReadRequest{Path: path})
				if err != nil || len(body) != size || strings.Trim(string(body), string(body[:1])) != "" || res.Revision != revisionOf(string(body)) {
					e.Errorf("got %d bytes, %+v, %v", len(body), res, err)
				}
			}
		})
	}
	writers.Wait()
	close(done)
	readers.Wait()
	e.noTemps(e.path("."))
}

func atomicCreate(e *env) {
	var mu sync.Mutex
	var won []string
	parallel(16, func(i int) {
		content := strconv.Itoa(i)
		_, err := e.Client.Write(e.Context(), fsbridge.WriteRequest{Path: e.path("d/f"), IfRevision: ptr("")}, []byte(content))
		if err == nil {
			mu.Lock()
			won = append(won, content)
			mu.Unlock()
		} else if !errors.Is(err, fsbridge.ErrConflict) {
			e.Error(err)
		}
	})
	if len(won) != 1 || e.get(e.path("d/f")) != won[0] {
		e.Errorf("%v have made the file, which is %q", won, e.get(e.path("d/f")))
	}
}

func atomicCount(e *env) {
	path := e.put("f", "0")
	const writers, each = 4, 5
	parallel(writers, func(int) {
		for left := each; left > 0; {
			res, _, body, err := e.Client.Read(e.Context(), fsbridge.ReadRequest{Path: path})
			if err != nil {
				e.Error(err)
				return
			}
			n, _ := strconv.Atoi(string(body))
			_, err = e.Client.Write(e.Context(), fsbridge.WriteRequest{Path: path, IfRevision: &res.Revision}, []byte(strconv.Itoa(n+1)))
			if err == nil {
				left--
			} else if !errors.Is(err, fsbridge.ErrConflict) {
				e.Error(err)
				return
			}
		}
	})
	if got := e.get(path); got != strconv.Itoa(writers*each) {
		e.Errorf("got %s, want %d", got, writers*each)
	}
}

func atomicAppends(e *env) {
	path := e.path("log")
	parallel(8, func(i int) {
		for range 5 {
			line := strings.Repeat(strconv.Itoa(i), 1000) + "\n"
			if _, err := e.Client.Write(e.Context(), fsbridge.WriteRequest{Path: path, Append: true}, []byte(line)); err != nil {
				e.Error(err)
			}
		}
	})
	lines := strings.SplitAfter(e.get(path), "\n")
	if len(lines) != 41 {
		e.Fatalf("got %d lines, want 40", len(lines)-1)
	}
	for _, line := range lines[:40] {
		if len(line) != 1001 || strings.Trim(line, line[:1]) != "\n" {
			e.Errorf("a line is mixed: %.40q", line)
		}
	}
}
