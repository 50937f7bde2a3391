//! From what status says is served to the flagd JSON that apps read. Nothing here knows a client, a runtime or a clock.

mod announcement;
mod bucket;
mod budget;
mod canonical;
pub mod check;
pub mod condition;
mod engine;
pub mod evaluate;
mod evaluators;
pub mod feature_flag;
pub mod file;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod fragment;
pub mod meaning;
pub mod merge;
mod model;
pub mod schema;
mod shallow;
pub mod signature;
#[cfg(test)]
mod split_tests;
mod statics;

pub use announcement::{announced_feature, announcement_key};
pub use bucket::{Hash, bucket};
pub use budget::{LIMIT, RAISE_LIMIT};
pub use canonical::sha256_hex;
pub use check::{CheckError, self_check};
pub use condition::condition;
pub use evaluate::{EvaluateError, Evaluation, evaluate, evaluate_as};
pub use file::{File, FileError, SetMark, compose, parse, parse_within};
pub use fragment::{Fragment, Identity, LiveFlag, LiveRollback, digest, fragment, live};
pub use meaning::takes_in;
pub use merge::{Candidate, Live, Living, Merge, Merged, Outcome, SetInfo, SetOutcome, merge};
pub use shallow::audiences_in;
pub use signature::{Keys, Place, Signed};
pub use statics::Verdict;
