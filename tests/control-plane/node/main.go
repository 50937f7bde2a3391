// Command node is a Kubernetes node for tests: a kubelet with containerd and
// runc, which have to be installed.
//
// `node run FOLDER` runs one, as root, until its standard input closes. The
// folder holds `kubeconfig` (a user `system:node:localhost`) and `app` (the
// program of its own image), may hold further images as archives in `images`,
// and gets the logs. Everything runs in mount and
// pid namespaces of its own, so that killing their first process ends and
// unmounts all of it, however `node run` ends.
//
// Called by the name kubelet it is the kubelet.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"k8s.io/component-base/cli"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"

	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
)

func init() {
	// The children end with the thread that started them: it must be one
	// that lives as long as the process.
	runtime.LockOSThread()
}

func main() {
	if filepath.Base(os.Args[0]) == "kubelet" {
		os.Exit(cli.Run(kubelet.NewKubeletCommand(context.Background())))
	}
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: node run FOLDER")
		os.Exit(2)
	}
	var err error
	switch folder := os.Args[2]; os.Args[1] {
	case "run":
		err = run(folder)
	case "init":
		err = initialise(folder)
	default:
		err = fmt.Errorf("unknown command %q", os.Args[1])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		os.Exit(1)
	}
}
