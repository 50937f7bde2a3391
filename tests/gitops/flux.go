package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/polling"
	"github.com/fluxcd/cli-utils/pkg/kstatus/polling/engine"
	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"github.com/fluxcd/pkg/ssa"
	"github.com/fluxcd/pkg/ssa/normalize"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// Health as a Kustomization waits for it: by the expressions that it has for the kind, else by kstatus.
func fluxHealth(files []string) (question, error) {
	checks, err := checksOf(files)
	if err != nil {
		return nil, err
	}
	evaluators := map[string]*cel.StatusEvaluator{}
	for _, check := range checks {
		evaluator, err := cel.NewStatusEvaluator(&check.HealthCheckExpressions)
		if err != nil {
			return nil, err
		}
		evaluators[check.APIVersion+"/"+check.Kind] = evaluator
	}
	return each(func(object *unstructured.Unstructured) (any, error) {
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
	}), nil
}

// The healthCheckExprs of Kustomizations.
func checksOf(files []string) ([]kustomize.CustomHealthCheck, error) {
	var checks []kustomize.CustomHealthCheck
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var kustomization struct {
			Spec struct {
				HealthCheckExprs []kustomize.CustomHealthCheck `json:"healthCheckExprs"`
			} `json:"spec"`
		}
		if err := yaml.Unmarshal(text, &kustomization); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if len(kustomization.Spec.HealthCheckExprs) == 0 {
			return nil, fmt.Errorf("%s: there are no healthCheckExprs", file)
		}
		checks = append(checks, kustomization.Spec.HealthCheckExprs...)
	}
	return checks, nil
}

const (
	controller = "kustomize-controller"
	group      = "kustomize.toolkit.fluxcd.io"
)

// A sync of manifests as kustomize-controller makes it: applied on the server's side, after what kubectl has written is taken back,
// and waited for as with `wait: true`. The answers say of each object whether it was created, configured or unchanged.
func fluxSync(timeout string, files []string) (question, error) {
	patience, err := time.ParseDuration(timeout)
	if err != nil {
		return nil, err
	}
	checks, err := checksOf(files)
	if err != nil {
		return nil, err
	}
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return nil, err
	}
	// The controller has limits of its own; one that is run into at the end of the patience would be taken for the reason.
	config.QPS = -1
	cluster, err := client.New(config, client.Options{})
	if err != nil {
		return nil, err
	}
	options := polling.Options{}
	if len(checks) > 0 {
		reader, err := cel.NewStatusReader(checks)
		if err != nil {
			return nil, err
		}
		options.CustomStatusReaders = []engine.StatusReader{reader(cluster.RESTMapper())}
	}
	poller := polling.NewStatusPoller(cluster, cluster.RESTMapper(), options)
	manager := ssa.NewResourceManager(cluster, poller, ssa.Owner{Field: controller, Group: group})
	return func(objects []*unstructured.Unstructured) ([]any, error) {
		if err := normalize.UnstructuredList(objects); err != nil {
			return nil, err
		}
		manager.SetOwnerLabels(objects, "rollouts", "flux-system")
		changes, err := manager.ApplyAllStaged(context.Background(), objects, applyOptions())
		if err != nil {
			return nil, err
		}
		wait := ssa.WaitOptions{Interval: time.Second, Timeout: patience, FailFast: true}
		if err := manager.WaitForSet(changes.ToObjMetadataSet(), wait); err != nil {
			return nil, err
		}
		actions := changes.ToMap()
		answers := make([]any, 0, len(objects))
		for _, object := range objects {
			subject := fmt.Sprintf("%s/%s/%s", object.GetKind(), object.GetNamespace(), object.GetName())
			answers = append(answers, actions[subject])
		}
		return answers, nil
	}, nil
}

// The options that kustomize-controller applies with.
func applyOptions() ssa.ApplyOptions {
	options := ssa.DefaultApplyOptions()
	var managers []ssa.FieldManager
	for _, operation := range []metav1.ManagedFieldsOperationType{metav1.ManagedFieldsOperationApply, metav1.ManagedFieldsOperationUpdate} {
		managers = append(managers, ssa.FieldManager{Name: "kubectl", OperationType: operation})
	}
	for _, name := range []string{"before-first-apply", controller} {
		managers = append(managers, ssa.FieldManager{Name: name, OperationType: metav1.ManagedFieldsOperationUpdate})
	}
	options.Cleanup = ssa.ApplyCleanupOptions{
		Annotations:   []string{corev1.LastAppliedConfigAnnotation},
		FieldManagers: managers,
		Exclusions:    map[string]string{group + "/ssa": "Merge"},
	}
	return options
}
