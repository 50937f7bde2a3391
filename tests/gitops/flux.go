package main

import (
	"context"
	"fmt"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// Health as a Kustomization waits for it: by the expressions that it has for the kind, else by kstatus.
func fluxHealth(files []string) (answer, error) {
	evaluators := map[string]*cel.StatusEvaluator{}
	for _, file := range files {
		if err := addExpressions(evaluators, file); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return func(object *unstructured.Unstructured) (any, error) {
		compute := status.Compute
		if evaluator := evaluators[object.GetAPIVersion()+"/"+object.GetKind()]; evaluator != nil {
			compute = func(object *unstructured.Unstructured) (*status.Result, error) {
				return evaluator.Evaluate(context.Background(), object)
			}
		}
		found, err := compute(object)
		if err != nil {
			return Health{Status: "Unknown", Error: err.Error()}, nil
		}
		return Health{Status: string(found.Status), Message: found.Message}, nil
	}, nil
}

func addExpressions(evaluators map[string]*cel.StatusEvaluator, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var kustomization struct {
		Spec struct {
			HealthCheckExprs []kustomize.CustomHealthCheck `json:"healthCheckExprs"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(text, &kustomization); err != nil {
		return err
	}
	if len(kustomization.Spec.HealthCheckExprs) == 0 {
		return fmt.Errorf("there are no healthCheckExprs")
	}
	for _, check := range kustomization.Spec.HealthCheckExprs {
		evaluator, err := cel.NewStatusEvaluator(&check.HealthCheckExpressions)
		if err != nil {
			return err
		}
		evaluators[check.APIVersion+"/"+check.Kind] = evaluator
	}
	return nil
}
