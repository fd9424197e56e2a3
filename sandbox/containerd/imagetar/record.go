package imagetar

import (
	"encoding/json"
	"fmt"
	"path"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"moorage/sandbox"
)

// Label of an image's configuration holds its Record, as JSON.
const Label = "io.moorage.snapshot"

// version of the record's form: what is newer is refused.
const version = 1

// Record is what a snapshot is beside its files.
type Record struct {
	Version   int                 `json:"version"`
	Container sandbox.ContainerID `json:"container"`
	Spec      sandbox.Spec        `json:"spec"` // of that container
	ImageEnv  []string            `json:"image_env,omitempty"`
	Origin    sandbox.Origin      `json:"origin"`
	Note      string              `json:"note,omitempty"`
	Created   time.Time           `json:"created"`

	ImageLayers int    `json:"image_layers"` // the lowest; two more follow: root filesystem, data
	DataMount   string `json:"data_mount"`   // absolute, in the container
}

// put writes the record into a configuration.
func (r Record) put(config *ocispec.Image) error {
	r.Version = version
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode record: %w", err)
	}
	config.Config.Labels = map[string]string{Label: string(b)}
	return nil
}

// Find reads the record of an image; nil if it has none, so is not of a snapshot.
// The error wraps sandbox.ErrImage. Of what is in it, only the layers and the
// mount are checked.
func Find(config ocispec.Image) (*Record, error) {
	text, ok := config.Config.Labels[Label]
	if !ok {
		return nil, nil
	}
	var r Record
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return nil, fmt.Errorf("read label %s: %w: %v", Label, sandbox.ErrImage, err)
	}
	switch n := len(config.RootFS.DiffIDs); {
	case r.Version < 1 || r.Version > version:
		return nil, fmt.Errorf("read label %s: %w: its version is %d, only %d is known here", Label, sandbox.ErrImage, r.Version, version)
	case r.ImageLayers < 0 || r.ImageLayers != n-2:
		return nil, fmt.Errorf("read label %s: %w: it tells of %d layers and two more, the image has %d", Label, sandbox.ErrImage, r.ImageLayers, n)
	case !path.IsAbs(r.DataMount) || path.Clean(r.DataMount) != r.DataMount || r.DataMount == "/":
		return nil, fmt.Errorf("read label %s: %w: the data cannot be at %.80q", Label, sandbox.ErrImage, r.DataMount)
	}
	return &r, nil
}
