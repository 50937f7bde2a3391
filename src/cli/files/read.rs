//! The objects of files, folders and standard input.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use clap::Args;
use serde_json::Value;

use super::folder::{Folder, Seems};
use super::object::{Kind, Object, Place};
use super::problem::{Problem, Severity};
use super::yaml::{self, Document, item_path};
use crate::api::{GROUP, VERSION};
use crate::cli::output::Failure;

/// Namespace of an object that names none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// Where offline commands read.
#[derive(Args, Clone, Debug)]
pub struct InputArgs {
    /// The same as PATH behind the command
    #[arg(short = 'f', long = "filename", value_name = "PATH", required_unless_present = "paths")]
    files: Vec<PathBuf>,
    /// File or folder to read (.yaml, .yml, .json; folders with all below them), `-` for standard input
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Only the objects of this namespace; objects that name none are in `default`
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
}

impl InputArgs {
    /// Everything in these files and folders.
    pub fn of(files: &[PathBuf]) -> InputArgs {
        InputArgs { files: files.to_vec(), paths: Vec::new(), namespace: None }
    }

    /// Of those only the objects of a namespace, where one is given.
    pub fn in_namespace(self, namespace: Option<&str>) -> InputArgs {
        InputArgs { namespace: namespace.map(str::to_owned), ..self }
    }

    /// The files and folders, however they were given.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.files.iter().chain(&self.paths)
    }
}

/// What was read.
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// The objects of `sluice.dev` in the order of files and documents.
    pub objects: Vec<Object>,
    /// Files that hold manifests, of whatever group.
    pub files: usize,
    /// Labels of the namespaces that the files have, by name.
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// What is wrong with the texts, and with documents that are no object at all.
    pub problems: Vec<Problem>,
    /// Files of folders that hold nothing of `sluice.dev`, each with the reason where that is not all.
    pub passed_over: Vec<String>,
}

/// How the documents of a text are taken.
#[derive(Clone, Debug)]
enum Manner {
    /// A file that was named, or standard input: every document must be an object of Kubernetes.
    Named,
    /// A file that was found in a folder: folders hold other people's files, too, and only what is of `sluice.dev` is judged.
    Found {
        /// The folder of the `kustomization.yaml` beside it.
        kustomized: Option<Rc<str>>,
    },
}

/// Reads everything that `args` names.
///
/// # Errors
/// A file or folder that was named and cannot be read. What is wrong inside of the files is in the input's problems.
pub fn load(args: &InputArgs) -> Result<Input, Failure> {
    let mut input = Input::default();
    let mut seen = std::collections::BTreeSet::new();
    let mut is_new =
        |path: &Path| seen.insert(std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()));
    for path in args.files() {
        let name = path.display().to_string();
        let failure = |error: std::io::Error| Failure::Input(format!("{name}: {error}"));
        if path.is_dir() {
            let folder = Folder::read(path).map_err(failure)?;
            input.add_folder(&name, &folder, &mut is_new);
        } else if is_new(path) {
            input.add_bytes(&name, &read_bytes(path).map_err(failure)?);
        }
    }
    if let Some(namespace) = &args.namespace {
        let binds = |object: &Object| {
            object.kind == Kind::RolloutPolicy && object.value.pointer("/spec/namespaceSelector").is_some()
        };
        input.objects.retain(|object| object.namespace == *namespace || binds(object));
        // Problems of a text as a whole concern every namespace.
        let mine = |problem: &Problem| {
            problem.object.is_empty() || problem.object.contains(&format!(" {namespace}/"))
        };
        input.problems.retain(mine);
    }
    Ok(input)
}

/// The text of a file, or with `-` of standard input.
pub fn read(path: &Path) -> std::io::Result<String> {
    let bytes = read_bytes(path)?;
    String::from_utf8(bytes).map_err(|error| {
        let line = line_of(error.as_bytes(), error.utf8_error().valid_up_to());
        std::io::Error::other(format!("line {line} is not UTF-8"))
    })
}

fn read_bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes)?;
        return Ok(bytes);
    }
    std::fs::read(path)
}

fn line_of(bytes: &[u8], at: usize) -> usize {
    1 + bytes.iter().take(at).filter(|byte| **byte == b'\n').count()
}

/// Whether a text may hold an object of `sluice.dev`: what names neither the group nor one of its kinds does not.
fn concerns_us(bytes: &[u8]) -> bool {
    mentions_group(bytes) || Kind::ALL.iter().any(|kind| holds(bytes, kind.as_str()))
}

fn mentions_group(bytes: &[u8]) -> bool {
    holds(bytes, GROUP)
}

fn holds(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|window| window == word.as_bytes())
}

impl Input {
    /// Adds what a folder holds of `sluice.dev`. One that holds nothing of it is a typo in somebody's pipeline.
    fn add_folder(&mut self, name: &str, folder: &Folder, mut is_new: impl FnMut(&Path) -> bool) {
        let before = (self.objects.len(), self.problems.len(), self.passed_over.len());
        for path in folder.files.iter().filter(|path| is_new(path)) {
            self.add_found(path, folder);
        }
        self.passed_over.extend(folder.unreadable.iter().cloned());
        let wrong = self.problems.iter().skip(before.1).any(|problem| problem.severity == Severity::Error);
        if self.objects.len() == before.0 && !wrong {
            let passed = self.passed_over.len() - before.2;
            let message = format!(
                "holds no object of {GROUP} to judge: is it the right folder? {} passed over",
                super::problem::count(passed, "other file")
            );
            self.problems.push(whole(name, 0, Severity::Error, message));
        }
    }

    fn add_found(&mut self, path: &Path, folder: &Folder) {
        let name = path.display().to_string();
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) => return self.passed_over.push(format!("{name} ({error})")),
        };
        if !concerns_us(&bytes) {
            // Policies bind namespaces by their labels.
            if holds(&bytes, "Namespace") {
                self.note_namespaces(&String::from_utf8_lossy(&bytes));
            }
            return self.passed_over.push(name);
        }
        if let Some(seems) = folder.seems(path) {
            if mentions_group(&bytes) {
                self.problems.push(whole(&name, 0, Severity::Warning, seems.to_string()));
            }
            return self.passed_over.push(name);
        }
        match std::str::from_utf8(&bytes) {
            Ok(text) => {
                let kustomized = folder.kustomized(path).map(Rc::from);
                let before = (self.objects.len(), self.problems.len());
                self.add_documents(&name, text, &Manner::Found { kustomized });
                if before == (self.objects.len(), self.problems.len()) {
                    self.passed_over.push(name);
                }
            }
            Err(error) if mentions_group(&bytes) => self.add_not_utf8(&name, &bytes, error),
            Err(_) => self.passed_over.push(format!("{name} (not UTF-8)")),
        }
    }

    /// Adds a file that was named, whole.
    fn add_bytes(&mut self, name: &str, bytes: &[u8]) {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.add(name, text),
            Err(error) => self.add_not_utf8(name, bytes, error),
        }
    }

    fn add_not_utf8(&mut self, name: &str, bytes: &[u8], error: std::str::Utf8Error) {
        let line = line_of(bytes, error.valid_up_to());
        self.problems.push(whole(name, line, Severity::Error, "is not UTF-8 from here on".to_owned()));
    }

    /// Adds the documents of a text that was named; every one must be an object of Kubernetes.
    pub fn add(&mut self, file: &str, text: &str) {
        let before = (self.files, self.problems.len());
        self.add_documents(file, text, &Manner::Named);
        if before == (self.files, self.problems.len()) {
            self.problems.push(whole(file, 0, Severity::Error, "is empty".to_owned()));
        }
    }

    fn add_documents(&mut self, file: &str, text: &str, manner: &Manner) {
        let file: Rc<str> = file.into();
        let mut counted = false;
        for document in yaml::documents(text.trim_start_matches('\u{feff}')) {
            let document = Rc::new(document);
            let broken = document.value.is_null() && !document.problems.is_empty();
            if let (Manner::Found { .. }, true) = (manner, broken) {
                self.add_broken(&file, &document);
                continue;
            }
            let before = self.objects.len();
            let known = self.add_value(&file, &document, String::new(), &document.value, manner);
            // Of a folder's files those count that hold something of ours.
            if known && (matches!(manner, Manner::Named) || self.objects.len() > before) {
                self.files += usize::from(!std::mem::replace(&mut counted, true));
            }
            let object = match self.objects.get(before) {
                Some(object) if self.objects.len() == before + 1 => object.title(),
                _ => String::new(),
            };
            // What is wrong with other groups' objects is not ours to say, unless it breaks the text.
            if self.objects.len() > before || broken {
                self.add_problems(&file, &object, &document);
            }
        }
    }

    /// Takes note of the namespaces in a text that holds nothing else of ours.
    fn note_namespaces(&mut self, text: &str) {
        for document in yaml::documents(text.trim_start_matches('\u{feff}')) {
            self.note_namespace(&document.value);
        }
    }

    fn note_namespace(&mut self, value: &Value) {
        let is = |key: &str, what: &str| value.get(key).and_then(Value::as_str) == Some(what);
        let name = value.pointer("/metadata/name").and_then(Value::as_str);
        let Some(name) = name.filter(|_| is("apiVersion", "v1") && is("kind", "Namespace")) else { return };
        let labels = value.pointer("/metadata/labels").and_then(Value::as_object);
        let text = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
        self.namespaces.insert(name.to_owned(), labels.into_iter().flatten().filter_map(text).collect());
    }

    /// A document of a folder's file that is no YAML, which may never have been meant to be.
    fn add_broken(&mut self, file: &Rc<str>, document: &Document) {
        if !document.mentions(GROUP) {
            return;
        }
        if Seems::template(&document.text) {
            let line = document.problems.first().map_or(0, |(line, ..)| *line);
            self.problems.push(whole(file, line, Severity::Warning, Seems::Template.to_string()));
        } else {
            self.add_problems(file, "", document);
        }
    }

    fn add_problems(&mut self, file: &str, object: &str, document: &Document) {
        for (line, path, message) in &document.problems {
            self.problems.push(Problem {
                file: file.to_owned(),
                line: *line,
                severity: Severity::Error,
                object: object.to_owned(),
                path: path.clone(),
                message: message.clone(),
            });
        }
    }

    /// Adds the objects of a value; whether it is an object of Kubernetes, of whatever group.
    fn add_value(
        &mut self,
        file: &Rc<str>,
        document: &Rc<Document>,
        base: String,
        value: &Value,
        manner: &Manner,
    ) -> bool {
        let text = |key: &str| value.get(key).and_then(Value::as_str);
        let kustomized = match manner {
            Manner::Named => None,
            Manner::Found { kustomized } => kustomized.clone(),
        };
        let place = Place { file: Rc::clone(file), document: Rc::clone(document), base, kustomized };
        if value.is_null() {
            return false;
        }
        let known = text("kind").and_then(|name| Kind::ALL.into_iter().find(|known| known.as_str() == name));
        let (Some(version), Some(kind)) = (text("apiVersion"), text("kind")) else {
            if matches!(manner, Manner::Named) {
                self.problems.push(place.problem("is no Kubernetes object: apiVersion or kind is missing"));
                return true;
            }
            if let Some(kind) = known {
                let kind = kind.as_str();
                let message = format!("{kind}: apiVersion is missing: write {GROUP}/{VERSION}");
                self.problems.push(place.problem(message));
            }
            return known.is_some();
        };
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        if let (true, Some(items)) =
            (group.is_empty() && kind == "List", value.get("items").and_then(Value::as_array))
        {
            for (i, item) in items.iter().enumerate() {
                self.add_value(file, document, item_path("items", i), item, manner);
            }
            return true;
        }
        if group != GROUP {
            self.note_namespace(value);
            if let (true, Some(kind)) = (group.is_empty(), known) {
                let kind = kind.as_str();
                let message = format!("{kind} is no kind of {version}: write apiVersion: {GROUP}/{VERSION}");
                self.problems.push(place.problem(message));
            }
            return true;
        }
        let Some(kind) = known.filter(|_| version == VERSION) else {
            let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
            let problem = place.problem(format!(
                "there is no kind {kind} in {GROUP}/{version}: {GROUP}/{VERSION} has {}",
                kinds.join(", ")
            ));
            self.problems.push(problem);
            return true;
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
        true
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

/// Something to say of a file as a whole, or from a line on.
fn whole(file: &str, line: usize, severity: Severity, message: String) -> Problem {
    Problem { file: file.to_owned(), line, severity, object: String::new(), path: String::new(), message }
}

#[cfg(test)]
mod tests;
