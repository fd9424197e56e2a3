// Package idmap gives each bot's containers host ids of their own.
//
// A Range is 65,536 consecutive ids of the host. Root in a container that has one
// is the range's first id, id 1000 there is the base plus 1000. On disk ids stay
// as the container sees them: what it can write is reached through an idmapped
// mount (mount_setattr(2), MOUNT_ATTR_IDMAP), which adds the base on the way in
// and takes it off on the way out. So files are the same under every range and
// under none, and a range may be given to another bot when its containers are
// gone.
//
// A Pool hands the ranges out: one for each owner, held by the keys of its
// containers, free again when the last of them is released. It is kept in memory;
// the caller has the containers' records to fill it from.
//
// What it does not do: it mounts no overlay (package rootmount does) and knows of
// no container.
package idmap
