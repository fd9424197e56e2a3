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

// noise are beginnings of lines that containerd logs in good health.
var noise = []string{
	"copy shim log",                       // after each task that is deleted
	"failed to find warning service",      // not among our parts
	"ttrpc: received message on inactive", // an answer after its caller left
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
	for _, n := range noise {
		if strings.HasPrefix(e.Message, n) {
			return nil
		}
	}
	ctx := e.Context
	if ctx == nil {
		ctx = context.Background()
	}
	log, level := bridge.target.Load(), slogLevel(e.Level)
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
func slogLevel(l logrus.Level) slog.Level {
	switch {
	case l <= logrus.ErrorLevel:
		return slog.LevelError
	case l == logrus.WarnLevel:
		return slog.LevelWarn
	default:
		return slog.LevelDebug
	}
}
