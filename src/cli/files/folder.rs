//! A folder as it lies in somebody's repository: what of it is read, and what seems to be no whole object.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::yaml;

/// The files of a folder and of all below it.
#[derive(Debug, Default)]
pub struct Folder {
    /// Those that may hold manifests, sorted.
    pub files: Vec<PathBuf>,
    /// What could not be looked at, each with the reason.
    pub unreadable: Vec<String>,
    /// Folders with a `Chart.yaml`.
    charts: BTreeSet<PathBuf>,
    /// Folders with a `kustomization.yaml`, and the files that each names as resources.
    kustomizations: BTreeMap<PathBuf, BTreeSet<PathBuf>>,
    /// Files that a `kustomization.yaml` names as patches, and its folder.
    patches: BTreeMap<PathBuf, PathBuf>,
}

/// What a file seems to be that mentions `sluice.dev` and holds no whole objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seems {
    /// A template of a Helm chart.
    Template,
    /// A patch of the `kustomization.yaml` in this folder.
    Patch(PathBuf),
}

impl fmt::Display for Seems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Seems::Template => f.write_str(
                "seems to be a Helm template, and is not judged: lint what comes of it: helm template … | sluice lint -f -",
            ),
            Seems::Patch(folder) => write!(
                f,
                "seems to be a Kustomize patch, and is not judged: lint what comes of it: kustomize build {} | \
                 sluice lint -f -",
                folder.display()
            ),
        }
    }
}

impl Seems {
    /// Whether a text that is no YAML has actions of Helm's templates. Metric templates have `{{name}}`, too.
    pub fn template(text: &str) -> bool {
        text.split("{{").skip(1).any(|action| {
            let action = action.trim_start_matches('-').trim_start();
            let words =
                ["if", "else", "end", "range", "with", "include", "template", "define", "block", "to", "tpl"];
            action.starts_with(['.', '$', '/'])
                || words.iter().any(|word| {
                    action
                        .strip_prefix(word)
                        .is_some_and(|rest| *word == "to" || rest.starts_with([' ', '-', '}']))
                })
        })
    }
}

impl Folder {
    /// Looks through a folder: nothing hidden, and no links to folders, which may lead in a circle.
    ///
    /// # Errors
    /// The folder itself cannot be read. What is below it and cannot is noted.
    pub fn read(root: &Path) -> std::io::Result<Folder> {
        let mut folder = Folder::default();
        folder.walk(root)?;
        folder.files.sort();
        Ok(folder)
    }

    fn walk(&mut self, at: &Path) -> std::io::Result<()> {
        for entry in std::fs::read_dir(at)? {
            let entry = entry?;
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if name.starts_with('.') {
                continue;
            }
            if entry.file_type()?.is_dir() {
                if let Err(error) = self.walk(&path) {
                    self.unreadable.push(format!("{} ({error})", path.display()));
                }
                continue;
            }
            match name.as_str() {
                "Chart.yaml" => _ = self.charts.insert(at.to_owned()),
                "kustomization.yaml" | "kustomization.yml" | "Kustomization" => self.kustomization(at, &path),
                _ => {}
            }
            if is_manifest(&path) && path.is_file() {
                self.files.push(path);
            }
        }
        Ok(())
    }

    /// Notes what a `kustomization.yaml` names. One that cannot be read names nothing.
    fn kustomization(&mut self, at: &Path, path: &Path) {
        let resources = self.kustomizations.entry(at.to_owned()).or_default();
        let text = std::fs::read_to_string(path).unwrap_or_default();
        for document in yaml::documents(&text) {
            let list = |key: &str| document.value.get(key).and_then(Value::as_array).into_iter().flatten();
            resources.extend(list("resources").filter_map(Value::as_str).map(|name| normal(&at.join(name))));
            let is_path = |name: &&str| !name.contains('\n');
            let names = ["patches", "patchesJson6902"].into_iter().flat_map(list);
            let names = names.filter_map(|patch| patch.get("path").and_then(Value::as_str));
            let strategic = list("patchesStrategicMerge").filter_map(Value::as_str).filter(is_path);
            for name in names.chain(strategic) {
                self.patches.insert(normal(&at.join(name)), at.to_owned());
            }
        }
    }

    /// What a file seems to be by its place, where that is no manifest.
    pub fn seems(&self, path: &Path) -> Option<Seems> {
        if let Some(folder) = self.patches.get(&normal(path)) {
            return Some(Seems::Patch(folder.clone()));
        }
        let in_chart = path.ancestors().any(|above| {
            above.file_name().is_some_and(|name| name == "templates")
                && above.parent().is_some_and(|chart| self.charts.contains(chart))
        });
        in_chart.then_some(Seems::Template)
    }

    /// The folder of the `kustomization.yaml` beside a file that this one does not name as a resource: it may be a part.
    pub fn kustomized(&self, path: &Path) -> Option<String> {
        let beside = path.parent()?;
        let resources = self.kustomizations.get(beside)?;
        (!resources.contains(&normal(path))).then(|| beside.display().to_string())
    }
}

fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    matches!(extension.as_deref(), Some("yaml" | "yml" | "json"))
}

/// A path without `.` and `..`, by its text alone.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir if out.file_name().is_some() => _ = out.pop(),
            part => out.push(part),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("{{- if .Values.on }}\na: b\n{{- end }}", true)]
    #[case("a: {{ .Release.Name }}", true)]
    #[case("a: {{ toJson .Values.a }}", true)]
    #[case("a: {{ include \"x\" . }}", true)]
    #[case("query: sum(x{service={{service}}}", false)]
    #[case("query: {{endpoint}} [", false)]
    #[case("a: [", false)]
    fn helm_templates_are_told_from_metric_templates(#[case] text: &str, #[case] template: bool) {
        assert_eq!(Seems::template(text), template, "{text}");
    }

    #[test]
    fn paths_are_compared_without_dots() {
        assert_eq!(normal(Path::new("./a/../b/./c.yaml")), Path::new("b/c.yaml"));
        assert_eq!(normal(Path::new("../../b")), Path::new("../../b"));
        assert_eq!(normal(Path::new("/a/../b")), Path::new("/b"));
    }
}
