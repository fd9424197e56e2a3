// Command report turns the events of `go test -json` on standard input into
// what a person or a CI wants to read: go test's usual line for each package as
// it ends, the whole output of what failed and of nothing else, the skipped
// tests with their reasons, and at the very end "N passed, N failed, N skipped".
//
// Lines that are no events are passed on; one that starts with FAIL counts as a
// failure. The exit code is 1 if something failed and, with -strict, also if a
// test was skipped. It is no package of the module: .ci/test builds the file.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxOutput bounds the bytes kept for one test; more is cut in the middle of
// its run, which is said.
const maxOutput = 256 << 10

// event is what test2json writes; ImportPath stands in build events.
type event struct {
	Action, Package, Test, Output, ImportPath string
}

// key names a test, or with an empty test the package or the build itself.
type key struct{ pkg, test string }

type report struct {
	out                     io.Writer
	output                  map[key]*strings.Builder
	running                 map[key]bool
	passed, failed, skipped int
	failures, skips         []string
	failedIn                map[string]bool // packages in which a test failed
	broken                  bool            // something failed that is no test
}

func newReport(out io.Writer) *report {
	return &report{out: out, output: map[key]*strings.Builder{}, running: map[key]bool{}, failedIn: map[string]bool{}}
}

func main() {
	strict := flag.Bool("strict", false, "a skipped test is a failure")
	flag.Parse()
	r := newReport(os.Stdout)
	if err := r.read(os.Stdin); err != nil {
		r.breaks(fmt.Sprintf("FAIL read events: %v", err))
	}
	if !r.close(*strict) {
		os.Exit(1)
	}
}

func (r *report) read(in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 64<<10), 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil || e.Action == "" {
			r.plain(lines.Text())
			continue
		}
		r.event(e)
	}
	return lines.Err()
}

func (r *report) plain(line string) {
	if strings.HasPrefix(line, "FAIL") {
		r.breaks(line)
		return
	}
	fmt.Fprintln(r.out, line)
}

func (r *report) breaks(line string) {
	r.broken = true
	fmt.Fprintln(r.out, line)
}

func (r *report) event(e event) {
	k := key{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		fmt.Fprint(r.out, e.Output)
	case "build-fail":
		r.broken = true
	case "run":
		r.running[k] = true
	case "output":
		r.keep(k, e.Output)
	case "pass", "fail", "skip":
		r.end(k, e.Action)
	}
}

// keep stores output until its test ends. A package's own line goes out at once.
func (r *report) keep(k key, text string) {
	if k.test == "" && (text == "PASS\n" || text == "FAIL\n") {
		return // the package's own line says it
	}
	if k.test == "" && isPackageLine(text) {
		fmt.Fprint(r.out, text)
		return
	}
	b := r.output[k]
	if b == nil {
		b = &strings.Builder{}
		r.output[k] = b
	}
	if b.Len() < maxOutput && b.Len()+len(text) >= maxOutput {
		text = "... (more output was cut)\n"
	}
	if b.Len() < maxOutput {
		b.WriteString(text)
	}
}

func isPackageLine(text string) bool {
	for _, start := range []string{"ok  \t", "FAIL\t", "?   \t"} {
		if strings.HasPrefix(text, start) {
			return true
		}
	}
	return false
}

func (r *report) end(k key, action string) {
	if k.test == "" {
		r.endPackage(k, action)
		return
	}
	delete(r.running, k)
	name := k.pkg + " " + k.test
	switch action {
	case "pass":
		r.passed++
	case "skip":
		r.skipped++
		r.skips = append(r.skips, name+": "+reason(r.text(k)))
	case "fail":
		r.fail(k.pkg, name)
		fmt.Fprintf(r.out, "--- failed: %s\n%s", name, r.text(k))
	}
	delete(r.output, k)
}

// endPackage also tells of tests that never ended, as after a panic or a
// timeout, with all that was said.
func (r *report) endPackage(k key, action string) {
	for t := range r.running {
		if t.pkg == k.pkg {
			r.end(t, "fail")
		}
	}
	if action == "fail" {
		fmt.Fprint(r.out, r.text(k))
		if !r.failedIn[k.pkg] {
			r.fail(k.pkg, k.pkg+": the package itself: it does not build, or ended with an error")
		}
	}
	delete(r.output, k)
}

func (r *report) fail(pkg, name string) {
	r.failed++
	r.failures = append(r.failures, name)
	r.failedIn[pkg] = true
}

func (r *report) text(k key) string {
	if b := r.output[k]; b != nil {
		return b.String()
	}
	return ""
}

// reason finds in a skipped test's output what t.Skip was told.
func reason(output string) string {
	why := "no reason given"
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "===") && !strings.HasPrefix(line, "---") {
			why = line
		}
	}
	return why
}

// close prints the summary and says whether all is well.
func (r *report) close(strict bool) bool {
	for _, s := range r.skips {
		fmt.Fprintln(r.out, "skipped:", s)
	}
	if strict && r.skipped > 0 {
		fmt.Fprintln(r.out, "FAIL: with CI=true and as root no test may be skipped")
	}
	for _, f := range r.failures {
		fmt.Fprintln(r.out, "failed:", f)
	}
	if r.broken && r.failed == 0 {
		r.failed = 1
	}
	if r.failed > 0 {
		fmt.Fprintln(r.out, "FAIL")
	}
	fmt.Fprintf(r.out, "%d passed, %d failed, %d skipped\n", r.passed, r.failed, r.skipped)
	return r.failed == 0 && (!strict || r.skipped == 0)
}
