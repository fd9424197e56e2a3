// Moorage-shim is the shim of the embedded containerd and nothing else: smaller
// and quicker to start than the whole of moorage, which can be it too.
package main

import "moorage/sandbox/containerd/embed/shim"

func main() { shim.Run() }
