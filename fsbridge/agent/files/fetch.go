package files

import (
	"context"

	"moorage/fsbridge"
)

// Fetch sends a part of a regular file, chunk by chunk. A chunk is valid until
// send returns.
func (t *Tree) Fetch(ctx context.Context, req *fsbridge.FetchRequest, send func([]byte) error) (res fsbridge.FetchResult, err error) {
	if req.Offset < 0 {
		return res, fsbridge.Errorf(fsbridge.OpFetch, req.Path, fsbridge.CodeInvalid, "offset is %d, the least is 0", req.Offset)
	}
	f, err := openRegular(fsbridge.OpFetch, req.Path)
	if err != nil {
		return res, err
	}
	defer f.close()
	chunk := make([]byte, 0, fsbridge.ChunkSize)
	for eof := false; !eof && (req.Length < 0 || res.Bytes < req.Length); {
		n := int64(fsbridge.ChunkSize)
		if req.Length >= 0 {
			n = min(n, req.Length-res.Bytes)
		}
		if chunk, eof, err = f.take(ctx, chunk[:0], req.Offset+res.Bytes, n); err != nil {
			return res, f.readError(fsbridge.OpFetch, req.Path, err)
		}
		if len(chunk) == 0 {
			break
		}
		if err := send(chunk); err != nil {
			return res, err
		}
		res.Bytes += int64(len(chunk))
	}
	return res, nil
}
