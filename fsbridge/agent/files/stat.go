package files

import (
	"context"

	"golang.org/x/sys/unix"

	"moorage/fsbridge"
)

// Stat returns the facts of one node, the link itself if it is one. The head is
// a regular file's beginning, if asked for. A file that may not be read has
// neither head nor revision.
func (t *Tree) Stat(ctx context.Context, req *fsbridge.StatRequest) (res fsbridge.StatResult, head []byte, err error) {
	var st unix.Stat_t
	if err := retry(func() error { return unix.Lstat(string(req.Path), &st) }); err != nil {
		return res, nil, missing(fsbridge.OpStat, req.Path, err)
	}
	res = fsbridge.StatResult{
		Path:    req.Path,
		Type:    typeOf(st.Mode),
		Size:    st.Size,
		Mode:    permissions(st.Mode),
		UID:     st.Uid,
		GID:     st.Gid,
		ModTime: modTime(st.Mtim),
	}
	switch res.Type {
	case fsbridge.TypeSymlink:
		target, err := readlink(string(req.Path))
		if err != nil {
			return res, nil, missing(fsbridge.OpStat, req.Path, err)
		}
		res.Target = fsbridge.Path(target)
	case fsbridge.TypeFile:
		if head, err = t.statContent(ctx, req, &res); err != nil {
			return res, nil, fsbridge.NewError(fsbridge.OpStat, req.Path, err)
		}
	}
	return res, head, nil
}

// statContent fills in what must be read from the file.
func (t *Tree) statContent(ctx context.Context, req *fsbridge.StatRequest, res *fsbridge.StatResult) (head []byte, err error) {
	if !req.Head && res.Size > fsbridge.RevisionMax {
		return nil, nil
	}
	f, err := openAt(fsbridge.OpStat, req.Path, unix.AT_FDCWD, string(req.Path), unix.O_NOFOLLOW)
	if err != nil {
		return nil, nil
	}
	defer f.close()
	if req.Head {
		head, _, err = f.take(ctx, nil, 0, fsbridge.HeadBytes)
	}
	if err == nil && res.Size > 0 { // in /proc the content is another each time
		res.Revision, err = t.revisionOf(ctx, f)
	}
	if err == nil && res.Size == 0 && len(head) == 0 {
		res.Revision = digestOf(nil).revision
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil { // as some files of /sys do
		res.Revision = ""
	}
	return head, nil
}
