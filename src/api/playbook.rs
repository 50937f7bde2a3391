//! Playbook: the plan of a product by weeks, its phases, tasks, milestones and risks, which rollouts join.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TimeOfDay;
use super::date::CivilDate;
use super::featurerollout::Dependency;
use super::playbook_status::PlaybookStatus;
use super::trigger::Criterion;

/// Highest number of phases of a playbook.
pub const MAX_PHASES: usize = 16;
/// Highest number of milestones of a playbook.
pub const MAX_MILESTONES: usize = 32;
/// The last week that anything can be planned for: ten years.
pub const LAST_WEEK: i32 = 520;

/// The plan of a product by weeks.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "sluice.dev",
    version = "v1alpha1",
    kind = "Playbook",
    plural = "playbooks",
    shortname = "pbook",
    category = "sluice",
    namespaced,
    status = "PlaybookStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "A Playbook is the plan of a product by weeks: phases with tasks, milestones, risks and targets. Rollouts join a phase, and start when it is open.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether the plan holds together"
    ),
    printcolumn(
        name = "Week",
        type_ = "string",
        json_path = ".status.week",
        description = "The current week of all weeks"
    ),
    printcolumn(
        name = "Phase",
        type_ = "string",
        json_path = ".status.phase",
        description = "The phases that are open and not finished"
    ),
    printcolumn(
        name = "Progress",
        type_ = "string",
        json_path = ".status.progress",
        description = "Tasks done and rollouts completed, of all"
    ),
    printcolumn(
        name = "Blocked",
        type_ = "integer",
        json_path = ".status.blockedCount",
        description = "Phases and rollouts that wait for somebody"
    ),
    printcolumn(
        name = "Overdue",
        type_ = "integer",
        json_path = ".status.overdueCount",
        description = "Milestones whose week is over and that are not reached, and phases whose weeks are over and that are not finished"
    ),
    printcolumn(
        name = "Next",
        type_ = "string",
        json_path = ".status.nextMilestone",
        description = "The next milestone and its week"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "Why"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1,
        description = "Why, in words"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct PlaybookSpec {
    /// Name of the plan for people. Optional.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub title: Option<String>,
    /// The date on which week 1 begins, such as `2025-09-08`, in `timeZone`.
    pub start_date: CivilDate,
    /// The local time at which each week begins, such as `09:00`; default `00:00`. A step with `week: 3` of a rollout that
    /// joins the playbook is entered at this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<TimeOfDay>,
    /// IANA time zone of the date and the time, such as `America/Los_Angeles`; default UTC. Weeks are counted on the calendar,
    /// so each begins at the same local time, also after a change of clocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
    /// The phases of the plan, in the order in which they are shown. Their weeks may overlap.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = Rule::new("self.all(p, self.exists_one(q, q.name == p.name))").message("phase names must be unique"))]
    pub phases: Vec<PlaybookPhase>,
    /// Events that are expected in a week, by which the plan is measured. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = Rule::new("self.all(m, self.exists_one(n, n.name == m.name))").message("milestone names must be unique"))]
    pub milestones: Vec<Milestone>,
    /// What may go wrong, and what is done about it. Risks are shown and counted; they hold nothing back. Default:
    /// none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub risks: Vec<Risk>,
    /// Targets of the product as a whole, which no single rollout stands for. They are measured from the first week on, each
    /// in its `interval` (default 5m), and a phase may require them. A `metric` may use templates of the playbook's namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = Rule::new("self.all(c, self.exists_one(d, d.name == c.name))").message("criterion names must be unique"))]
    pub criteria: Vec<Criterion>,
}

/// A phase of the plan. It opens at the beginning of its first week, and never closes by time: it is finished when its
/// tasks are done and its rollouts completed.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PlaybookPhase {
    /// Name, unique in the playbook; rollouts join the phase by it.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Name of the phase for people. Optional.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub title: Option<String>,
    /// What this phase is for. Optional; for people only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub goal: Option<String>,
    /// The weeks that it is planned for.
    pub weeks: WeekRange,
    /// Work for people, in groups. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub sections: Vec<Section>,
    /// What must be so before a rollout that joins this phase starts. It is asked at a rollout's first start only: a
    /// task that is unticked later stops nobody who has started. Missing objects are waited for. Default: nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub requires: Vec<Requirement>,
}

/// A range of weeks, both inside.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.from <= self.to").message("weeks.from must not come after weeks.to"))]
pub struct WeekRange {
    /// The first week, from 1.
    #[schemars(range(min = 1, max = 520))]
    pub from: i32,
    /// The last week, which is in the range.
    #[schemars(range(min = 1, max = 520))]
    pub to: i32,
}

/// A group of tasks.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Section {
    /// What the tasks are about.
    #[schemars(length(min = 1, max = 256))]
    pub title: String,
    /// The tasks of the group, in order.
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["id"]))]
    pub tasks: Vec<Task>,
}

/// Work for people. Whoever has done it says so in git.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// Identifier, unique in the playbook, by which a phase requires the task.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub id: String,
    /// What there is to do.
    #[schemars(length(min = 1, max = 256))]
    pub title: String,
    /// Who does the work. Optional; for people only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub owner: Option<String>,
    /// Whether it is done; default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub done: bool,
}

/// What must be so before a phase lets rollouts start. Exactly one of `task`, `rollout`, `milestone` and `criterion`.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.task), has(self.rollout), has(self.milestone), has(self.criterion)].exists_one(r, r)").message("give exactly one of task, rollout, milestone and criterion"))]
pub struct Requirement {
    /// The task with this `id` is done. Give exactly one of `task`, `rollout`, `milestone` and `criterion`; there is no
    /// default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub task: Option<String>,
    /// A rollout of the namespace has come far enough: `{name: dreams, condition: Completed}` or `{name: dreams, phase:
    /// ga}`, which is that phase of the rollout entered. Give exactly one of `task`, `rollout`, `milestone` and
    /// `criterion`; there is no default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Dependency>,
    /// The milestone of this name is reached. Give exactly one of `task`, `rollout`, `milestone` and `criterion`; there
    /// is no default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub milestone: Option<String>,
    /// A criterion passes, of the playbook or of a rollout. What is not measured does not pass. Give exactly one of
    /// `task`, `rollout`, `milestone` and `criterion`; there is no default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub criterion: Option<CriterionRef>,
}

/// A criterion that something else looks at.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CriterionRef {
    /// The FeatureRollout that has the criterion; default: the playbook itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub rollout: Option<String>,
    /// Name of the criterion. It must have a bound.
    #[schemars(length(min = 1, max = 40))]
    pub name: String,
}

/// Something that is expected in a week.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Milestone {
    /// Name, unique in the playbook.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Name of the milestone for people. Optional.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub title: Option<String>,
    /// The week in which it is expected; when the week is over and it is not reached, it is overdue.
    #[schemars(range(min = 1, max = 520))]
    pub week: i32,
    /// When it is reached.
    pub when: When,
}

/// When a milestone is reached. Exactly one of `rollout`, `phase` and `tasks`.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.rollout), has(self.phase), has(self.tasks)].exists_one(w, w)").message("give exactly one of rollout, phase and tasks"))]
pub struct When {
    /// A rollout of the namespace has come far enough. Give exactly one of `rollout`, `phase` and `tasks`; there is no
    /// default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Dependency>,
    /// This phase of the playbook is finished: its tasks are done and its rollouts completed. Give exactly one of
    /// `rollout`, `phase` and `tasks`; there is no default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub phase: Option<String>,
    /// All of these tasks are done; they are named by their `id`. Give exactly one of `rollout`, `phase` and `tasks`;
    /// there is no default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub tasks: Option<Vec<String>>,
}

/// What may go wrong.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Risk {
    /// What may go wrong.
    #[schemars(length(min = 1, max = 256))]
    pub title: String,
    /// What it concerns, such as `Technical`, `Business` or `Communication`.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// What is done about it. Optional; for people only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub mitigation: Option<String>,
    /// Who sees to that. Optional; for people only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub owner: Option<String>,
    /// Whether what is done about it is in place; default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub done: bool,
}

/// The place of a rollout in a playbook.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PlaybookRef {
    /// Name of a Playbook of the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Name of one of its phases.
    #[schemars(length(min = 1, max = 63))]
    pub phase: String,
}
