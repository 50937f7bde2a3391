//! What is asked of a source, and what it says: values without any I/O.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use crate::api::metrictemplate::Reducer;
use crate::api::{MicroTime, Reading};

/// For whom a query is made.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Namespace of the operator, whose MetricSources are used.
    pub operator_namespace: &'a str,
    /// Namespace of the template: whoever writes it must be allowed to ask the source.
    pub template_namespace: &'a str,
    /// Namespace of the rollout, about which is asked.
    pub namespace: &'a str,
    /// Name of the rollout.
    pub rollout: &'a str,
    /// Key of the flag.
    pub flag: &'a str,
    /// How often the query is made.
    pub interval: SignedDuration,
}

/// A finished query: arguments filled in, the namespace forced where the source asks for that.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Query {
    /// Whose query it is: equal ones of two namespaces are two, so that none waits in another's turn.
    pub(super) namespace: String,
    pub(super) ask: Ask,
    /// Name and value of the header that names the tenant.
    pub(super) tenant: Option<(String, String)>,
    pub(super) reducer: Reducer,
    pub(super) max_age: SignedDuration,
}

/// What is sent, by the source's language.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ask {
    Promql { query: String, count: Option<String> },
    Json { parameters: Vec<(String, String)>, path: String, count: Option<String> },
}

impl Query {
    /// A query of a namespace with this text.
    #[cfg(test)]
    pub(super) fn for_tests(namespace: &str, text: &str) -> Query {
        Query {
            namespace: namespace.to_owned(),
            ask: Ask::Promql { query: text.to_owned(), count: None },
            tenant: None,
            reducer: Reducer::One,
            max_age: SignedDuration::ZERO,
        }
    }

    /// The query in the source's language, for people.
    pub fn text(&self) -> &str {
        match &self.ask {
            Ask::Promql { query, .. } => query,
            Ask::Json { path, .. } => path,
        }
    }
}

/// A query at an instant.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// What is asked.
    pub query: Query,
    /// The label that tells the cohorts apart, where each has a series of its own.
    pub per_cohort: Option<String>,
    /// The instant whose measurement is wanted.
    pub at: MicroTime,
    /// How often the query is made; equal ones share an answer for that long, and for 30 s at most.
    pub interval: SignedDuration,
}

/// What a request gave.
#[derive(Clone, Debug, PartialEq)]
pub enum Readings {
    /// One reading for the whole audience: the answer to a request without `per_cohort`, whatever it is.
    Whole(Reading),
    /// One reading for each value of the label. A cohort that is not in it has no data.
    ByLabel(BTreeMap<String, Reading>),
    /// Nothing that could be told apart by the label: an error, or no data. It counts for every cohort.
    Failed(Reading),
    /// The error that the source was not asked, as its limits left no room in time: the next measurement makes up for it.
    Unasked(Reading),
}

impl Readings {
    /// The reading of one cohort.
    pub fn of_cohort(&self, cohort: &str) -> Reading {
        match self {
            Readings::Whole(reading) | Readings::Failed(reading) | Readings::Unasked(reading) => {
                reading.clone()
            }
            Readings::ByLabel(map) => map
                .get(cohort)
                .cloned()
                .unwrap_or_else(|| Reading::NoData("no series of the cohort".to_owned())),
        }
    }

    /// The same reading for everybody, as the request wants it told.
    pub(super) fn everybody(reading: Reading, per_cohort: Option<&str>) -> Readings {
        match per_cohort {
            Some(_) => Readings::Failed(reading),
            None => Readings::Whole(reading),
        }
    }
}
