//! Folders as they lie in repositories.

use std::path::Path;

use super::*;
use crate::cli::files::lint::check;

const WHOLE: &str = "apiVersion: sluice.dev/v1alpha1\nkind: FeatureRollout\nmetadata: {name: cart}\nspec:\n  cohorts: [{name: all, share: 100}]\n  phases: [{name: ga, ramp: {percents: [10, 100]}}]\n";
const PART: &str = "apiVersion: sluice.dev/v1alpha1\nkind: FeatureRollout\nmetadata: {name: cart}\nspec: {schedule: {startAt: \"2026-12-01T09:00:00Z\"}}\n";

fn write(dir: &Path, files: &[(&str, &[u8])]) {
    for (name, bytes) in files {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

/// What lint says of a folder with these files: problems by file, line and severity, the objects, what was passed over.
fn lint(files: &[(&str, &[u8])]) -> (Vec<String>, usize, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), files);
    let input = load(&InputArgs::of(&[dir.path().to_owned()])).unwrap();
    let root = dir.path().display().to_string();
    let short = |text: &str| text.replace(&format!("{root}/"), "").replace(&root, ".");
    let problems = check(&input).problems.iter().map(|problem| short(&problem.to_string())).collect();
    let passed_over = input.passed_over.iter().map(|name| short(name)).collect();
    (problems, input.objects.len(), passed_over)
}

#[test]
fn other_peoples_files_are_passed_over() {
    let (problems, objects, passed_over) = lint(&[
        ("rollout.yaml", WHOLE.as_bytes()),
        ("tsconfig.json", b"{\n  // comments are no JSON\n  \"compilerOptions\": {},\n}"),
        ("values.yaml", b"image: a\nimage: b\non: off\n"),
        (".drone.yml", b"kind: pipeline"),
        ("drone.yml", b"kind: pipeline\ntype: docker\n---\nkind: secret\n"),
        ("latin1.yaml", b"name: f\xfcr alle\n"),
        ("grafana.json", b"{\"title\": \"FlagSet\", \"panels\": []}"),
        ("broken.yaml", b"FlagSet: ["),
        ("deployment.yaml", b"apiVersion: apps/v1\nkind: Deployment\nspec: {on: off, on: on}\n"),
    ]);
    assert_eq!(problems, Vec::<String>::new());
    assert_eq!(objects, 1);
    assert_eq!(
        passed_over,
        [
            "broken.yaml",
            "deployment.yaml",
            "drone.yml",
            "grafana.json",
            "latin1.yaml",
            "tsconfig.json",
            "values.yaml"
        ]
    );
}

#[test]
fn what_names_our_group_and_cannot_be_read_is_an_error() {
    let (problems, ..) = lint(&[
        ("a.yaml", b"apiVersion: sluice.dev/v1alpha1\nkind: FlagSet\nmetadata: {name: f\xfcr}\n"),
        ("b.yaml", b"apiVersion: sluice.dev/v1alpha1\nkind: [\n"),
        ("c.yaml", b"kind: FlagSet\nmetadata: {name: a}\n"),
        ("d.yaml", b"apiVersion: v1alpha1\nkind: FlagSet\nmetadata: {name: a}\n"),
    ]);
    for (problem, (file, what)) in problems.iter().zip([
        ("a.yaml:3: error: ", "is not UTF-8 from here on"),
        ("b.yaml:", "is no YAML, at column "),
        ("c.yaml:1: error: ", "FlagSet: apiVersion is missing"),
        ("d.yaml:1: error: ", "FlagSet is no kind of v1alpha1"),
    ]) {
        assert!(problem.starts_with(file) && problem.contains(what), "{problem}");
    }
    assert_eq!(problems.len(), 4, "{problems:?}");
}

#[test]
fn patches_and_templates_are_no_whole_objects() {
    let kustomization =
        |more: &str| format!("kind: Kustomization\nresources: [rollout.yaml]\n{more}").into_bytes();
    let template = format!("{{{{- if .Values.on }}}}\n{WHOLE}{{{{- end }}}}\n").into_bytes();
    let (problems, objects, passed_over) = lint(&[
        ("base/kustomization.yaml", &kustomization("")),
        ("base/rollout.yaml", WHOLE.as_bytes()),
        ("prod/kustomization.yaml", b"resources: [../base]\npatches: [{path: ./slower.yaml}]\n"),
        ("prod/slower.yaml", PART.as_bytes()),
        ("eu/kustomization.yaml", b"resources: [../base]\npatchesStrategicMerge: [parts/slower.yaml]\n"),
        ("eu/parts/slower.yaml", PART.as_bytes()),
        ("us/kustomization.yaml", b"resources: [../base]\n"),
        ("us/forgotten.yaml", PART.as_bytes()),
        ("chart/Chart.yaml", b"apiVersion: v2\nname: cart\n"),
        ("chart/templates/rollout.yaml", &template),
        ("chart/templates/plain.yaml", WHOLE.as_bytes()),
        ("elsewhere/template.yaml", &template),
    ]);
    let seems: Vec<(&str, &str)> = problems
        .iter()
        .map(|problem| problem.split_once(", and is not judged").unwrap_or((problem, "")))
        .collect();
    assert_eq!(
        seems.iter().map(|(what, _)| *what).collect::<Vec<_>>(),
        [
            "chart/templates/plain.yaml: warning: seems to be a Helm template",
            "chart/templates/rollout.yaml: warning: seems to be a Helm template",
            "elsewhere/template.yaml:1: warning: seems to be a Helm template",
            "eu/parts/slower.yaml: warning: seems to be a Kustomize patch",
            "prod/slower.yaml: warning: seems to be a Kustomize patch",
            "us/forgotten.yaml:1: warning: seems to be a Kustomize patch",
        ]
    );
    assert_eq!(seems[4].1, ": lint what comes of it: kustomize build prod | sluice lint -f -");
    assert_eq!(objects, 2);
    assert!(passed_over.contains(&"chart/Chart.yaml".to_owned()), "{passed_over:?}");
}

/// A whole object with an error is judged, beside a `kustomization.yaml` too.
#[test]
fn an_error_beside_a_kustomization_is_still_an_error() {
    let wrong = WHOLE.replace("share: 100", "share: 101");
    let (problems, ..) = lint(&[
        ("kustomization.yaml", b"resources: [rollout.yaml]\n"),
        ("rollout.yaml", PART.as_bytes()),
        ("other.yaml", wrong.as_bytes()),
    ]);
    assert!(problems.iter().all(|problem| problem.contains(": error: ")), "{problems:?}");
    assert!(
        problems.iter().any(|problem| problem.starts_with("rollout.yaml:4: error: spec.phases: is missing"))
    );
}

#[test]
fn a_folder_without_any_object_of_ours_is_an_error() {
    let error = |files: &[(&str, &[u8])]| lint(files).0.last().cloned().unwrap();
    assert_eq!(
        error(&[("values.yaml", b"a: b"), ("Chart.yaml", b"name: a")]),
        ".: error: holds no object of sluice.dev to judge: is it the right folder? 2 other files passed over"
    );
    assert!(error(&[]).contains("holds no object of sluice.dev"));
}

#[test]
fn a_file_that_is_named_is_judged_whole() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        &[
            ("values.yaml", b"image: a\n"),
            ("part.yaml", PART.as_bytes()),
            ("kustomization.yaml", b""),
            ("empty.yaml", b"# nothing\n"),
        ],
    );
    for (name, message) in [
        ("values.yaml", "is no Kubernetes object"),
        ("part.yaml", "spec.phases: is missing"),
        ("empty.yaml", "is empty"),
    ] {
        let input = load(&InputArgs::of(&[dir.path().join(name)])).unwrap();
        let problems = check(&input).problems;
        assert!(problems.iter().any(|problem| problem.to_string().contains(message)), "{name}: {problems:?}");
    }
}
