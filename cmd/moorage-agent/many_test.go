package main

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"moorage/fsbridge"
)

// TestManyContainers: each of several containers starts 50 commands a second. Set
// MOORAGE_TEST_CONTAINERS for another number of them than 5.
func TestManyContainers(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("MOORAGE_TEST_CONTAINERS"))
	if err != nil {
		n = 5
	}
	var clients []*fsbridge.Client
	for range n {
		c := newContainer(t, program, limits{pids: 256, memory: 128 << 20})
		c.busybox()
		c.start()
		clients = append(clients, c.connect())
	}
	const rate, seconds = 50, 2
	begin := time.Now()
	var all sync.WaitGroup
	for i, client := range clients {
		all.Go(func() {
			tick := time.NewTicker(time.Second / rate)
			defer tick.Stop()
			for j := range rate * seconds {
				<-tick.C
				all.Go(func() {
					want := fmt.Sprintf("%d %d", i, j)
					req := fsbridge.ExecRequest{Argv: []string{"echo", want}, Wait: fsbridge.WaitMax}
					res, out, err := client.Exec(t.Context(), req, nil)
					if err != nil || string(out.StdoutHead) != want+"\n" || *res.ExitCode != 0 {
						t.Errorf("container %d: got %q, %+v, %v", i, out.StdoutHead, res, err)
					}
				})
			}
		})
	}
	all.Wait()
	t.Logf("%d commands in each of %d containers after %v", rate*seconds, n, time.Since(begin))
}
