// Package image keeps the images of a containerd: it finds, pulls, imports and
// unpacks them, and makes the built-in one.
//
// # Model
//
// An image is here when containerd has a record of its name and the
// configuration for this machine's platform. Names are normalised
// ("busybox" is "docker.io/library/busybox:latest"), so each has one record.
//
// A pull is a flight: at most one for each name, at most [maxFlights] at once,
// shared by all who wait for it. It does not end when a waiter leaves. It works
// under a lease, which is given up at its end: what no image names by then is
// collected, so a pull or an import that fails leaves nothing. The leases of a
// server that was killed go with Sweep.
//
// An image that comes by a tar can also be used without getting a name: ReadTar
// gives its layers one by one for something else to be made of.
//
// # Lifecycle
//
// A Store starts a goroutine for each flight; Close gives them up and waits.
//
// # Locks
//
// Store.mu guards the map of flights and is never held across a call.
package image
