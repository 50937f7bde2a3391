package main

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

//go:embed containerd.toml
var containerdConfig string

//go:embed kubelet.yaml
var kubeletConfig string

const socket = "/run/containerd/containerd.sock"

// sysctls are those that the kubelet sets. They are the machine's, so it gets
// files of its own in their place.
var sysctls = []string{
	"vm/overcommit_memory",
	"vm/panic_on_oom",
	"kernel/panic",
	"kernel/panic_on_oops",
	"kernel/keys/root_maxkeys",
	"kernel/keys/root_maxbytes",
}

// initialise is the first process of the namespaces: it mounts, starts
// containerd and the kubelet, and ends with either of them.
func initialise(folder string) error {
	for _, hidden := range []string{"/run/", "/var/lib/", "/var/log/"} {
		if strings.HasPrefix(folder, hidden) {
			return fmt.Errorf("%s: a node hides %s behind a folder of its own", folder, hidden)
		}
	}
	if err := mounts(); err != nil {
		return err
	}
	if err := configure(folder); err != nil {
		return err
	}
	containerd, err := start(folder, "containerd", "containerd", "--config", "/run/containerd.toml")
	if err != nil {
		return err
	}
	if err := importImages(folder); err != nil {
		return err
	}
	kubelet, err := start(folder, "kubelet", "/proc/self/exe",
		"--config=/run/kubelet.yaml",
		"--kubeconfig="+filepath.Join(folder, "kubeconfig"),
		"--root-dir=/var/lib/kubelet",
		"--cert-dir=/var/lib/kubelet/pki",
		// The one name that every machine resolves, so that the node has an
		// address.
		"--hostname-override=localhost",
	)
	if err != nil {
		return err
	}
	// The first process inherits the orphans: the containers' shims.
	for {
		var status syscall.WaitStatus
		switch pid, err := syscall.Wait4(-1, &status, 0, nil); {
		case err == syscall.EINTR:
		case err != nil:
			return err
		case pid == containerd:
			return fmt.Errorf("containerd ended with status %#x: see containerd.log", status)
		case pid == kubelet:
			return fmt.Errorf("the kubelet ended with status %#x: see kubelet.log", status)
		}
	}
}

func mounts() error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	// Where containerd and the kubelet keep things under names that cannot
	// be chosen.
	for _, folder := range []string{"/run", "/var/lib", "/var/log"} {
		if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "mode=755"); err != nil {
			return fmt.Errorf("mount %s: %w", folder, err)
		}
	}
	for _, name := range sysctls {
		real := filepath.Join("/proc/sys", name)
		value, err := os.ReadFile(real)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return err
		}
		own := filepath.Join("/run", strings.ReplaceAll(name, "/", "."))
		if err := os.WriteFile(own, value, 0o644); err != nil {
			return err
		}
		if err := syscall.Mount(own, real, "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s: %w", real, err)
		}
	}
	return nil
}

func configure(folder string) error {
	for name, text := range map[string]string{
		"/run/containerd.toml":          strings.ReplaceAll(containerdConfig, "STATE", stateOf(folder)),
		"/run/kubelet.yaml":             kubeletConfig,
		"/run/cni/10-loopback.conflist": `{"cniVersion": "0.4.0", "name": "loopback", "plugins": [{"type": "loopback"}]}`,
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// start starts a program called name, with a log of that name.
func start(folder, name, program string, args ...string) (int, error) {
	log, err := os.Create(filepath.Join(folder, name+".log"))
	if err != nil {
		return 0, err
	}
	defer log.Close()
	command := exec.Command(program, args...)
	command.Args[0] = name
	command.Stdout, command.Stderr = log, log
	if err := command.Start(); err != nil {
		return 0, fmt.Errorf("start %s: %w", name, err)
	}
	return command.Process.Pid, nil
}

// importImages gives containerd the image of the node's own app, as soon as
// it listens, and those of the folder images.
func importImages(folder string) error {
	archive := filepath.Join(folder, "image.tar")
	if err := writeImage(filepath.Join(folder, "app"), archive); err != nil {
		return fmt.Errorf("write the image: %w", err)
	}
	others, err := filepath.Glob(filepath.Join(folder, "images", "*.tar"))
	if err != nil {
		return err
	}
	for _, archive := range append([]string{archive}, others...) {
		if err := importImage(archive); err != nil {
			return err
		}
	}
	return nil
}

func importImage(archive string) error {
	for try := 0; ; try++ {
		output, err := exec.Command("ctr", "--address", socket, "--namespace", "k8s.io", "images", "import", archive).CombinedOutput()
		if err == nil {
			return nil
		}
		if try == 100 {
			return fmt.Errorf("import %s: %w: %s", archive, err, output)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
