package copier

import "golang.org/x/sys/unix"

// Attributes gives the directory dst the owner, mode, extended attributes and
// times of the directory src. What is in them stays as it is.
func Attributes(dst, src string) error {
	in, err := plant(src)
	if err != nil {
		return err
	}
	defer in.uproot()
	out, err := plant(dst)
	if err != nil {
		return err
	}
	defer out.uproot()
	var st unix.Stat_t
	if err := unix.Fstat(in.fd, &st); err != nil {
		return pathError("stat", src, err)
	}
	p := &pass{final: true}
	if _, err := p.attributes(&worker{}, handle{fd: in.fd}, handle{fd: out.fd}, &st, true); err != nil {
		return pathError("copy attributes to", dst, err)
	}
	return nil
}
