// Package supervise runs a command that must not outlive its starter.
//
// It works from its init function. Go initialises packages in the order of
// their import paths as soon as their own imports are ready, and this path
// sorts before those of Kubernetes: a supervisor does all its
// work, and exits, before any table of Kubernetes is built. So it costs
// milliseconds and a few megabytes.
package supervise

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func init() {
	if len(os.Args) > 1 && os.Args[1] == "supervise" && filepath.Base(os.Args[0]) == "control-plane" {
		os.Exit(supervise(os.Args[2:]))
	}
}

// How long a child may take to end by itself before it is killed.
const grace = 3 * time.Second

// supervise runs a command and returns its exit code. The command is ended
// (SIGTERM, and SIGKILL after the grace period) when standard input closes.
// The starter holds the other end of that pipe and the kernel closes it
// however the starter dies, so not even a SIGKILL of the starter leaves the
// command running.
//
// SIGTERM is passed on. SIGQUIT kills the command at once; a starter sends it
// instead of killing the supervisor because the supervisor's end then means
// that the command's ports and files are free.
func supervise(args []string) int {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "usage: control-plane supervise -- command [argument…]")
		return 2
	}

	child := exec.Command(args[0], args[1:]...)
	child.Stdout, child.Stderr = os.Stdout, os.Stderr
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGQUIT)
	if err := child.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "supervise:", err)
		return 127
	}

	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	closed := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(closed)
	}()

	var kill <-chan time.Time
	for {
		select {
		case err := <-ended:
			return exitCode(err)
		case s := <-signals:
			if s == syscall.SIGQUIT {
				s = syscall.SIGKILL
			}
			_ = child.Process.Signal(s)
		case <-closed:
			closed = nil
			_ = child.Process.Signal(syscall.SIGTERM)
			kill = time.After(grace)
		case <-kill:
			_ = child.Process.Kill()
		}
	}
}

func exitCode(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return 128 + int(status.Signal())
		}
		return exit.ExitCode()
	default:
		return 1
	}
}
