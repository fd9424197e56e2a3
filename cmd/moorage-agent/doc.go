// Command moorage-agent is PID 1 of every container of Moorage: it dials the
// server and carries out what it asks for. See package fsbridge/agent.
//
// It is static and needs nothing of the image, so it is built without cgo.
package main
