//! The objects of files, folders and standard input, each with where it stands.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use clap::Args;
use serde_json::Value;

use super::Failure;
use super::problem::{Problem, Severity};
use super::yaml::{self, Document, item_path};
use crate::api::{GROUP, VERSION};

/// Namespace of an object that names none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// Where offline commands read.
#[derive(Args, Clone, Debug)]
pub struct InputArgs {
    /// File or folder to read (.yaml, .yml, .json; folders with all below them), `-` for standard input
    #[arg(short = 'f', long = "filename", value_name = "PATH", required = true)]
    pub files: Vec<PathBuf>,
    /// Only the objects of this namespace; objects that name none are in `default`
    #[arg(short, long)]
    pub namespace: Option<String>,
}

/// What was read.
#[derive(Debug, Default)]
pub struct Input {
    /// The objects of `sluice.dev` in the order of files and documents.
    pub objects: Vec<Object>,
    /// Files that hold manifests, of whatever group.
    pub files: usize,
    /// What is wrong with the texts, and with documents that are no object at all.
    pub problems: Vec<Problem>,
}

/// One object of `sluice.dev`.
#[derive(Clone, Debug)]
pub struct Object {
    /// Its kind; one that the group has.
    pub kind: Kind,
    /// Its namespace; `default` where the file names none.
    pub namespace: String,
    /// Its name; empty where it has none.
    pub name: String,
    /// The object as kubectl would send it.
    pub value: Value,
    place: Place,
}

/// The kinds of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Kind {
    CohortSet,
    FeatureRollout,
    FlagSet,
    MetricSource,
    MetricTemplate,
    RolloutAction,
}

impl Kind {
    const ALL: [Kind; 6] = [
        Kind::CohortSet,
        Kind::FeatureRollout,
        Kind::FlagSet,
        Kind::MetricSource,
        Kind::MetricTemplate,
        Kind::RolloutAction,
    ];

    /// As `kind:` spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::CohortSet => "CohortSet",
            Kind::FeatureRollout => "FeatureRollout",
            Kind::FlagSet => "FlagSet",
            Kind::MetricSource => "MetricSource",
            Kind::MetricTemplate => "MetricTemplate",
            Kind::RolloutAction => "RolloutAction",
        }
    }
}

/// Where an object stands.
#[derive(Clone, Debug)]
struct Place {
    file: Rc<str>,
    document: Rc<Document>,
    /// Path of the object in its document: empty, or an item of a List.
    base: String,
}

impl Object {
    /// The object in words: `FeatureRollout maya/dreams`.
    pub fn title(&self) -> String {
        format!("{} {}/{}", self.kind.as_str(), self.namespace, self.name)
    }

    /// The line of a field, or of the nearest field above that is written.
    pub fn line(&self, path: &str) -> usize {
        let mut path = self.in_document(path);
        loop {
            if let Some(line) = self.place.document.lines.get(&path) {
                return *line;
            }
            let Some(cut) = path.rfind(['.', '[']) else { break };
            path.truncate(cut);
        }
        self.place.document.lines.get("").copied().unwrap_or(1)
    }

    /// The text of a scalar that kubectl reads as a boolean although it looks like a word.
    pub fn bare(&self, path: &str) -> Option<&str> {
        self.place.document.bare.get(&self.in_document(path)).map(String::as_str)
    }

    /// Paths of such scalars.
    pub fn bare_paths(&self) -> impl Iterator<Item = &str> {
        let base = self.place.base.as_str();
        self.place
            .document
            .bare
            .keys()
            .filter_map(move |path| path.strip_prefix(base))
            .map(|path| path.trim_start_matches('.'))
    }

    /// Something wrong at a field of this object.
    pub fn problem(&self, severity: Severity, path: &str, message: impl Into<String>) -> Problem {
        Problem {
            file: self.place.file.to_string(),
            line: self.line(path),
            severity,
            object: self.title(),
            path: path.to_owned(),
            message: message.into(),
        }
    }

    /// The file and line where the object begins.
    pub fn location(&self) -> String {
        format!("{}:{}", self.place.file, self.line(""))
    }

    fn in_document(&self, path: &str) -> String {
        if self.place.base.is_empty() {
            path.to_owned()
        } else if path.is_empty() {
            self.place.base.clone()
        } else {
            format!("{}.{path}", self.place.base)
        }
    }
}

/// Reads everything that `args` names.
///
/// # Errors
/// A file or folder that cannot be read. What is wrong inside of the files is in the input's problems.
pub fn load(args: &InputArgs) -> Result<Input, Failure> {
    let mut input = Input::default();
    for path in files(&args.files)? {
        let name = path.display().to_string();
        let text = read(&path).map_err(|error| Failure::Input(format!("{name}: {error}")))?;
        input.add(&name, &text, args.files.contains(&path));
    }
    if let Some(namespace) = &args.namespace {
        input.objects.retain(|object| object.namespace == *namespace);
        // Problems of a text as a whole concern every namespace.
        let mine = |problem: &Problem| {
            problem.object.is_empty() || problem.object.contains(&format!(" {namespace}/"))
        };
        input.problems.retain(mine);
    }
    Ok(input)
}

/// The text of a file, or with `-` of standard input.
pub(super) fn read(path: &Path) -> std::io::Result<String> {
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    std::fs::read_to_string(path)
}

/// The files named, and those in the folders named, sorted; a file that is reached twice is read once.
fn files(named: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut found: Vec<PathBuf> = Vec::new();
    for path in named {
        let mut here = Vec::new();
        if path.is_dir() {
            walk(path, &mut here).map_err(|error| Failure::Input(format!("{}: {error}", path.display())))?;
            here.sort();
        } else {
            here.push(path.clone());
        }
        found.extend(here);
    }
    let mut seen = std::collections::BTreeSet::new();
    found.retain(|path| seen.insert(std::fs::canonicalize(path).unwrap_or_else(|_| path.clone())));
    Ok(found)
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        // A link to a folder is not followed: it may lead in a circle.
        let kind = entry.file_type()?;
        if hidden {
            continue;
        }
        if kind.is_dir() {
            walk(&path, found)?;
        } else if is_manifest(&path) && path.is_file() {
            found.push(path);
        }
    }
    Ok(())
}

fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    matches!(extension.as_deref(), Some("yaml" | "yml" | "json"))
}

impl Input {
    /// Adds the documents of a text; `named` tells a file that was named from one that was found in a folder.
    pub fn add(&mut self, file: &str, text: &str, named: bool) {
        let file: Rc<str> = file.into();
        let documents = yaml::documents(text.trim_start_matches('\u{feff}'));
        let mut counted = false;
        for document in documents {
            let document = Rc::new(document);
            // Folders hold other things too: a package.json is no forgotten manifest.
            let of_kubernetes = ["apiVersion", "kind", "metadata", "spec"];
            let manifest = of_kubernetes.iter().any(|key| document.value.get(key).is_some());
            if !named && !manifest && !document.value.is_null() {
                continue;
            }
            self.files += usize::from(!std::mem::replace(&mut counted, true));
            let before = self.objects.len();
            self.add_value(&file, &document, String::new(), &document.value);
            let object = match self.objects.get(before) {
                Some(object) if self.objects.len() == before + 1 => object.title(),
                _ => String::new(),
            };
            // What is wrong with other groups' objects is not ours to say, unless it breaks the text.
            let foreign = self.objects.len() == before && !document.value.is_null();
            for (line, path, message) in document.problems.iter().filter(|_| !foreign) {
                self.problems.push(Problem {
                    file: file.to_string(),
                    line: *line,
                    severity: Severity::Error,
                    object: object.clone(),
                    path: path.clone(),
                    message: message.clone(),
                });
            }
        }
    }

    fn add_value(&mut self, file: &Rc<str>, document: &Rc<Document>, base: String, value: &Value) {
        let text = |key: &str| value.get(key).and_then(Value::as_str);
        let place = Place { file: Rc::clone(file), document: Rc::clone(document), base };
        if value.is_null() {
            return;
        }
        let (Some(version), Some(kind)) = (text("apiVersion"), text("kind")) else {
            let problem = place.problem("is no Kubernetes object: apiVersion or kind is missing");
            return self.problems.push(problem);
        };
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        if let (true, Some(items)) =
            (group.is_empty() && kind == "List", value.get("items").and_then(Value::as_array))
        {
            for (i, item) in items.iter().enumerate() {
                self.add_value(file, document, item_path("items", i), item);
            }
            return;
        }
        if group != GROUP {
            return;
        }
        let known = Kind::ALL.into_iter().find(|known| known.as_str() == kind);
        let Some(kind) = known.filter(|_| version == VERSION) else {
            let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
            let problem = place.problem(format!(
                "there is no kind {kind} in {GROUP}/{version}: {GROUP}/{VERSION} has {}",
                kinds.join(", ")
            ));
            return self.problems.push(problem);
        };
        let metadata = |key: &str| {
            let text = value.get("metadata").and_then(|metadata| metadata.get(key)).and_then(Value::as_str);
            text.filter(|text| !text.is_empty()).map(str::to_owned)
        };
        self.objects.push(Object {
            kind,
            namespace: metadata("namespace").unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned()),
            name: metadata("name").unwrap_or_default(),
            value: value.clone(),
            place,
        });
    }

    /// The objects by kind, namespace and name; of objects that stand twice, the first.
    pub fn by_name(&self) -> BTreeMap<(Kind, &str, &str), &Object> {
        let mut found = BTreeMap::new();
        for object in &self.objects {
            found.entry((object.kind, object.namespace.as_str(), object.name.as_str())).or_insert(object);
        }
        found
    }
}

impl Place {
    /// Something wrong with what stands here as a whole.
    fn problem(&self, message: impl Into<String>) -> Problem {
        Problem {
            file: self.file.to_string(),
            line: self.document.lines.get(&self.base).copied().unwrap_or(1),
            severity: Severity::Error,
            object: String::new(),
            path: String::new(),
            message: message.into(),
        }
    }
}

/// The kind of this name, if the group has it.
pub fn kind_of(name: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| kind.as_str() == name)
}
