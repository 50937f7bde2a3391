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
pub type Writes = BTreeMap<String, usize>;

impl Audit {
    /// Counts from here on.
    pub fn from_here(path: PathBuf) -> Audit {
        let from = std::fs::metadata(&path).map_or(0, |file| usize::try_from(file.len()).unwrap());
        Audit { path, from }
    }

    /// What the controller has asked to write, refused writes under a name of their own.
    pub fn writes(&self) -> Writes {
        let bytes = std::fs::read(&self.path).unwrap();
        let text = String::from_utf8_lossy(&bytes[self.from..]);
        let mut writes = Writes::new();
        for event in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let verb = event["verb"].as_str().unwrap_or_default();
            let written = ["create", "update", "patch", "delete", "deletecollection"].contains(&verb);
            if event["user"]["username"] != CONTROLLER || !written {
                continue;
            }
            let object = &event["objectRef"];
            let mut name = format!("{verb} {}", object["resource"].as_str().unwrap_or_default());
            if let Some(subresource) = object["subresource"].as_str() {
                name = format!("{name}/{subresource}");
            }
            match event["responseStatus"]["code"].as_u64() {
                Some(200..=299) => {}
                code => name = format!("{name}, answered {}", code.unwrap_or(0)),
            }
            *writes.entry(name).or_default() += 1;
        }
        writes
    }
}

/// How many of the writes are of this name.
pub fn count(writes: &Writes, beginning: &str) -> usize {
    writes.iter().filter(|(name, _)| name.contains(beginning)).map(|(_, count)| count).sum()
}
