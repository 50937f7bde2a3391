//! Sources, templates, those who use them, and actions in files: each mistake is said where it stands.

use super::sluice_with;

const FILE: &str = r#"apiVersion: sluice.dev/v1alpha1
kind: MetricSource
metadata: {name: prom, namespace: ops}
spec: {prometheus: {url: "http://prom:9090"}, http: {url: "http://x"}, timeout: 6s}
---
apiVersion: sluice.dev/v1alpha1
kind: MetricSource
metadata: {name: good, namespace: ops}
spec: {prometheus: {url: "http://prom:9090"}, namespaceLabel: namespace, typo: 1}
---
apiVersion: sluice.dev/v1alpha1
kind: MetricTemplate
metadata: {name: errors}
spec:
  sourceRef: {name: good}
  args: [{name: service}, {name: window, type: Duration, default: soon}]
  promql: sum(rate(errors{service="{{servce}}"}[{{window}}]))
---
apiVersion: sluice.dev/v1alpha1
kind: MetricTemplate
metadata: {name: rate}
spec:
  sourceRef: {name: good}
  args: [{name: service}, {name: share, type: Decimal, default: "0.9"}]
  promql: quantile({{share}}, up{service="{{service}}"})
---
apiVersion: sluice.dev/v1alpha1
kind: MetricTemplate
metadata: {name: json}
spec: {sourceRef: {name: good}, jsonPath: "$.value"}
---
apiVersion: sluice.dev/v1alpha1
kind: FeatureRollout
metadata: {name: a}
spec:
  cohorts: [{name: all}]
  phases: [{name: ga, gates: [slow], ramp: {percents: [100]}}]
  triggers:
  - name: one
    metric: {templateRef: {name: rate}, args: {servce: x, share: most}}
    interval: 5s
    levels:
    - {severity: Critical, above: "1", for: 2s, action: Pause}
    - {severity: Critical, above: 10, action: ImmediateRollback}
  - name: elsewhere
    metric: {templateRef: {name: in-the-cluster}, args: {any: thing}}
    levels: [{severity: Info, atMost: ten, action: Notify}]
  criteria:
  - {name: slow, metric: {templateRef: {name: rate}, args: {service: x}}, below: "2", minSamples: 5}
  - {name: other, metric: {templateRef: {name: json}}}
---
apiVersion: sluice.dev/v1alpha1
kind: RolloutAction
metadata: {name: stop}
spec: {rolloutRef: {name: a}, action: Approve, reason: why not}
"#;

#[test]
fn what_is_wrong_with_metrics_is_said_where_it_stands() {
    let ran = sluice_with(&["lint", "-f", "-"], FILE);
    let said: Vec<&str> = ran.out.lines().map(|line| line.trim_start_matches("-:")).collect();
    assert_eq!(
        said,
        [
            "4: error: spec: give exactly one of prometheus and http",
            "4: error: spec.timeout: must be more than 0s and at most 5s",
            "9: error: spec.typo: there is no such field",
            "16: error: spec.args[1].default: \"soon\" is no duration: write one such as 90s, 10m, 168h or 1h30m, of less than 100000h",
            "16: warning: spec.args[0]: the query has no {{service}}: whatever is given for it changes nothing",
            "17: error: spec.promql: {{servce}}: there is no such argument",
            "30: error: spec.sourceRef: the MetricSource \"good\" wants a template with promql",
            "40: error: spec.triggers[0].metric.args.servce: the template has no such argument",
            "40: error: spec.triggers[0].metric.args.service: the template needs it",
            "40: error: spec.triggers[0].metric.args.share: a Decimal has 1 to 15 digits, such as 0.95",
            "41: warning: spec.triggers[0].interval: 5s asks the source often: 10s and more says hardly less",
            "43: warning: spec.triggers[0].levels[0].for: 2s is shorter than the interval, and two samples are needed: it takes 5s",
            "44: error: spec.triggers[0].levels[1].above: 10 is a number where a string is needed: quote it",
            "47: error: spec.triggers[1].levels[0].atMost: \"ten\" is no decimal number such as \"10\" or \"0.5\"",
            "49: warning: spec.criteria[0].minSamples: template rate counts no samples: without sampleCount there is never enough data",
            "52: warning: an action does one thing once: applied by a GitOps tool it is rejected; create it, or use sluice pause, rollback and so on",
            "55: error: spec.approve: is missing: Approve needs it",
            "12 errors and 5 warnings in 7 objects of 1 file",
        ]
    );
    assert_eq!(ran.code, 1);
}

#[test]
fn templates_and_sources_may_be_in_the_cluster() {
    let rollout = FILE
        .split("---\n")
        .nth(5)
        .unwrap()
        .replace("above: 10,", "above: \"10\",")
        .replace("ten,", "\"10\",");
    let ran = sluice_with(&["lint", "-f", "-"], &rollout);
    assert_eq!((ran.code, ran.out.lines().count()), (0, 3), "{}", ran.out);
    let template = FILE.split("---\n").nth(3).unwrap();
    let ran = sluice_with(&["lint", "-f", "-"], template);
    assert_eq!(ran.out, "0 errors and 0 warnings in 1 object of 1 file\n");
}
