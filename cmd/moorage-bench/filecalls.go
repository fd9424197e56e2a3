package main

import (
	"fmt"

	"moorage/cmd/moorage-bench/client"
)

// fileContests compares the file calls with depth of them in flight.
func (b *bench) fileContests(depth int) []contest {
	title, aims := "", fileAims
	if depth > 1 {
		title, aims = fmt.Sprintf(", %d in flight", depth), fileRateAims
	}
	of := func(name string, aims []aim, calls func(*fileServer) []cycle) contest {
		return contest{
			name: name + title, rounds: b.rounds(20), slice: slice, byRate: depth > 1, aims: aims,
			peers: b.fileSides(calls, depth),
		}
	}
	alike := func(call func(*fileServer) client.Request) func(*fileServer) []cycle {
		return func(f *fileServer) []cycle { return same(call(f), depth) }
	}
	list := []contest{
		of("fs_read 4 KiB", aims.read, alike(func(f *fileServer) client.Request { return f.callRead })),
		of("fs_write 4 KiB", aims.write, alike(func(f *fileServer) client.Request { return f.callWrite })),
		of("fs_list 100", aims.list, alike(func(f *fileServer) client.Request { return f.callList })),
	}
	if b.lacks[editTool] {
		return list
	}
	return append(list, of("fs_edit 4 KiB", aims.edit, func(f *fileServer) []cycle { return f.editsOf(depth) }))
}

// fileSides are Moorage, the reference server and the floor.
func (b *bench) fileSides(calls func(*fileServer) []cycle, depth int) []peer {
	peers := []peer{calling(moorageName, b.ours.client, calls(b.ours))}
	if b.reference != nil {
		peers = append(peers, calling(referenceName, b.reference.client, calls(b.reference)))
	}
	return append(peers, calling(floorName, b.floor, same(nothing(), depth)))
}

// editFiles is how many files to edit there are: one for the edits one after the
// other, and one for each of those in flight, which would else be in each other's
// way.
func (o options) editFiles() int { return 1 + o.Inflight }

// editsOf are the edits for a contest with depth in flight.
func (f *fileServer) editsOf(depth int) []cycle {
	if depth == 1 {
		return f.edits[:1]
	}
	return f.edits[1 : 1+depth]
}

type aimsOfFiles struct{ read, write, list, edit []aim }

var (
	fileAims = aimsOfFiles{
		read:  []aim{{against: floorName, limit: 2}, {against: referenceName, limit: 1. / 3}},
		write: []aim{{against: referenceName, limit: 1}},
		list:  []aim{{against: referenceName, limit: 1. / 3}},
		edit:  []aim{{against: referenceName, limit: 1}},
	}
	// With several in flight the ratio is of calls per second.
	fileRateAims = aimsOfFiles{
		read:  []aim{{against: referenceName, limit: 3}},
		write: []aim{{against: referenceName, limit: 3}},
		list:  []aim{{against: referenceName, limit: 3}},
		edit:  []aim{{against: referenceName, limit: 3}},
	}
)
