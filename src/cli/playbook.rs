//! `sluice playbook`: the plan of a product by week, from files or from a cluster.

use std::path::PathBuf;

use kube::core::DeserializeGuard;

use super::cluster::{self, Cluster, ClusterArgs};
use super::files::{self, InputArgs, lint};
use super::{Failure, playbook_picture, playbook_words, schedule_clock};
use crate::api::{
    CohortSet, FeatureRollout, FeatureRolloutStatus, FlagSet, MicroTime, Playbook, PlaybookStatus,
    RolloutPolicy,
};
use crate::chart::Tone;
use crate::engine::forecast::timeline::{Cause, Entry, state_at, timeline};
use crate::plan::policy::{Bound, Found};
use crate::plan::{self, Plan, Refs};
use crate::playbook::{self, Book, Rollouts, Seen, business};

/// Arguments of `sluice playbook`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Name of the playbook
    name: String,
    /// File or folder to read instead of a cluster (.yaml, .yml, .json; folders with all below them), `-` for standard input
    #[arg(short = 'f', long = "filename", value_name = "PATH")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// As of when, RFC 3339; default: now. With files everything is taken to have gone well until then
    #[arg(long, value_name = "TIME")]
    at: Option<MicroTime>,
    /// Form of the output
    #[arg(short, long, value_enum, default_value = "table")]
    output: Form,
}

/// Form of the output.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A chart by week, and what is blocked, overdue and next
    Table,
    /// JSON for programs: a stable contract
    Json,
    /// A page for a repository or a chat
    Markdown,
    /// The chart as a picture
    Svg,
}

/// A plan, and where it stands.
pub struct Shown {
    /// The plan.
    pub book: Book,
    /// As it is declared.
    pub playbook: Playbook,
    /// Where it stands.
    pub status: PlaybookStatus,
    /// The rollouts that join it, by phase and by when they begin.
    pub courses: Vec<Course>,
    /// As of when.
    pub now: MicroTime,
}

/// The course of a rollout.
pub struct Course {
    /// The phase of the playbook that it joins.
    pub phase: String,
    /// The rollout as the playbook sees it.
    pub seen: Seen,
    /// Its plan if all goes well; nothing where its spec is not valid.
    pub entries: Vec<Entry>,
    /// Of each entry, whether its step has been entered.
    entered: Vec<bool>,
    /// When the last step's hold is over, by the plan.
    pub planned_end: Option<MicroTime>,
    /// When it was completed.
    pub completed_at: Option<MicroTime>,
}

impl Shown {
    /// What to call the plan.
    pub fn title(&self) -> String {
        let name = format!(
            "{}/{}",
            self.playbook.metadata.namespace.as_deref().unwrap_or_default(),
            self.playbook.metadata.name.as_deref().unwrap_or_default()
        );
        match &self.playbook.spec.title {
            Some(title) => format!("{title} ({name})"),
            None => name,
        }
    }
}

impl Course {
    /// The instants that the picture must reach.
    pub fn ends(&self) -> impl Iterator<Item = MicroTime> {
        self.entries.iter().map(|entry| entry.at).chain(self.planned_end).chain(self.completed_at)
    }

    /// How an entry stands at a time.
    pub fn tone(&self, i: usize, now: MicroTime) -> Tone {
        let entered = |i: usize| self.entered.get(i).copied().unwrap_or(false);
        if entered(i) {
            return if self.seen.completed || entered(i + 1) { Tone::Done } else { Tone::Running };
        }
        let is_due = self.entries.get(i).is_some_and(|entry| entry.at <= now);
        match (is_due, self.seen.held.is_some()) {
            _ if self.seen.stopped => Tone::Blocked,
            (true, true) => Tone::Blocked,
            (true, false) => Tone::Late,
            (false, _) => Tone::Planned,
        }
    }
}

/// Prints a plan and where it stands.
pub fn run(args: &Args) -> Result<(), Failure> {
    let shown = match args.files.is_empty() {
        true => cluster::with(&args.cluster, |cluster| from_cluster(cluster, args))?,
        false => from_files(args)?,
    };
    match args.output {
        Form::Table => super::print_exact(&playbook_words::table(&shown)),
        Form::Json => super::print_json(&playbook_words::json(&shown)),
        Form::Markdown => super::print_exact(&playbook_words::markdown(&shown)),
        Form::Svg => {
            let picture = playbook_picture::picture(&shown);
            super::print_exact(&crate::chart::drawing::svg(&picture))
        }
    }
}

fn from_files(args: &Args) -> Result<Shown, Failure> {
    let namespace = args.cluster.namespace();
    let input = files::load(&InputArgs::of(&args.files).in_namespace(namespace))?;
    let checked = lint::check(&input).or_report()?;
    let mut found = checked.typed.playbooks.iter().filter(|((_, name), _)| *name == args.name);
    let Some(((namespace, _), item)) = found.next() else {
        let known: Vec<&str> = checked.typed.playbooks.keys().map(|(_, name)| *name).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let message = format!("there is no Playbook {} in the files: there is {known}", args.name);
        return Err(Failure::Input(message));
    };
    if let Some(((other, _), _)) = found.next() {
        let message =
            format!("namespaces {namespace} and {other} have a Playbook {}: choose with -n", args.name);
        return Err(Failure::Input(message));
    }
    let now = args.at.unwrap_or_else(super::now);
    let joined = checked.typed.rollouts.iter().filter(|((of, _), _)| of == namespace);
    let rollouts: Vec<(FeatureRollout, Option<Plan>)> = joined
        .map(|(key, item)| {
            let plan = checked.plans.get(key).cloned();
            let mut rollout = item.typed.clone();
            rollout.status = plan.as_ref().map(|plan| state_at(plan, now, now));
            (rollout, plan)
        })
        .collect();
    show(item.typed.clone(), rollouts, now)
}

async fn from_cluster(cluster: Cluster, args: &Args) -> Result<Shown, Failure> {
    let api = cluster.api::<DeserializeGuard<Playbook>>();
    let Some(DeserializeGuard(playbook)) = cluster.call(api.get_opt(&args.name)).await? else {
        let message = format!("there is no Playbook {} in namespace {}", args.name, cluster.namespace);
        return Err(Failure::Cluster(message));
    };
    let playbook = playbook
        .map_err(|invalid| Failure::Cluster(format!("Playbook {} cannot be read: {invalid}", args.name)))?;
    let now = match args.at {
        Some(at) => at,
        None => schedule_clock::now(&cluster).await,
    };
    let rollouts: Vec<FeatureRollout> = cluster.list(&cluster.namespace).await?;
    let flag_sets: Vec<FlagSet> = cluster.list(&cluster.namespace).await?;
    let cohort_sets: Vec<CohortSet> = cluster.list(&cluster.namespace).await?;
    let policies: Vec<RolloutPolicy> = cluster.list(&cluster.namespace).await?;
    let plan = |rollout: &FeatureRollout| {
        let reference = rollout.spec.flag_set_ref.as_ref();
        let flag_set = reference.and_then(|reference| named(&flag_sets, &reference.name));
        let cohort_set = plan::cohort_set_name(rollout, flag_set).and_then(|name| named(&cohort_sets, name));
        let bound: Vec<Bound<'_>> = plan::policy::names(rollout, flag_set)
            .map(|(binding, name)| {
                let found = named(&policies, name).map_or(Found::Missing, |policy| Found::Spec(&policy.spec));
                Bound { binding, namespace: &cluster.namespace, name, found }
            })
            .collect();
        let refs = Refs { flag_set, cohort_set, playbook: Some(&playbook), policies: &bound };
        plan::compile(rollout, refs).ok()
    };
    let rollouts = rollouts.into_iter().map(|rollout| {
        let plan = plan(&rollout);
        (rollout, plan)
    });
    show(playbook.clone(), rollouts.collect(), now)
}

fn named<'k, K: kube::ResourceExt>(all: &'k [K], name: &str) -> Option<&'k K> {
    all.iter().find(|object| object.name_any() == name)
}

fn show(
    playbook: Playbook,
    rollouts: Vec<(FeatureRollout, Option<Plan>)>,
    now: MicroTime,
) -> Result<Shown, Failure> {
    let name = playbook.metadata.name.clone().unwrap_or_default();
    let book = playbook::compile(&name, &playbook.spec).map_err(|errors| {
        Failure::Input(format!("Playbook {name} is invalid: {}", plan::join_errors(&errors)))
    })?;
    let prior = playbook.status.clone().unwrap_or_default();
    let criteria = business::verdicts(&book, &prior.criteria, &[]);
    let world = Rollouts::new(&name, rollouts.iter().map(|(rollout, _)| Seen::of(rollout)), criteria.clone());
    let status = playbook::standing(&book, &world, &prior, criteria, now).status;
    let mut courses: Vec<Course> =
        rollouts.iter().filter_map(|(rollout, plan)| course(rollout, plan.as_ref(), &name, now)).collect();
    courses.sort_by(|a, b| {
        let begins = |course: &Course| course.entries.first().map_or(MicroTime::MAX, |entry| entry.at);
        begins(a).cmp(&begins(b)).then_with(|| a.seen.name.cmp(&b.seen.name))
    });
    Ok(Shown { book, playbook, status, courses, now })
}

fn course(rollout: &FeatureRollout, plan: Option<&Plan>, playbook: &str, now: MicroTime) -> Option<Course> {
    let joins = rollout.spec.playbook_ref.as_ref().filter(|joins| joins.name == playbook)?;
    let unwritten = FeatureRolloutStatus::default();
    let status = rollout.status.as_ref().unwrap_or(&unwritten);
    let planned = plan.map(|plan| timeline(plan, status.first_seen.unwrap_or(now)));
    let (entries, planned_end) =
        planned.map(|planned| (planned.entries, planned.completed_at)).unwrap_or_default();
    let index = |phase: &str, number: i32| {
        let steps = &plan?.steps;
        steps.iter().position(|step| step.phase == phase && i32::try_from(step.number) == Ok(number))
    };
    let at = status.position.as_ref().and_then(|position| index(&position.phase, position.number));
    let is_entered = |entry: &Entry| {
        let step = index(&entry.phase, entry.step);
        let by_then = entry.cause != Cause::CohortDelay || entry.at <= now;
        at.zip(step).is_some_and(|(at, step)| step <= at) && by_then && status.rollback.is_none()
    };
    Some(Course {
        phase: joins.phase.clone(),
        seen: Seen::of(rollout),
        entered: entries.iter().map(is_entered).collect(),
        entries,
        planned_end,
        completed_at: status.completed_at,
    })
}
