package ocispec

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"moorage/sandbox"
	"moorage/sandbox/containerd/idmap"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var paths = Paths{
	Cgroup: "/moorage/01234567/m-0", Agent: "/state/agent/0123/moorage-agent",
	Run: "/run/moorage/c/m-0", Spool: "/state/spool/m-0", Data: "/state/data/bots/ann",
	DataMounts: []string{"/data", "/app"},
}

// The host's seccomp profile is long, and differs: a short one stands for it.
var host = Host{
	NoFile: 65536, Swap: true, Masked: []string{"/sys/devices/system/cpu/cpu0/thermal_throttle"},
	Seccomp: &specs.LinuxSeccomp{DefaultAction: specs.ActErrno},
}

func TestGolden(t *testing.T) {
	ref := sandbox.Ref{Bot: "ann", ID: "box"}
	for name, spec := range map[string]*specs.Spec{
		"full": Build([]string{"PATH=/bin", "LANG=C", "FROM=image"}, sandbox.Spec{
			Ref: ref, Env: map[string]string{"Z": "last", "A": "first", "LANG": "de"},
			Limits: sandbox.Limits{MemoryMB: 512, CPUs: 1.5, PIDs: 100},
		}, paths, idmap.Range{Base: 1879048192}, host),
		"bare": Build(nil, sandbox.Spec{Ref: ref}, paths, idmap.Range{}, Host{NoFile: 1024}),
	} {
		got, err := json.MarshalIndent(spec, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", name+".json")
		if *update {
			if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
			t.Errorf("%s: -golden +now\n%s", name, diff)
		}
	}
}

func TestLimits(t *testing.T) {
	r := resources(sandbox.Limits{MemoryMB: 64, CPUs: 0.001}, Host{Swap: true})
	if *r.Memory.Limit != 64<<20 || *r.Memory.Swap != 64<<20 {
		t.Errorf("memory %d, with swap %d", *r.Memory.Limit, *r.Memory.Swap)
	}
	if *r.CPU.Quota != 1000 || r.Pids != nil {
		t.Errorf("quota %d, pids %v: expected the kernel's least, and no limit", *r.CPU.Quota, r.Pids)
	}
	if r = resources(sandbox.Limits{MemoryMB: 64}, Host{}); r.Memory.Swap != nil {
		t.Error("swap is limited where the kernel does not count it")
	}
}

func TestMergeEnv(t *testing.T) {
	for _, c := range []struct {
		image []string
		asked map[string]string
		want  []string
	}{
		{nil, nil, []string{defaultPath}},
		{[]string{"A=1", "PATH=/x"}, map[string]string{"A": "2"}, []string{"PATH=/x", "A=2"}},
		{[]string{"A=1"}, map[string]string{"PATH": "/y"}, []string{"A=1", "PATH=/y"}},
		{[]string{"=broken", "B"}, nil, []string{"B", defaultPath}},
	} {
		if diff := cmp.Diff(c.want, Environment(c.image, c.asked)); diff != "" {
			t.Errorf("%v with %v: %s", c.image, c.asked, diff)
		}
	}
}

func TestHostFacts(t *testing.T) {
	h, err := HostFacts()
	if err != nil || h.NoFile == 0 || h.Seccomp == nil || len(h.Seccomp.Syscalls) == 0 {
		t.Errorf("%+v, %v", h, err)
	}
}
