// Command gitops-clients answers as the GitOps tools do, by their own code: what Argo CD and Flux make of objects.
//
//	gitops-clients argocd health  ARGOCD-CM.yaml
//	gitops-clients argocd actions ARGOCD-CM.yaml
//	gitops-clients argocd run     ARGOCD-CM.yaml ACTION [PARAMETER=VALUE…]
//	gitops-clients argocd diff    ARGOCD-CM.yaml MANIFESTS.json
//	gitops-clients flux health [KUSTOMIZATION.yaml]
//
// It reads a JSON list of objects, as the API server returns them, and prints a list with an answer for each.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Health is what a tool says of an object. An error is one that the tool itself would report.
type Health struct {
	Status  string `json:"status"`
	Message string `json:"message,omitempty"`
	Error   string `json:"error,omitempty"`
}

// An answer to one object, in the form that its question asks for.
type answer func(object *unstructured.Unstructured) (any, error)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	question, err := understand(args)
	if err != nil {
		return err
	}
	objects, err := read(os.Stdin)
	if err != nil {
		return err
	}
	answers := make([]any, 0, len(objects))
	for _, object := range objects {
		given, err := question(object)
		if err != nil {
			return fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
		answers = append(answers, given)
	}
	return json.NewEncoder(os.Stdout).Encode(answers)
}

func understand(args []string) (answer, error) {
	if len(args) < 2 {
		return nil, fmt.Errorf("say which tool, and what it is asked")
	}
	tool, verb, rest := args[0], args[1], args[2:]
	switch {
	case tool == "flux" && verb == "health":
		return fluxHealth(rest)
	case tool == "argocd" && len(rest) > 0:
		return argocd(verb, rest[0], rest[1:])
	}
	return nil, fmt.Errorf("not understood: %v", args)
}

// The decoder that both tools use: whole numbers are integers, and nothing is defaulted or dropped.
func read(from io.Reader) ([]*unstructured.Unstructured, error) {
	var texts []json.RawMessage
	if err := json.NewDecoder(from).Decode(&texts); err != nil {
		return nil, err
	}
	objects := make([]*unstructured.Unstructured, 0, len(texts))
	for _, text := range texts {
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(text); err != nil {
			return nil, err
		}
		objects = append(objects, object)
	}
	return objects, nil
}
