package image

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
)

// labelOwner is on each lease: Options.Owner.
const labelOwner = "moorage/instance"

// Sweep removes the leases of a server that was killed, and with them what it had
// read so far. Nothing else of this Store may be under way.
func (s *Store) Sweep(ctx context.Context) error {
	ctx = s.namespaced(ctx)
	ls := s.client.LeasesService()
	left, err := ls.List(ctx, fmt.Sprintf("labels.%q==%q", labelOwner, s.opts.Owner))
	if err != nil {
		return fmt.Errorf("list leases: %v", err)
	}
	var errs []error
	for i, l := range left {
		var opts []leases.DeleteOpt
		if i == len(left)-1 {
			opts = append(opts, leases.SynchronousDelete) // collects once for all
		}
		if err := ls.Delete(ctx, l, opts...); err != nil && !errdefs.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("remove lease %s: %v", l.ID, err))
		}
	}
	return errors.Join(errs...)
}

// hold keeps something from being collected while the context's lease lives.
func (s *Store) hold(ctx context.Context, kind, id string) error {
	lease, ok := leases.FromContext(ctx)
	if !ok {
		return errors.New("no lease is held")
	}
	err := s.client.LeasesService().AddResource(ctx, leases.Lease{ID: lease}, leases.Resource{ID: id, Type: kind})
	if err != nil {
		return fmt.Errorf("hold %s: %v", id, err)
	}
	return nil
}
