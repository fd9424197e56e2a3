package containerd

import (
	"fmt"
	"time"

	"github.com/containerd/containerd/v2/client"
)

// dialTimeout is how long a system's containerd may take to answer.
const dialTimeout = 5 * time.Second

// Dial connects to a system's containerd at a unix socket's path. The caller
// closes the client.
func Dial(address string) (*client.Client, error) {
	c, err := client.New(address, client.WithTimeout(dialTimeout))
	if err != nil {
		return nil, fmt.Errorf("connect to containerd at %s: %w; is it running, and is --containerd its socket?", address, err)
	}
	return c, nil
}
