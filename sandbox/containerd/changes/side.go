package changes

import (
	"golang.org/x/sys/unix"

	"moorage/sandbox/containerd/layers"
)

// Side is what is compared: a root filesystem and data. Close frees it.
type Side struct {
	root *layers.Stack
	data *layers.Stack

	// RootSame and DataSame say of a regular file of the same size on both sides
	// that its content is known to be the same; nil: it is read. Of the side that
	// is compared to.
	RootSame, DataSame func(path string, from, to *unix.Stat_t) bool
}

// Open opens a side: the directories of a root filesystem's layers, the top first,
// and that of its data.
func Open(root []string, data string) (s *Side, err error) {
	s = &Side{}
	if s.root, err = layers.OpenStack(root...); err == nil {
		s.data, err = layers.OpenPlain(data)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Close closes the directories.
func (s *Side) Close() {
	for _, st := range []*layers.Stack{s.root, s.data} {
		if st != nil {
			st.Close()
		}
	}
}
