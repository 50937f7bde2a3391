//! One object of the files, and where it stands.

use std::rc::Rc;

use serde_json::Value;

use super::problem::{Problem, Severity};
use super::yaml::Document;

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
    pub(super) place: Place,
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
    NotificationChannel,
    Playbook,
    RolloutAction,
    RolloutPolicy,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 9] = [
        Kind::CohortSet,
        Kind::FeatureRollout,
        Kind::FlagSet,
        Kind::MetricSource,
        Kind::MetricTemplate,
        Kind::NotificationChannel,
        Kind::Playbook,
        Kind::RolloutAction,
        Kind::RolloutPolicy,
    ];

    /// As `kind:` spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::CohortSet => "CohortSet",
            Kind::FeatureRollout => "FeatureRollout",
            Kind::FlagSet => "FlagSet",
            Kind::MetricSource => "MetricSource",
            Kind::MetricTemplate => "MetricTemplate",
            Kind::NotificationChannel => "NotificationChannel",
            Kind::Playbook => "Playbook",
            Kind::RolloutAction => "RolloutAction",
            Kind::RolloutPolicy => "RolloutPolicy",
        }
    }
}

/// Where an object stands.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub file: Rc<str>,
    pub document: Rc<Document>,
    /// Path of the object in its document: empty, or an item of a List.
    pub base: String,
    /// The folder of the `kustomization.yaml` beside the file, where there is one.
    pub kustomized: Option<Rc<str>>,
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

    /// The folder of the `kustomization.yaml` beside the object's file: such an object may be a part of one.
    pub fn kustomized(&self) -> Option<&str> {
        self.place.kustomized.as_deref()
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

impl Place {
    /// Something wrong with what stands here as a whole.
    pub fn problem(&self, message: impl Into<String>) -> Problem {
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
