package embed

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sirupsen/logrus"
)

// noise are beginnings of lines that containerd logs, up to the level of an
// error, in good health. They are detail here.
var noise = []string{
	"copy shim log",                       // after each task that is deleted
	"failed check for fsverity",           // most file systems have none
	"failed to find warning service",      // not among our parts
	"failed to finish collection context", // when Close comes while garbage is collected
	"failed sending message on channel",   // to a shim that has ended
	"snapshot garbage collection failed",  // when Close comes meanwhile
	"ttrpc: received message on inactive", // an answer after its caller has left
	"warnings while cleaning up dead shim",
}

var bridge struct {
	once   sync.Once
	target atomic.Pointer[slog.Logger]
}

// bridgeLogs sends what containerd logs to log. logrus has one logger for a
// whole process: the last call wins.
func bridgeLogs(log *slog.Logger) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	bridge.target.Store(log)
	bridge.once.Do(func() {
		logrus.SetOutput(io.Discard)
		logrus.AddHook(slogHook{})
	})
}

// slogHook hands each entry to the bridge's target.
type slogHook struct{}

// Levels is part of logrus.Hook: all that the logger's own level lets through.
func (slogHook) Levels() []logrus.Level { return logrus.AllLevels }

// Fire is part of logrus.Hook.
func (slogHook) Fire(e *logrus.Entry) error {
	ctx := e.Context
	if ctx == nil {
		ctx = context.Background()
	}
	log, level := bridge.target.Load(), slogLevel(e)
	if !log.Enabled(ctx, level) {
		return nil
	}
	attrs := make([]slog.Attr, 0, len(e.Data)+1)
	attrs = append(attrs, slog.String("from", "containerd"))
	for k, v := range e.Data {
		attrs = append(attrs, slog.Any(k, v))
	}
	log.LogAttrs(ctx, level, e.Message, attrs...)
	return nil
}

// slogLevel maps a level. What containerd calls info is detail to us.
func slogLevel(e *logrus.Entry) slog.Level {
	for _, n := range noise {
		if strings.HasPrefix(e.Message, n) {
			return slog.LevelDebug
		}
	}
	switch {
	case e.Level <= logrus.ErrorLevel:
		return slog.LevelError
	case e.Level == logrus.WarnLevel:
		return slog.LevelWarn
	default:
		return slog.LevelDebug
	}
}
