//! Where the file of a FlagSet is, as its status says: in its outputs, and where it was written to before. Apps may read on what is no
//! output any more, so that is kept up to date until somebody deletes it.

use std::collections::BTreeMap;

use super::target::{Target, targets};
use super::{FileReport, Hub};
use crate::api::flagset::FileOutput;
use crate::api::{FlagSet, FlagSetStatus};
use crate::controller::index::SetId;

/// Former outputs that are kept up to date.
const MOST_FORMER: usize = 16;

/// The places that the file of a set was written to and that its spec names no more: by its status, and by what this process has
/// `seen` last.
pub(super) fn former(set: &SetId, flag_set: &FlagSet, mut seen: BTreeMap<FileOutput, bool>) -> Vec<Target> {
    let status = flag_set.status.as_ref().map(|status| status.outputs.as_slice()).unwrap_or_default();
    // As long as the status names what is gone, that is found anew, and said anew.
    seen.retain(|_, holds| *holds);
    let all = whereabouts(&named(set, flag_set), status, &seen);
    all.into_iter().filter(|output| output.former).filter_map(Target::of_output).collect()
}

/// Whether a ConfigMap holds the file of a FlagSet: as an output, or as what was one and is kept up to date.
pub fn holds_flags(hub: &Hub, set: &SetId, flag_set: &FlagSet, config_map: &str) -> bool {
    let former = former(set, flag_set, hub.seen_outputs(set));
    let mut all = targets(set, Some(flag_set)).into_iter().chain(former);
    all.any(|target| matches!(target, Target::ConfigMap(output) if output.config_map == config_map))
}

/// Where the file of a FlagSet is, as its status is to say.
pub fn outputs_of_status(
    set: &SetId,
    flag_set: &FlagSet,
    prior: &FlagSetStatus,
    report: &FileReport,
) -> Vec<FileOutput> {
    whereabouts(&named(set, flag_set), &prior.outputs, &report.outputs)
}

fn named(set: &SetId, flag_set: &FlagSet) -> Vec<FileOutput> {
    targets(set, Some(flag_set)).iter().map(Target::as_output).collect()
}

/// What was written, in words, and where besides the outputs.
pub fn written(report: &FileReport, outputs: &[FileOutput]) -> String {
    let former: Vec<String> = outputs.iter().filter(|output| output.former).map(FileOutput::title).collect();
    let more = match former.as_slice() {
        [] => String::new(),
        [one] => format!("; {one} is no output any more and is kept up to date until it is deleted"),
        many => format!(
            "; {} are no outputs any more and are kept up to date until they are deleted",
            many.join(", ")
        ),
    };
    format!("{} flags in {} bytes{more}", report.flags, report.size)
}

/// Where the file is: first those of the `named` outputs that hold it, by what was `seen`, or by what was known `before` where nobody has
/// looked; then what is no output any more, the last ones first.
fn whereabouts(
    named: &[FileOutput],
    before: &[FileOutput],
    seen: &BTreeMap<FileOutput, bool>,
) -> Vec<FileOutput> {
    let plain = |output: &FileOutput| FileOutput { former: false, ..output.clone() };
    let (lately, long_ago): (Vec<&FileOutput>, Vec<&FileOutput>) =
        before.iter().partition(|output| !output.former);
    let mut known: Vec<FileOutput> = lately.into_iter().map(plain).collect();
    let news: Vec<FileOutput> =
        seen.keys().filter(|output| !before.iter().any(|was| plain(was) == **output)).cloned().collect();
    known.extend(long_ago.into_iter().map(plain));
    known.extend(news);
    known.retain(|output| seen.get(output).copied().unwrap_or(true));
    let (now, former): (Vec<FileOutput>, Vec<FileOutput>) =
        known.into_iter().partition(|output| named.iter().any(|named| named.is_same_object(output)));
    let now = named.iter().filter(|output| now.contains(output)).cloned();
    now.chain(former.into_iter().take(MOST_FORMER).map(|output| FileOutput { former: true, ..output }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(name: &str) -> FileOutput {
        FileOutput {
            config_map: Some(name.to_owned()),
            key: Some("flags.json".to_owned()),
            ..FileOutput::default()
        }
    }

    fn former_map(name: &str) -> FileOutput {
        FileOutput { former: true, ..map(name) }
    }

    fn seen(all: &[(FileOutput, bool)]) -> BTreeMap<FileOutput, bool> {
        all.iter().cloned().collect()
    }

    #[test]
    fn what_was_an_output_is_known_until_it_is_gone() {
        let flag = FileOutput { feature_flag: Some("live".to_owned()), ..FileOutput::default() };
        let first =
            whereabouts(&[map("old"), flag.clone()], &[], &seen(&[(map("old"), true), (flag.clone(), true)]));
        assert_eq!(first, [map("old"), flag.clone()]);
        // Before anybody has looked, and afterwards.
        let former_flag = FileOutput { former: true, ..flag.clone() };
        for looked in [seen(&[]), seen(&[(map("old"), true), (flag.clone(), true)])] {
            let renamed = whereabouts(&[map("new")], &first, &looked);
            assert_eq!(renamed, [former_map("old"), former_flag.clone()]);
        }
        let all = seen(&[(map("new"), true), (map("old"), true), (flag.clone(), false)]);
        let written = whereabouts(&[map("new")], &first, &all);
        assert_eq!(written, [map("new"), former_map("old")]);
        // Once more, and back again.
        let again = whereabouts(&[map("newer")], &written, &seen(&[(map("newer"), true)]));
        assert_eq!(again, [map("newer"), former_map("new"), former_map("old")]);
        let back = whereabouts(&[map("old")], &again, &seen(&[(map("newer"), true), (map("new"), false)]));
        assert_eq!(back, [map("old"), former_map("newer")]);
    }

    #[test]
    fn of_very_many_the_last_ones_are_kept() {
        let mut known: Vec<FileOutput> = Vec::new();
        for i in 0..40 {
            let name = map(&format!("m{i}"));
            known = whereabouts(std::slice::from_ref(&name), &known, &seen(&[(name.clone(), true)]));
        }
        assert_eq!(known.len(), 1 + MOST_FORMER);
        assert_eq!((&known[0], &known[1], &known[16]), (&map("m39"), &former_map("m38"), &former_map("m23")));
    }

    /// The schema refuses such a spec: nothing would tell of the key that is no output any more.
    #[test]
    fn one_config_map_is_one_output_whatever_its_key() {
        let other = FileOutput { key: Some("other.json".to_owned()), ..map("app") };
        assert_eq!(
            whereabouts(std::slice::from_ref(&other), &[map("app")], &seen(&[(other.clone(), true)])),
            [other]
        );
    }
}
