// Package imagetar writes a snapshot as an OCI image tar, and describes it in the
// image so that it can be made a snapshot again.
//
// # Form
//
// The tar is an OCI image layout (oci-layout, index.json, blobs/sha256/...) and at
// the same time what `docker save` writes (manifest.json, which names the same
// blobs), so that every `docker load` takes it. The layers are, from below: those
// of the image that the snapshot stands on; one with all that its container's root
// filesystem has above that; the data, below the path of its mount. A [Record] is
// in the label [Label] of the image's configuration, which survives registries and
// other tools, as annotations do not.
//
// # Two passes
//
// A tar says the size of each file, and a manifest the digest of each layer,
// before the layers come. So each is written twice: first to find these out
// ([Measure]), then into the tar ([Write]), which checks that both are the same.
// What a snapshot has does not change, so no copy of it is needed on disk, and
// there is nothing to be removed after a crash. The same input gives the same
// bytes.
//
// Layers are not compressed: hashing is then all there is to do beside reading. A
// pipe through a compressor does the rest.
package imagetar
