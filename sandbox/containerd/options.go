package containerd

import (
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

const (
	maxSocketPath = 107 // bytes: sun_path without its NUL, unix(7)
	keyLen        = len("m-") + 24
	// RunMax is the most bytes that Options.Run may have, so that the path of an
	// agent's socket fits a unix address. An embedded containerd wants less.
	RunMax = maxSocketPath - len("/c/") - keyLen - len("/"+socketName)

	socketName = "agent.sock"
)

// Options configure a Runtime. Root, Run and AgentPath are required.
type Options struct {
	Namespace   string   // containerd namespace; "moorage" if empty
	Root        string   // durable directory, absolute
	Run         string   // directory for sockets, absolute, at most RunMax bytes
	DataRoot    string   // where the bots' data is; <Root>/data if empty
	DataMounts  []string // where a bot's data is in its containers; /data and /app if nil
	Snapshotter string   // for a Spec that names none, and for images; "overlayfs" if empty
	OCIRuntime  string   // path, or name on PATH; "runc" if empty
	RuntimeName string   // the shim's path, or a name containerd knows; "io.containerd.runc.v2" if empty
	AgentPath   string   // the static agent binary; it is copied
	MaxDisk     int64    // bytes that a bot may have on disk, where there are project quotas; 0 = all there is
	Userns      string   // UsernsAuto, UsernsOff or UsernsRequire; UsernsAuto if empty
	UsernsRange string   // host ids for containers, FIRST:COUNT; idmap.DefaultSpan if empty

	// InsecureRegistries are hosts, with port if not the default one, that are
	// spoken to by plain HTTP. Loopback hosts always are.
	InsecureRegistries []string
	Log                *slog.Logger // discards if nil

	// Step, if not nil, is called before each step of a change that a sudden end
	// of the process could cut short: for tests that end it there.
	Step func(what string)
}

// complete fills in what is empty and checks the rest.
func (o Options) complete() (Options, error) {
	o.Namespace = orDefault(o.Namespace, "moorage")
	o.Snapshotter = orDefault(o.Snapshotter, "overlayfs")
	o.OCIRuntime = orDefault(o.OCIRuntime, "runc")
	o.RuntimeName = orDefault(o.RuntimeName, plainRuntime)
	o.DataRoot = orDefault(o.DataRoot, filepath.Join(o.Root, "data"))
	o.Userns = orDefault(o.Userns, UsernsAuto)
	if o.DataMounts == nil {
		o.DataMounts = []string{"/data", "/app"}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := errors.Join(o.checkDirs(), checkDataMounts(o.DataMounts), checkUserns(o.Userns)); err != nil {
		return o, err
	}
	found, err := exec.LookPath(o.OCIRuntime)
	if err != nil {
		return o, fmt.Errorf("find OCI runtime: %w; install runc, or name one with --oci-runtime", err)
	}
	o.OCIRuntime, err = filepath.Abs(found)
	return o, err
}

func (o Options) checkDirs() error {
	for _, d := range []struct{ flag, dir string }{{"root", o.Root}, {"run", o.Run}, {"data-root", o.DataRoot}} {
		if !filepath.IsAbs(d.dir) {
			return fmt.Errorf("--%s %q is not an absolute path", d.flag, d.dir)
		}
	}
	if len(o.Run) > RunMax {
		return fmt.Errorf("--run %s has %d bytes: at most %d, so that an agent's socket fits a unix address", o.Run, len(o.Run), RunMax)
	}
	return nil
}

// checkDataMounts refuses places that hide or are hidden by our own mounts.
func checkDataMounts(mounts []string) error {
	if len(mounts) == 0 {
		return errors.New("no data mount is named: at least one is needed")
	}
	seen := map[string]bool{}
	for _, m := range mounts {
		if !path.IsAbs(m) || path.Clean(m) != m || m == "/" || seen[m] {
			return fmt.Errorf("data mount %q: must be an absolute, clean path below /, named once", m)
		}
		seen[m] = true
		for _, own := range []string{"/.moorage", "/proc", "/sys", "/dev"} {
			if m == own || strings.HasPrefix(m, own+"/") {
				return fmt.Errorf("data mount %q: %s is taken", m, own)
			}
		}
	}
	return nil
}

func checkUserns(mode string) error {
	switch mode {
	case UsernsAuto, UsernsOff, UsernsRequire:
		return nil
	}
	return fmt.Errorf("--userns %q: it is %s, %s or %s", mode, UsernsAuto, UsernsOff, UsernsRequire)
}

func orDefault(s, def string) string {
	if s == "" {
		return def
	}
	return s
}
