//! Counts of what was written, from the API server's own audit log.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use crate::world::CONTROLLER;

/// The audit log from a point on.
pub struct Audit {
    path: PathBuf,
    from: usize,
}

/// Requests of the controller by verb and resource.
pub type Calls = BTreeMap<String, usize>;

const WRITES: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];
const READS: [&str; 2] = ["get", "list"];

impl Audit {
    /// Counts from here on.
    pub fn from_here(path: PathBuf) -> Audit {
        let from = std::fs::metadata(&path).map_or(0, |file| usize::try_from(file.len()).unwrap());
        Audit { path, from }
    }

    /// What the controller has asked to write, refused writes under a name of their own.
    pub fn writes(&self) -> Calls {
        self.calls(&WRITES)
    }

    /// What the controller has read, refused reads under a name of their own.
    pub fn reads(&self) -> Calls {
        self.calls(&READS)
    }

    fn calls(&self, verbs: &[&str]) -> Calls {
        let bytes = std::fs::read(&self.path).unwrap();
        let text = String::from_utf8_lossy(&bytes[self.from..]);
        let mut calls = Calls::new();
        for event in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let verb = event["verb"].as_str().unwrap_or_default();
            if event["user"]["username"] != CONTROLLER || !verbs.contains(&verb) {
                continue;
            }
            let object = &event["objectRef"];
            let mut name = format!("{verb} {}", object["resource"].as_str().unwrap_or_default());
            if let Some(subresource) = object["subresource"].as_str() {
                name = format!("{name}/{subresource}");
            }
            match event["responseStatus"]["code"].as_u64() {
                Some(200..=299) => {}
                code => name = format!("{name}{ANSWERED}{}", code.unwrap_or(0)),
            }
            *calls.entry(name).or_default() += 1;
        }
        calls
    }
}

/// How the name of a call that failed goes on.
const ANSWERED: &str = ", answered ";

/// How many of the calls failed. A ConfigMap that is looked for before it exists is no failure.
pub fn failed(calls: &Calls) -> usize {
    let is_failure = |name: &str| name.contains(ANSWERED) && name != format!("get configmaps{ANSWERED}404");
    calls.iter().filter(|(name, _)| is_failure(name)).map(|(_, count)| count).sum()
}

/// How many of the calls are of this name.
pub fn count(calls: &Calls, beginning: &str) -> usize {
    calls.iter().filter(|(name, _)| name.contains(beginning)).map(|(_, count)| count).sum()
}
