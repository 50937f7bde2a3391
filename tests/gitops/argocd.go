package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strings"

	"github.com/argoproj/argo-cd/gitops-engine/pkg/diff"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/health"
	"github.com/argoproj/argo-cd/v3/pkg/apiclient/application"
	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/lua"
	"github.com/argoproj/argo-cd/v3/util/settings"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/yaml"
)

func argocd(verb, config string, rest []string) (question, error) {
	overrides, err := overridesOf(config)
	if err != nil {
		return nil, err
	}
	vm := lua.VM{ResourceOverrides: overrides}
	switch {
	case verb == "health":
		return each(func(object *unstructured.Unstructured) (any, error) { return argocdHealth(overrides, object), nil }), nil
	case verb == "actions":
		return each(func(object *unstructured.Unstructured) (any, error) { return offered(vm, object) }), nil
	case verb == "diff" && len(rest) == 1:
		return diffs(rest[0])
	case verb == "run" && len(rest) > 0:
		return each(func(object *unstructured.Unstructured) (any, error) { return ran(vm, object, rest[0], rest[1:]) }), nil
	}
	return nil, fmt.Errorf("not understood: argocd %s %v", verb, rest)
}

// The customizations as Argo CD's own settings read them out of its ConfigMap.
func overridesOf(path string) (map[string]v1alpha1.ResourceOverride, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	config := &corev1.ConfigMap{}
	if err := yaml.UnmarshalStrict(text, config); err != nil {
		return nil, err
	}
	// An installation of Argo CD has these.
	part := map[string]string{"app.kubernetes.io/part-of": "argocd"}
	config.Labels = part
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "argocd-secret", Namespace: config.Namespace, Labels: part}}
	manager := settings.NewSettingsManager(context.Background(), fake.NewClientset(config, secret), config.Namespace)
	return manager.GetResourceOverrides()
}

func argocdHealth(overrides map[string]v1alpha1.ResourceOverride, object *unstructured.Unstructured) Health {
	found, err := health.GetResourceHealth(object, lua.ResourceHealthOverrides(overrides))
	answer := Health{}
	if found != nil {
		answer = Health{Status: string(found.Status), Message: found.Message}
	}
	if err != nil {
		answer.Error = err.Error()
	}
	return answer
}

// The actions as the page of Argo CD offers them, by name.
func offered(vm lua.VM, object *unstructured.Unstructured) (any, error) {
	scripts, err := vm.GetResourceActionDiscovery(object)
	if err != nil {
		return nil, err
	}
	actions, err := vm.ExecuteResourceActionDiscovery(object, scripts)
	sort.Slice(actions, func(i, j int) bool { return actions[i].Name < actions[j].Name })
	return actions, err
}

// What Argo CD would create or patch.
func ran(vm lua.VM, object *unstructured.Unstructured, name string, pairs []string) (any, error) {
	action, err := vm.GetResourceAction(object, name)
	if err != nil {
		return nil, err
	}
	var parameters []*application.ResourceActionParameters
	for _, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		parameters = append(parameters, &application.ResourceActionParameters{Name: &name, Value: &value})
	}
	return vm.ExecuteResourceAction(object, action.ActionLua, parameters)
}

// Where Argo CD calls an object out of sync with its manifest: the object, and what it would be after a sync; else {}. The manifests
// are in the order of the objects.
func diffs(path string) (question, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	manifests, err := read(file)
	if err != nil {
		return nil, err
	}
	return each(func(live *unstructured.Unstructured) (any, error) {
		if len(manifests) == 0 {
			return nil, fmt.Errorf("there is no manifest for it")
		}
		manifest := manifests[0]
		manifests = manifests[1:]
		found, err := diff.Diff(manifest, live)
		if err != nil || !found.Modified {
			return map[string]any{}, err
		}
		return map[string]json.RawMessage{"live": found.NormalizedLive, "predicted": found.PredictedLive}, nil
	}), nil
}
