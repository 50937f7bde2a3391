//! A page with a row for every state, check, cause, condition and reason: what it means, what ends it, and whom to ask.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api::crds::explained;
use crate::api::guide::{self, Ask};

const HEAD: &str = "\
<!-- Made by `sluice crds -o markdown --dir docs/reference`; edit the docstrings in src/api instead. -->
# What a status says

A row for every value that `kubectl get`, `kubectl describe` and the events show: what it means, what ends it, and whom to ask
where it does not end. Start with the columns: STATE says what the rollout does, REASON why, NEXT when something changes by
itself, and MESSAGE (`-o wide`) says all of it in a sentence. `sluice describe ROLLOUT` shows the same with what each cohort gets.

Where nothing at all changes, the controller may not be running: then `status.observedGeneration` stays behind
`metadata.generation`, `kubectl get lease sluice-controller -n sluice-system` has an old `renewTime`, and apps go on getting
what the file has.
";

/// The page.
pub(super) fn page() -> String {
    let mut out = HEAD.to_owned();
    section(
        &mut out,
        ("States", "The column STATE, `status.state`."),
        ["state", "means", "ends", "ask"],
        rows(guide::of_state),
    );
    section(
        &mut out,
        (
            "Checks",
            "Every raise passes these checks, in this order, and waits for the first that does not let it through: the column \
             REASON while the rollout waits, and `status.waitingFor.check`. What lowers passes none. What of the check it is \
             stands behind a colon, such as `Freeze:holidays`. Where a later check would say no as well when that is over, it \
             stands behind a plus, such as `Window+Triggers:crash-rate`: then the time under NEXT is no promise.",
        ),
        ["check", "lets a raise through when", "ends", "ask"],
        rows(guide::of_check),
    );
    section(
        &mut out,
        (
            "Pauses",
            "The column REASON while STATE is `Paused`, and `status.pauses`. A rollout can be paused for several causes.",
        ),
        ["cause", "means", "ends", "ask"],
        rows(guide::of_pause),
    );
    let conditions = guide::CONDITIONS.map(|(name, means, ends, ask)| row(name, means, ends, ask));
    section(
        &mut out,
        (
            "Conditions",
            "`status.conditions` of every kind. Tools that read kstatus (Flux, `kubectl wait`) take Reconciling for in \
             progress and Stalled for failed; a hold of a week is Ready.",
        ),
        ["condition", "True means", "ends", "ask"],
        conditions.to_vec(),
    );
    section(
        &mut out,
        (
            "Reasons",
            "Reasons of events, of entries in `status.history`, of conditions, and of `status.undelivered`. Those that end \
             nothing tell what happened.",
        ),
        ["reason", "means", "ends", "ask"],
        rows(guide::of_reason),
    );
    out
}

fn section(out: &mut String, (title, text): (&str, &str), head: [&str; 4], rows: Vec<[String; 4]>) {
    out.push_str(&format!("\n## {title}\n\n{text}\n\n"));
    out.push_str(&format!("| {} |\n|---|---|---|---|\n", head.join(" | ")));
    rows.iter().for_each(|row| out.push_str(&format!("| {} |\n", row.join(" | "))));
}

/// A row for each value of an enum.
fn rows<T: JsonSchema + DeserializeOwned>(ask: impl Fn(T) -> Ask) -> Vec<[String; 4]> {
    let values = explained::<T>().into_iter().filter_map(|(name, meaning)| {
        let value = serde_json::from_value::<T>(Value::from(name.as_str())).ok()?;
        // The first sentence says what it means, the others what ends it.
        let (means, ends) = match meaning.split_once(". ") {
            Some((means, ends)) => (format!("{means}."), ends.to_owned()),
            None => (meaning, "–".to_owned()),
        };
        Some(row(&name, &means, &ends, ask(value)))
    });
    values.collect()
}

fn row(name: &str, means: &str, ends: &str, ask: Ask) -> [String; 4] {
    [format!("`{name}`"), means.to_owned(), ends.to_owned(), ask.words().to_owned()]
}

#[cfg(test)]
mod tests {
    use super::page;
    use crate::api::State;
    use crate::api::status::{Check, PauseCause};

    #[test]
    fn what_a_rollout_can_wait_for_says_what_ends_it() {
        let page = page();
        let cells = |name: &str| -> Vec<Vec<String>> {
            let rows = page.lines().filter(|line| line.starts_with(&format!("| `{name}` | ")));
            rows.map(|row| row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect())
                .collect()
        };
        let states = State::ALL.map(State::as_str);
        let checks = Check::ALL.map(Check::as_str);
        let causes = PauseCause::ALL.map(PauseCause::as_str);
        for name in states.into_iter().chain(checks).chain(causes) {
            let rows = cells(name);
            assert!(!rows.is_empty(), "{name}");
            for row in rows.iter().take(1) {
                assert_eq!(row.len(), 4, "{row:?}");
                assert!(row[2].len() > 10, "{name} does not say what ends it: {row:?}");
            }
        }
    }
}
