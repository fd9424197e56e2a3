package imagetar

import (
	"archive/tar"
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// MaxLayers is how many Docker takes in one image.
const MaxLayers = 127

// repository and a tag is the name that the image has where it is loaded.
const repository = "moorage/snapshot"

// Image is what is written.
type Image struct {
	// Tag of its name: moorage/snapshot:<Tag>. Snapshots' names are tags.
	Tag string
	// Config without layers and labels. Its history is kept if it has an entry for
	// each of the lowest layers.
	Config ocispec.Image
	Record Record
	Layers []Layer // the lowest first
}

// Write writes the tar.
func Write(ctx context.Context, w io.Writer, i Image) error {
	buf := bufio.NewWriterSize(w, 256<<10)
	t := &writer{tw: tar.NewWriter(buf), have: map[digest.Digest]bool{}}
	if err := t.image(ctx, i); err != nil {
		return fmt.Errorf("write image tar: %w", err)
	}
	if err := t.tw.Close(); err != nil {
		return fmt.Errorf("write image tar: %w", err)
	}
	if err := buf.Flush(); err != nil {
		return fmt.Errorf("write image tar: %w", err)
	}
	return nil
}

// writer is one tar under way.
type writer struct {
	tw   *tar.Writer
	have map[digest.Digest]bool // blobs: the same one comes once
}

func (t *writer) image(ctx context.Context, i Image) error {
	if err := i.complete(); err != nil {
		return err
	}
	config := document(ocispec.MediaTypeImageConfig, i.Config)
	manifest := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: config.Blob, Layers: []ocispec.Descriptor{},
	}
	files := []string{}
	for _, l := range i.Layers {
		manifest.Layers = append(manifest.Layers, l.Blob)
		files = append(files, blobPath(l.Blob.Digest))
	}
	top := document(ocispec.MediaTypeImageManifest, manifest)
	name := repository + ":" + i.Tag
	named := top.Blob
	named.Platform = &i.Config.Platform
	named.Annotations = map[string]string{
		images.AnnotationImageName: "docker.io/" + name,
		ocispec.AnnotationRefName:  i.Tag,
	}
	index := ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{named},
	}
	saved := []dockerImage{{Config: blobPath(config.Blob.Digest), RepoTags: []string{name}, Layers: files}}
	for _, f := range []struct {
		name    string
		content any
	}{{ocispec.ImageLayoutFile, ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion}}, {ocispec.ImageIndexFile, index}, {"manifest.json", saved}} {
		d := document("", f.content)
		if err := t.file(ctx, f.name, d); err != nil {
			return err
		}
	}
	for _, l := range append([]Layer{top, config}, i.Layers...) {
		if err := t.blob(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

// dockerImage is an entry of manifest.json as `docker save` writes it.
type dockerImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// complete adds layers, history and record to the configuration.
func (i *Image) complete() error {
	i.Config.RootFS = ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{}}
	filled := 0
	for _, h := range i.Config.History {
		if !h.EmptyLayer {
			filled++
		}
	}
	if filled != i.Record.ImageLayers {
		i.Config.History, filled = nil, 0
	}
	for n, l := range i.Layers {
		i.Config.RootFS.DiffIDs = append(i.Config.RootFS.DiffIDs, l.DiffID)
		if n >= filled {
			i.Config.History = append(i.Config.History, ocispec.History{Created: i.Config.Created, CreatedBy: l.By})
		}
	}
	return i.Record.put(&i.Config)
}

// document is something as JSON.
func document(mediaType string, v any) Layer {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // types that cannot fail to be encoded
	}
	return Layer{
		Blob:  ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))},
		Write: func(_ context.Context, w io.Writer) error { _, err := w.Write(b); return err },
	}
}

func blobPath(d digest.Digest) string { return "blobs/" + d.Algorithm().String() + "/" + d.Encoded() }

func (t *writer) blob(ctx context.Context, l Layer) error {
	if t.have[l.Blob.Digest] {
		return nil
	}
	t.have[l.Blob.Digest] = true
	return t.file(ctx, blobPath(l.Blob.Digest), l)
}

func (t *writer) file(ctx context.Context, name string, l Layer) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: l.Blob.Size, ModTime: time.Unix(0, 0)}
	if err := t.tw.WriteHeader(h); err != nil {
		return err
	}
	return l.copy(ctx, t.tw)
}
