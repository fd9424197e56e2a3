package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/pelletier/go-toml/v2"

	"moorage/cmd/moorage/daemon"
	"moorage/cmd/moorage/store"
	"moorage/sandbox"
)

// dirFlags are on every command. Each command gets them as daemon.Dirs.
type dirFlags struct {
	Root   string `help:"Durable state: images, snapshots, the bots' data." default:"/var/lib/moorage" env:"MOORAGE_ROOT" type:"path"`
	RunDir string `help:"Sockets and the like." default:"/run/moorage" env:"MOORAGE_RUN" type:"path" name:"run"`
}

func (f dirFlags) dirs() daemon.Dirs { return daemon.Dirs{Root: f.Root, Run: f.RunDir} }

// serverFlags configure a server. On `moorage stdio` they count only if it
// starts one.
type serverFlags struct {
	Containerd       string       `help:"Use the containerd at this socket instead of the embedded one." env:"MOORAGE_CONTAINERD" placeholder:"ADDRESS"`
	Namespace        string       `help:"containerd namespace." default:"moorage" env:"MOORAGE_NAMESPACE"`
	Snapshotter      string       `help:"containerd snapshotter." default:"overlayfs" env:"MOORAGE_SNAPSHOTTER"`
	OCIRuntime       string       `help:"OCI runtime, a name on PATH or a path." default:"runc" env:"MOORAGE_OCI_RUNTIME" name:"oci-runtime"`
	Userns           string       `help:"User namespaces, in which root is no root of the host: auto (where the kernel can), off or require." default:"auto" enum:"auto,off,require" env:"MOORAGE_USERNS"`
	UsernsRange      string       `help:"Host ids for containers, as in /etc/subuid; each bot gets 65,536 (default 1879048192:268304384)." env:"MOORAGE_USERNS_RANGE" placeholder:"FIRST:COUNT"`
	DefaultImage     string       `help:"Image of containers whose request names none." default:"moorage.local/base:latest" env:"MOORAGE_DEFAULT_IMAGE"`
	InsecureRegistry []string     `help:"Registry HOST[:PORT] to reach by plain HTTP. Loopback always is." env:"MOORAGE_INSECURE_REGISTRY" placeholder:"HOST"`
	DataRoot         string       `help:"Directory of the bots' data (default ROOT/data)." env:"MOORAGE_DATA_ROOT" type:"path" placeholder:"DIR"`
	Store            store.Spec   `help:"Where layers and data are kept: plain, or loop[:SIZE], an XFS file ROOT/store.xfs with reflinks and quotas (default: what ROOT holds, else plain)." env:"MOORAGE_STORE" placeholder:"KIND"`
	MaxDisk          sandbox.Size `help:"Most that a bot may write to disk, as 10GiB, where there are project quotas; 0 is all there is." default:"0" env:"MOORAGE_MAX_DISK" placeholder:"SIZE"`
	DataMount        []string     `help:"Where a bot's data is in its containers." default:"/data,/app" env:"MOORAGE_DATA_MOUNT"`
	AutoCreate       bool         `help:"Make a container for a bot that has none on its first call." default:"true" negatable:"" env:"MOORAGE_AUTO_CREATE"`
	MaxContainers    int          `help:"Most containers of one bot." default:"32" env:"MOORAGE_MAX_CONTAINERS"`
	MaxSnapshots     int          `help:"Most snapshots of one bot; -1 is no bound." default:"1000" env:"MOORAGE_MAX_SNAPSHOTS"`
	MaxSnapshotBytes sandbox.Size `help:"Most bytes of one bot's snapshots, such as 500MiB or 1TiB; -1 is no bound." default:"64GiB" env:"MOORAGE_MAX_SNAPSHOT_BYTES" placeholder:"SIZE"`
	MemoryMB         int64        `help:"Memory of a container whose request names none, in MiB." default:"2048" env:"MOORAGE_MEMORY_MB" name:"memory-mb"`
	CPUs             float64      `help:"CPUs of a container whose request names none." default:"2" env:"MOORAGE_CPUS" name:"cpus"`
	PIDs             int64        `help:"Processes of a container whose request names none." default:"1024" env:"MOORAGE_PIDS" name:"pids"`
	LogLevel         string       `help:"debug, info, warn or error." default:"info" enum:"debug,info,warn,error" env:"MOORAGE_LOG_LEVEL"`
}

// args are the flags as arguments of `moorage serve`.
func (f serverFlags) args() []string {
	a := []string{
		"--namespace=" + f.Namespace, "--snapshotter=" + f.Snapshotter, "--oci-runtime=" + f.OCIRuntime,
		"--default-image=" + f.DefaultImage, "--data-mount=" + strings.Join(f.DataMount, ","),
		fmt.Sprintf("--max-containers=%d", f.MaxContainers), fmt.Sprintf("--max-snapshots=%d", f.MaxSnapshots),
		fmt.Sprintf("--max-snapshot-bytes=%d", f.MaxSnapshotBytes), fmt.Sprintf("--memory-mb=%d", f.MemoryMB),
		fmt.Sprintf("--cpus=%g", f.CPUs), fmt.Sprintf("--pids=%d", f.PIDs), "--log-level=" + f.LogLevel,
		fmt.Sprintf("--max-disk=%d", f.MaxDisk),
		"--userns=" + f.Userns,
	}
	for _, r := range f.InsecureRegistry {
		a = append(a, "--insecure-registry="+r)
	}
	if f.UsernsRange != "" {
		a = append(a, "--userns-range="+f.UsernsRange)
	}
	if f.Containerd != "" {
		a = append(a, "--containerd="+f.Containerd)
	}
	if f.DataRoot != "" {
		a = append(a, "--data-root="+f.DataRoot)
	}
	if f.Store.Kind != "" {
		a = append(a, "--store="+f.Store.String())
	}
	if !f.AutoCreate {
		a = append(a, "--no-auto-create")
	}
	return a
}

// tomlResolver reads flags from a TOML file: "flag-name = value". A key that is
// no flag of the command at hand is left for the others.
func tomlResolver(r io.Reader) (kong.Resolver, error) {
	values := map[string]any{}
	if err := toml.NewDecoder(r).Decode(&values); err != nil {
		return nil, fmt.Errorf("read --config: %w", err)
	}
	return kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		v, ok := values[flag.Name]
		if list, isList := v.([]any); isList {
			parts := make([]string, len(list))
			for i, e := range list {
				parts[i] = fmt.Sprint(e)
			}
			return strings.Join(parts, ","), nil
		}
		if !ok {
			return nil, nil
		}
		return fmt.Sprint(v), nil
	}), nil
}
