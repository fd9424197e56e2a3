package text

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"moorage/fsbridge"
)

// large are contents of fsbridge.ChangeMax bytes that are hard in some way.
var large = map[string]func() []byte{
	"code": func() []byte {
		var b bytes.Buffer
		for i := 0; b.Len() < fsbridge.ChangeMax-100; i++ {
			fmt.Fprintf(&b, "\tif value%d := read(%d); value != nil {\n", i, i)
		}
		return b.Bytes()
	},
	"CRLF":     func() []byte { return bytes.Repeat([]byte("some line\r\n"), fsbridge.ChangeMax/11) },
	"newlines": func() []byte { return bytes.Repeat(lf, fsbridge.ChangeMax) },
	"one line": func() []byte { return bytes.Repeat([]byte("ab"), fsbridge.ChangeMax/2) },
}

func BenchmarkReplace(b *testing.B) {
	for name, content := range large {
		content := append(content(), "the last line"...)[13:]
		for what, e := range map[string]fsbridge.Edit{
			"found":     edit("the last line", "another"),
			"missing":   edit("\tif valu := raed(77777); value != nil {\n\t\treturn\n}", "x"),
			"alike":     edit("some lime\nsome lime\nxx", "x"),
			"all lines": every("\n", ";\n"),
			"pathology": edit(strings.Repeat("\n", 5000)+"x", "x"),
		} {
			b.Run(name+"/"+what, func(b *testing.B) {
				for b.Loop() {
					if c, err := Replace(context.Background(), content, []fsbridge.Edit{e}); err == nil {
						c.Diff("f", fsbridge.DiffMax)
					}
				}
			})
		}
	}
}

func BenchmarkPatch(b *testing.B) {
	for name, content := range large {
		content := append(content(), "the last line"...)[13:]
		for what, h := range map[string]fsbridge.Hunk{
			"at the end": at(1, "-the last line\n", "+x\n"),
			"missing":    at(1000, " ab\n", "-cd\n", "+x\n", " \n"),
			"pathology":  at(1, append(strings.SplitAfter(strings.Repeat(" \n", 3000), "\n")[:3000], "-x\n")...),
		} {
			b.Run(name+"/"+what, func(b *testing.B) {
				for b.Loop() {
					Patch(context.Background(), content, []fsbridge.Hunk{h})
				}
			})
		}
	}
}
