// Package ocispec builds the OCI runtime specification of a container: a pure
// function of what was asked for, where things are, and facts about the host.
//
// It reads no file and calls no service, but for [HostFacts]. Golden files in
// testdata hold what it yields (go test -update rewrites them).
package ocispec
