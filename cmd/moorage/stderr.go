package main

import (
	"bufio"
	"log/slog"
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// maxStderrLine is the longest line of standard error that is kept whole.
const maxStderrLine = 16 << 10

// captureStderr sends what is written to standard error into the log, which is
// rotated; the engine copies what its shims say there, for as long as the server
// lives. A crash of the server itself still goes to where standard error led.
func captureStderr(log *slog.Logger) error {
	crash, err := unix.FcntlInt(2, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(crash), "stderr")
	defer f.Close() // SetCrashOutput keeps a copy
	if err := debug.SetCrashOutput(f, debug.CrashOptions{}); err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer w.Close()
	if err := unix.Dup3(int(w.Fd()), 2, 0); err != nil {
		return err
	}
	go func() { // ends with the process
		for lines := bufio.NewReaderSize(r, maxStderrLine); ; {
			line, _, err := lines.ReadLine()
			if err != nil {
				return
			}
			log.Info("stderr", "line", string(line))
		}
	}()
	return nil
}
