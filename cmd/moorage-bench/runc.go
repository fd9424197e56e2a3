package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// runc is bare runc with state of its own and a bundle made of busybox.
type runc struct {
	binary, root string // root is its --root
	bundle       string // runs `true`
	sleeper      string // a running container to exec in
	runs         int
}

// newRunc makes the bundles below dir and starts the sleeper.
func newRunc(ctx context.Context, dir string) (*runc, error) {
	binary, err := exec.LookPath("runc")
	if err != nil {
		return nil, fmt.Errorf("find runc: %w", err)
	}
	r := &runc{binary: binary, root: filepath.Join(dir, "state"), bundle: filepath.Join(dir, "true")}
	sleep := filepath.Join(dir, "sleep")
	if err := r.makeBundle(ctx, r.bundle, "/bin/true"); err != nil {
		return nil, err
	}
	if err := r.makeBundle(ctx, sleep, "/bin/sleep", "600"); err != nil {
		return nil, err
	}
	r.sleeper = r.name("sleeper")
	if err := r.do(ctx, "run", "--detach", "--bundle", sleep, r.sleeper); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

// name is unique on this machine: runc names a cgroup after it.
func (r *runc) name(what string) string { return fmt.Sprintf("moorage-bench-%d-%s", os.Getpid(), what) }

// makeBundle writes a bundle whose process is argv, one of busybox's applets.
func (r *runc) makeBundle(ctx context.Context, dir string, argv ...string) error {
	if err := makeRootfs(filepath.Join(dir, "rootfs")); err != nil {
		return fmt.Errorf("make bundle for runc: %w", err)
	}
	if err := r.do(ctx, "spec", "--bundle", dir); err != nil {
		return err
	}
	file := filepath.Join(dir, "config.json")
	b, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("make bundle for runc: %w", err)
	}
	var spec map[string]any
	if err := json.Unmarshal(b, &spec); err != nil {
		return fmt.Errorf("make bundle for runc: read %s: %w", file, err)
	}
	process, _ := spec["process"].(map[string]any)
	if process == nil {
		return fmt.Errorf("make bundle for runc: %s has no process", file)
	}
	process["terminal"], process["args"] = false, argv
	if b, err = json.Marshal(spec); err != nil {
		return fmt.Errorf("make bundle for runc: %w", err)
	}
	return os.WriteFile(file, b, 0o644)
}

func makeRootfs(dir string) error {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return err
	}
	program, err := os.ReadFile(busybox)
	if err != nil {
		return err
	}
	bin := filepath.Join(dir, "bin")
	for _, d := range []string{bin, filepath.Join(dir, "proc"), filepath.Join(dir, "sys"), filepath.Join(dir, "dev")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	return errors.Join(
		os.WriteFile(filepath.Join(bin, "busybox"), program, 0o755),
		os.Symlink("busybox", filepath.Join(bin, "true")),
		os.Symlink("busybox", filepath.Join(bin, "sleep")))
}

// do runs runc without standard streams, which a detached container would keep;
// what it has to say goes to a log.
func (r *runc) do(ctx context.Context, args ...string) error {
	log := r.root + ".log"
	if err := os.MkdirAll(filepath.Dir(log), 0o711); err != nil {
		return fmt.Errorf("run runc: %w", err)
	}
	cmd := exec.CommandContext(ctx, r.binary, append([]string{"--root", r.root, "--log", log}, args...)...)
	if err := cmd.Run(); err != nil {
		b, _ := os.ReadFile(log) // if it is not there the error has to do
		return fmt.Errorf("runc %s: %w: %.300s", args[0], err, bytes.TrimSpace(b))
	}
	return nil
}

// exec times `runc exec` of true.
func (r *runc) exec(ctx context.Context) (time.Duration, error) {
	begun := time.Now()
	err := r.do(ctx, "exec", r.sleeper, "/bin/true")
	return time.Since(begun), err
}

// runTrue times `runc run` of true, its container's end included.
func (r *runc) runTrue(ctx context.Context) (time.Duration, error) {
	r.runs++
	begun := time.Now()
	err := r.do(ctx, "run", "--bundle", r.bundle, r.name(fmt.Sprint(r.runs)))
	return time.Since(begun), err
}

// close deletes the sleeper. A `runc run` deletes its container itself; one that
// was killed with the context may have left it.
func (r *runc) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	left, err := os.ReadDir(r.root)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("clean up after runc: %w", err)
	}
	var errs []error
	for _, c := range left {
		errs = append(errs, r.do(ctx, "delete", "--force", c.Name()))
	}
	return errors.Join(errs...)
}
