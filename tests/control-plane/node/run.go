package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// stateOf is where containerd keeps its containers' state: in the node's
// folder, so that it tells afterwards which containers there were.
func stateOf(folder string) string {
	return filepath.Join(folder, "containerd")
}

// run starts the namespaces' first process, ends it when standard input
// closes, and removes what outlives it: the cgroups.
func run(folder string) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("a node has to run as root")
	}
	for _, program := range []string{"containerd", "containerd-shim-runc-v2", "ctr", "runc"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%s is missing: install the packages containerd and runc", program)
		}
	}
	inner := exec.Command("/proc/self/exe", "init", folder)
	inner.Stdout, inner.Stderr = os.Stdout, os.Stderr
	inner.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	if err := inner.Start(); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = inner.Process.Kill()
	}()
	// All of the namespace's processes are gone when its first one is.
	ended := inner.Wait()
	removeCgroups(folder)
	return ended
}

// removeCgroups removes the empty cgroups that the containers left behind in
// every hierarchy. What cannot be removed is in use, by another node.
func removeCgroups(folder string) {
	containers, _ := filepath.Glob(filepath.Join(stateOf(folder), "io.containerd.runtime.v2.task/k8s.io/*"))
	hierarchies, _ := filepath.Glob("/sys/fs/cgroup/*/k8s.io")
	for _, parent := range append(hierarchies, "/sys/fs/cgroup/k8s.io") {
		for _, container := range containers {
			removeTree(filepath.Join(parent, filepath.Base(container)))
		}
		_ = os.Remove(parent)
	}
}

// removeTree removes a cgroup and those in it, which must go first. Their
// files cannot be removed and need not be.
func removeTree(root string) {
	var groups []string
	_ = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			groups = append(groups, path)
		}
		return nil
	})
	for i := len(groups) - 1; i >= 0; i-- {
		_ = os.Remove(groups[i])
	}
}
