package fstest

import (
	"fmt"
	"strings"
	"time"

	"pgregory.net/rapid"

	"moorage/fsbridge"
)

var sliceCases = []testCase{
	{"Property", slicesJoin},
	{"TailProperty", tailsMatch},
	{"CutTailProperty", cutTailsJoin},
	{"Sparse", slicesOfSparse},
	{"LongLine", slicesOfLongLine},
}

// content draws a file: lines long and short, endings of both kinds, characters
// of all lengths.
func content(rt *rapid.T) string {
	piece := rapid.OneOf(
		rapid.SampledFrom([]string{"\n", "\r\n", "", "é", "€", "😀", "x\n", "\n\n"}),
		rapid.StringN(0, 40, -1),
		rapid.Custom(func(rt *rapid.T) string {
			return strings.Repeat(rapid.SampledFrom([]string{"long ", "ä", "😀"}).Draw(rt, "unit"), rapid.IntRange(1, 3000).Draw(rt, "times"))
		}),
	)
	all := strings.Join(rapid.SliceOfN(piece, 0, 40).Draw(rt, "pieces"), "")
	return strings.ReplaceAll(all, "\x00", "")
}

func slicesJoin(e *env) {
	rapid.Check(e.T, func(rt *rapid.T) {
		want := content(rt)
		path := e.path("f")
		if _, err := e.Client.Write(e.Context(), fsbridge.WriteRequest{Path: path}, []byte(want)); err != nil {
			rt.Fatal(err)
		}
		req := fsbridge.ReadRequest{
			Path: path, Text: rapid.Bool().Draw(rt, "text"), Bytes: rapid.Bool().Draw(rt, "bytes"),
			MaxBytes: rapid.IntRange(max(4, len(want)/30), max(4, len(want)/2)).Draw(rt, "max"),
		}
		if req.Bytes {
			req.ByteLimit = rapid.Int64Range(0, 5000).Draw(rt, "byte limit")
			req.ByteLimit = max(req.ByteLimit, int64(len(want)/50))
		} else {
			req.Limit = rapid.Int64Range(0, 20).Draw(rt, "limit")
		}
		var got strings.Builder
		for line := int64(1); ; {
			res, _, body, err := e.Client.Read(e.Context(), req)
			if err != nil || res.Binary {
				rt.Fatalf("%+v: %+v, %v", req, res, err)
			}
			if n := strings.Count(string(body), "\n"); req.Limit > 0 && int64(n) > req.Limit {
				rt.Fatalf("%d lines, asked for %d", n, req.Limit)
			}
			if res.FirstLine > 0 && res.FirstLine != line {
				rt.Fatalf("first line %d, want %d", res.FirstLine, line)
			}
			got.Write(body)
			if !res.Truncated {
				break
			}
			if len(body) == 0 {
				rt.Fatalf("no progress at byte %d", res.NextByte)
			}
			line = next(&req, &res)
		}
		if got.String() != want {
			rt.Fatalf("joined slices differ: %d bytes, want %d", got.Len(), len(want))
		}
	})
}

// next makes req ask for what follows res, by line where that can be, and
// returns the line.
func next(req *fsbridge.ReadRequest, res *fsbridge.ReadResult) int64 {
	if res.NextOffset > 0 {
		req.Offset, req.ByteOffset = res.NextOffset, 0
	} else {
		req.Offset, req.ByteOffset = 0, res.NextByte
	}
	return res.NextOffset
}

func tailsMatch(e *env) {
	rapid.Check(e.T, func(rt *rapid.T) {
		all := content(rt)
		path := e.path("f")
		if _, err := e.Client.Write(e.Context(), fsbridge.WriteRequest{Path: path}, []byte(all)); err != nil {
			rt.Fatal(err)
		}
		n := rapid.Int64Range(1, 60).Draw(rt, "tail")
		res, _, body, err := e.Client.Read(e.Context(), fsbridge.ReadRequest{Path: path, Tail: n, Text: true})
		if err != nil {
			rt.Fatal(err)
		}
		lines := strings.SplitAfter(all, "\n")
		if lines[len(lines)-1] == "" {
			lines = lines[:len(lines)-1]
		}
		want := strings.Join(lines[max(0, len(lines)-int(n)):], "")
		if string(body) != want || res.TotalLines != int64(len(lines)) || res.LastLine != int64(len(lines)) && want != "" {
			rt.Fatalf("tail of %d: got %d bytes, want %d: %+v", n, len(body), len(want), res)
		}
	})
}

// cutTailsJoin: what a tail leaves out is what is before it.
func cutTailsJoin(e *env) {
	rapid.Check(e.T, func(rt *rapid.T) {
		all := content(rt)
		path := e.path("f")
		if _, err := e.Client.Write(e.Context(), fsbridge.WriteRequest{Path: path}, []byte(all)); err != nil {
			rt.Fatal(err)
		}
		n := rapid.Int64Range(1, 60).Draw(rt, "tail")
		most := rapid.IntRange(max(4, len(all)/30), max(4, len(all))).Draw(rt, "max")
		lines := strings.SplitAfter(all, "\n")
		if lines[len(lines)-1] == "" {
			lines = lines[:len(lines)-1]
		}
		want := strings.Join(lines[max(0, len(lines)-int(n)):], "")
		res, _, body, err := e.Client.Read(e.Context(), fsbridge.ReadRequest{Path: path, Tail: n, MaxBytes: most, Text: true})
		if err != nil || res.Truncated || res.HeadCut != (len(body) < len(want)) || !strings.HasSuffix(want, string(body)) {
			rt.Fatalf("tail of %d, want %d bytes, got %d: %+v, %v", n, len(want), len(body), res, err)
		}
		if !res.HeadCut {
			return
		}
		if inLine := all[res.FirstByte-1] != '\n'; res.InLine != inLine || inLine && strings.Contains(string(body[:len(body)-1]), "\n") {
			rt.Fatalf("in a line: %v, want %v", res.InLine, inLine)
		}
		res2, _, before, err := e.Client.Read(e.Context(), fsbridge.ReadRequest{
			Path: path, Bytes: true, ByteOffset: res.PrevByte, ByteLimit: res.FirstByte - res.PrevByte, Text: true,
		})
		if got := string(before) + string(body); err != nil || res2.NextByte != res.FirstByte || !strings.HasSuffix(want, got) {
			rt.Fatalf("before it: %+v, %v", res2, err)
		}
		start := int64(len(all) - len(want))
		if res.PrevByte > start && res.FirstByte-start <= int64(most) {
			rt.Fatalf("all from byte %d would fit: %+v", start, res)
		}
	})
}

// slicesOfSparse: what is read of a file of 5 GB costs what is read.
func slicesOfSparse(e *env) {
	const size = 5_000_000_000
	e.sh(fmt.Sprintf("truncate -s %d f && printf 'the\\nend\\n' >> f", size))
	start := time.Now()
	for _, req := range []fsbridge.ReadRequest{
		{Bytes: true, ByteOffset: size - 3, ByteLimit: 7}, {Bytes: true, ByteOffset: size / 2}, {Tail: 2, MaxBytes: 8}, {MaxBytes: 100},
	} {
		req.Path = e.path("f")
		res, body := e.read(req)
		if res.Size != size+8 || len(body) == 0 || res.Revision != "" {
			e.Errorf("%+v: got %+v", req, res)
		}
		if req.Tail > 0 && body != "end\n" { // the line before is longer than what may be returned
			e.Errorf("tail: got %q", body)
		}
	}
	var b strings.Builder
	_, err := e.Client.ReadTo(e.Context(), e.path("f"), size-1, -1, &b)
	e.must(err)
	if b.String() != "\x00the\nend\n" {
		e.Errorf("got %q", b.String())
	}
	if d := time.Since(start); d > 2*time.Second {
		e.Errorf("slices of a sparse file took %v", d)
	}
}

func slicesOfLongLine(e *env) {
	const size = 10 << 20
	line := strings.Repeat("0123456789abcdé", size/16)
	path := e.put("f", line+"\nlast\n")
	if _, body := e.read(fsbridge.ReadRequest{Path: path, Offset: 2, Text: true}); body != "last\n" {
		e.Errorf("got %.20q", body)
	}
	if _, body := e.read(fsbridge.ReadRequest{Path: path, Tail: 1, Text: true}); body != "last\n" {
		e.Errorf("got %.20q", body)
	}
	var got strings.Builder
	for req := (fsbridge.ReadRequest{Path: path, Text: true}); ; {
		res, body := e.read(req)
		got.WriteString(body)
		if !res.Truncated {
			break
		}
		next(&req, &res)
	}
	if got.String() != line+"\nlast\n" {
		e.Error("joined slices differ")
	}
}
