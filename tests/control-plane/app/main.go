// Command app is all that the tests' containers run.
//
// As `app serve SOCKET FILE` it answers each connection to a Unix socket with
// what the file holds at that moment, opened by its name as an app's reader
// does. Without arguments it waits to be killed, which is what the container
// that holds a pod's namespaces does.
package main

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	if len(os.Args) == 1 {
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
		<-signals
		return
	}
	if len(os.Args) != 4 || os.Args[1] != "serve" {
		fmt.Fprintln(os.Stderr, "usage: app [serve SOCKET FILE]")
		os.Exit(2)
	}
	if err := serve(os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "app:", err)
		os.Exit(1)
	}
}

func serve(socket, file string) error {
	// Left behind by a container that was killed.
	if err := os.Remove(socket); err != nil && !os.IsNotExist(err) {
		return err
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	for {
		client, err := listener.Accept()
		if err != nil {
			return err
		}
		text, err := os.ReadFile(file)
		if err != nil {
			fmt.Fprintln(os.Stderr, "app:", err)
		}
		// A client that has gone has its answer.
		_, _ = client.Write(text)
		_ = client.Close()
	}
}
