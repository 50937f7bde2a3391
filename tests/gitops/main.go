// Command gitops-clients answers as the GitOps tools do, by their own code: what Argo CD and Flux make of objects.
//
//	gitops-clients argocd health  ARGOCD-CM.yaml
//	gitops-clients argocd actions ARGOCD-CM.yaml
//	gitops-clients argocd run     ARGOCD-CM.yaml ACTION [PARAMETER=VALUE…]
//	gitops-clients argocd diff    ARGOCD-CM.yaml MANIFESTS.json
//	gitops-clients flux health [KUSTOMIZATION.yaml]
//	gitops-clients flux sync TIMEOUT [KUSTOMIZATION.yaml]
//
// It reads a JSON list of objects, as the API server returns them, and prints a list with an answer for each. A sync takes manifests,
// asks the cluster of KUBECONFIG, and fails where the Kustomization would.
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

// A question about objects, with an answer for each of them.
type question func(objects []*unstructured.Unstructured) ([]any, error)

// A question that is asked of each object by itself.
func each(ask func(object *unstructured.Unstructured) (any, error)) question {
	return func(objects []*unstructured.Unstructured) ([]any, error) {
		answers := make([]any, 0, len(objects))
		for _, object := range objects {
			answer, err := ask(object)
			if err != nil {
				return nil, fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
			}
			answers = append(answers, answer)
		}
		return answers, nil
	}
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	ask, err := understand(args)
	if err != nil {
		return err
	}
	objects, err := read(os.Stdin)
	if err != nil {
		return err
	}
	answers, err := ask(objects)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(answers)
}

func understand(args []string) (question, error) {
	if len(args) < 2 {
		return nil, fmt.Errorf("say which tool, and what it is asked")
	}
	tool, verb, rest := args[0], args[1], args[2:]
	switch {
	case tool == "flux" && verb == "health":
		return fluxHealth(rest)
	case tool == "flux" && verb == "sync" && len(rest) > 0:
		return fluxSync(rest[0], rest[1:])
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
