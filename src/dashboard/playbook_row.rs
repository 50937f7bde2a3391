//! A playbook in one row of the list: which week it is, how much is done, and what waits for somebody.

use kube::core::DeserializeGuard;
use serde::Serialize;

use super::board::Shown;
use super::row::{Group, Id};
use crate::api::conditions::{is_true, types};
use crate::api::{Playbook, PlaybookStatus};

/// One row.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PlaybookRow {
    /// Which playbook.
    pub id: Id,
    /// Its name for people; the object's name where it has none.
    pub title: String,
    /// How it stands, in one word or two.
    pub state: String,
    /// How much it needs somebody.
    pub group: Group,
    /// The current week of all weeks.
    pub week: String,
    /// The phases that are open.
    pub phase: String,
    /// Tasks done and rollouts completed, of all.
    pub progress: String,
    /// Phases and rollouts that wait for somebody.
    pub blocked: i32,
    /// Milestones and phases that are late.
    pub overdue: i32,
    /// The next milestone.
    pub next: String,
    /// What is wrong with it, if anything is.
    pub why: String,
}

impl Shown for PlaybookRow {
    type Kind = Playbook;

    fn of(guarded: &DeserializeGuard<Playbook>) -> PlaybookRow {
        match &guarded.0 {
            Ok(playbook) => PlaybookRow::of_playbook(playbook),
            Err(invalid) => {
                let name = invalid.metadata.name.clone().unwrap_or_default();
                let namespace = invalid.metadata.namespace.clone().unwrap_or_default();
                PlaybookRow {
                    title: name.clone(),
                    id: Id { namespace, name },
                    state: "Unreadable".to_owned(),
                    group: Group::Attention,
                    why: invalid.error.clone(),
                    ..PlaybookRow::default()
                }
            }
        }
    }

    fn id(&self) -> &Id {
        &self.id
    }
}

impl PlaybookRow {
    /// The row of a playbook.
    pub fn of_playbook(playbook: &Playbook) -> PlaybookRow {
        let none = PlaybookStatus::default();
        let status = playbook.status.as_ref().unwrap_or(&none);
        let name = playbook.metadata.name.clone().unwrap_or_default();
        let (group, state) = standing(status);
        let stalled = status.conditions.iter().find(|condition| condition.type_ == types::STALLED);
        PlaybookRow {
            title: playbook.spec.title.clone().unwrap_or_else(|| name.clone()),
            id: Id { namespace: playbook.metadata.namespace.clone().unwrap_or_default(), name },
            state: state.to_owned(),
            group,
            week: status.week.clone().unwrap_or_default(),
            phase: status.phase.clone().unwrap_or_default().replace(',', ", "),
            progress: status.progress.clone().unwrap_or_default(),
            blocked: status.blocked_count,
            overdue: status.overdue_count,
            next: status.next_milestone.clone().unwrap_or_default(),
            why: stalled.map(|condition| condition.message.clone()).unwrap_or_default(),
        }
    }
}

/// How much a plan needs somebody, and how that is called.
fn standing(status: &PlaybookStatus) -> (Group, &'static str) {
    let parts = |text: &Option<String>| -> Option<(i32, i32)> {
        let (some, all) = text.as_deref()?.split_once('/')?;
        Some((some.parse().ok()?, all.parse().ok()?))
    };
    match () {
        () if is_true(&status.conditions, types::STALLED) => (Group::Attention, "Invalid"),
        () if status.week.is_none() => (Group::Waiting, "Not known yet"),
        () if status.overdue_count > 0 => (Group::Attention, "Overdue"),
        () if status.blocked_count > 0 => (Group::Person, "Blocked"),
        () if parts(&status.progress).is_some_and(|(done, all)| all > 0 && done == all) => {
            (Group::Finished, "Done")
        }
        () if parts(&status.week).is_some_and(|(week, _)| week < 1) => (Group::Waiting, "Ahead"),
        () => (Group::Moving, "On its way"),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    #[rstest]
    #[case::unwritten(json!({}), Group::Waiting, "Not known yet")]
    #[case::ahead(json!({"week": "0/12", "progress": "0/9"}), Group::Waiting, "Ahead")]
    #[case::on_its_way(json!({"week": "3/12", "progress": "2/9"}), Group::Moving, "On its way")]
    #[case::blocked(json!({"week": "3/12", "progress": "2/9", "blockedCount": 1}), Group::Person, "Blocked")]
    #[case::overdue(json!({"week": "3/12", "blockedCount": 1, "overdueCount": 2}), Group::Attention, "Overdue")]
    #[case::done(json!({"week": "12/12", "progress": "9/9"}), Group::Finished, "Done")]
    #[case::empty(json!({"week": "1/12", "progress": "0/0"}), Group::Moving, "On its way")]
    fn what_needs_somebody_is_told_from_what_goes_on(
        #[case] status: Value,
        #[case] group: Group,
        #[case] state: &str,
    ) {
        let status: PlaybookStatus = serde_json::from_value(status).unwrap();
        assert_eq!(standing(&status), (group, state));
    }

    #[test]
    fn one_that_cannot_be_read_is_there_and_says_why() {
        let object = json!({"metadata": {"name": "maya", "namespace": "shop"}, "spec": {"phases": 1}});
        let guarded: DeserializeGuard<Playbook> = serde_json::from_value(object).unwrap();
        let row = PlaybookRow::of(&guarded);
        assert_eq!((row.id.to_string().as_str(), row.group), ("shop/maya", Group::Attention));
        assert!(row.why.contains("phases") || row.why.contains("integer"), "{}", row.why);
    }
}
