package fsbridge

import (
	"context"
	"time"
)

// reader says who reads the connection. A call that is alone and follows another
// closely reads its answer itself, which saves the hand-over between two
// goroutines; else the receiver does.
type reader int

const (
	receiverReads reader = iota
	nobodyReads          // the receiver waits for a caller to read, but not for long
	callerReads
)

// directTime is how long a caller waits for its answer as the reader, and the
// receiver for a caller.
const directTime = 5 * time.Millisecond

// rest lets callers read, if none waits and as long as one comes soon. It reports
// false when the connection has ended.
func (c *Client) rest() bool {
	c.mu.Lock()
	resting := len(c.calls) == 0 && c.err == nil && c.conn.pollable() && !c.conn.Buffered()
	if resting {
		c.reader = nobodyReads
	}
	seen := c.direct
	c.mu.Unlock()
	if !resting {
		return true
	}
	timer := time.NewTimer(directTime)
	defer timer.Stop()
	for {
		select {
		case <-c.wake:
			return true
		case <-c.done:
			return false
		case <-timer.C:
		}
		c.mu.Lock()
		idle := c.reader == nobodyReads && c.direct == seen
		if idle {
			c.reader = receiverReads
		}
		seen = c.direct
		c.mu.Unlock()
		if idle {
			return true
		}
		timer.Reset(directTime)
	}
}

// chooseReader makes a call that begins the reader, if it may be and is alone;
// else it calls the receiver back. c.mu is held.
func (c *Client) chooseReader(l *call) {
	switch {
	case c.reader != nobodyReads:
	case l.direct && len(c.calls) == 1:
		c.reader = callerReads
		c.direct++
		l.reads = true
	default:
		c.recall()
	}
}

// recall makes the receiver the reader. c.mu is held.
func (c *Client) recall() {
	c.reader = receiverReads
	c.wake <- struct{}{} // there is room: it is taken before the receiver rests again
}

// readAnswer reads what comes until a call that is the reader has its answer, but
// not for long, and no frame that is large or comes in pieces: nothing that the
// agent does keeps the call from being cancelled.
func (c *Client) readAnswer(ctx context.Context, l *call) {
	if !l.reads {
		return
	}
	defer c.stopReading(l)
	var f Frame
	for end := time.Now().Add(directTime); !l.settled() && ctx.Err() == nil; {
		if !c.conn.Buffered() && !c.conn.poll(time.Until(end)) || !c.conn.whole() {
			return
		}
		err := c.conn.Read(&f)
		if err == nil {
			err = c.dispatch(&f)
		}
		if err != nil {
			c.fail(err)
			return
		}
	}
}

// stopReading ends a call's time as the reader.
func (c *Client) stopReading(l *call) {
	if !l.reads {
		return
	}
	l.reads = false
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.calls) > 0 || c.err != nil || c.conn.Buffered() {
		c.recall()
	} else {
		c.reader = nobodyReads
	}
}
