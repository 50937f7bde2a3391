//! `sluice pause`, `resume`, `approve`, `promote`, `set-percent`, `rollback`, `retry` and `ack`: each creates an action,
//! and waits for its answer and for the file to hold what it changes.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::api::rolloutaction::{
    Action, Answer, Approve, Override, RetryFrom, RetryHow, RollbackHow, RolloutRef,
};
use crate::api::{Duration, Percent, RollbackMode, RolloutActionSpec};
use crate::cli::cluster::{self, ClusterArgs};
use crate::cli::completion;
use crate::cli::output::{self, Failure, Output};
use crate::visible::line;

mod dry_run;
mod wait;

use wait::Answered;

/// What every action has.
#[derive(clap::Args, Debug)]
pub struct Common {
    /// Name of the rollout, also as frol/NAME
    #[arg(add = completion::rollouts())]
    rollout: String,
    /// Why, for the record
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: String,
    /// Age at which the action counts as come too late; default: 10m for what raises, else 1h
    #[arg(long, value_name = "DURATION")]
    expires_after: Option<Duration>,
    /// How long the answer is waited for, and then the file that apps read
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    timeout: Duration,
    /// Only say what would happen: the API server is asked whether it takes the action, and nothing is written
    #[arg(long, value_name = "server", value_enum)]
    dry_run: Option<DryRun>,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Form of the output
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

/// How an action is tried without being carried out.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum DryRun {
    /// With the API server's admission, and the state that is stored
    Server,
}

/// Checks of a raise that an action passes over.
#[derive(clap::Args, Debug)]
pub struct Over {
    /// Checks to pass over; takes the RBAC verb `override`, too
    #[arg(long = "override", value_name = "CHECK", value_enum, ignore_case = true, value_delimiter = ',')]
    overrides: Vec<Check>,
}

/// A check that can be passed over.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Windows
    #[value(name = "Window")]
    Window,
    /// Freezes
    #[value(name = "Freeze")]
    Freeze,
    /// The gates of the phase
    #[value(name = "Gates")]
    Gates,
}

/// Arguments of `sluice pause`, `resume` and `ack`.
#[derive(clap::Args, Debug)]
pub struct PlainArgs {
    #[command(flatten)]
    common: Common,
}

/// Arguments of `sluice approve`.
#[derive(clap::Args, Debug)]
pub struct ApproveArgs {
    #[command(flatten)]
    common: Common,
    /// Phase of the step
    #[arg(long, add = completion::phases())]
    phase: String,
    /// Name of the step
    #[arg(long, add = completion::steps())]
    step: String,
}

/// Arguments of `sluice promote`.
#[derive(clap::Args, Debug)]
pub struct PromoteArgs {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    over: Over,
}

/// Arguments of `sluice set-percent`.
#[derive(clap::Args, Debug)]
pub struct SetPercentArgs {
    #[command(flatten)]
    common: Common,
    /// What to serve, such as regular=12.5%
    #[arg(required = true, value_name = "COHORT=PERCENT", add = completion::cohorts("="))]
    percents: Vec<Share>,
    #[command(flatten)]
    over: Over,
}

/// Arguments of `sluice rollback`.
#[derive(clap::Args, Debug)]
pub struct RollbackArgs {
    #[command(flatten)]
    common: Common,
    /// How fast, and who
    #[arg(long, value_enum, ignore_case = true, default_value = "Immediate")]
    mode: Mode,
    /// A cohort that goes to control; default: all, or with `partial` all but those the rollout keeps
    #[arg(long = "cohort", value_name = "NAME", add = completion::cohorts(""))]
    cohorts: Vec<String>,
}

/// How a rollback goes.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// To control at once
    #[value(name = "Immediate")]
    Immediate,
    /// To control rung by rung
    #[value(name = "Gradual")]
    Gradual,
    /// Some cohorts to control at once
    #[value(name = "Partial")]
    Partial,
}

/// Arguments of `sluice retry`.
#[derive(clap::Args, Debug)]
pub struct RetryArgs {
    #[command(flatten)]
    common: Common,
    /// Where to start again
    #[arg(long, value_enum, ignore_case = true, default_value = "Start")]
    from: From,
    #[command(flatten)]
    over: Over,
}

/// Where a retry starts.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// From the first step
    #[value(name = "Start")]
    Start,
    /// From the first step of the phase that it was in
    #[value(name = "Phase")]
    Phase,
}

/// The percentage of a cohort.
#[derive(Clone, Debug)]
pub struct Share(String, Percent);

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Share, String> {
        let (cohort, percent) = text.split_once('=').ok_or("say COHORT=PERCENT, such as regular=12.5%")?;
        if cohort.is_empty() {
            return Err("which cohort? Say COHORT=PERCENT".to_owned());
        }
        // Whole numbers are percentages as they are, as in a spec.
        let is_whole = !percent.is_empty() && percent.bytes().all(|byte| byte.is_ascii_digit());
        let percent = if is_whole { format!("{percent}%") } else { percent.to_owned() };
        let percent = percent.parse::<Percent>().map_err(|error| error.to_string())?;
        Ok(Share(cohort.to_owned(), percent))
    }
}

/// Asks for what takes nothing but a reason.
pub fn plain(action: Action, args: &PlainArgs) -> Result<(), Failure> {
    ask(&args.common, RolloutActionSpec { action, ..RolloutActionSpec::default() })
}

/// Asks for an approval.
pub fn approve(args: &ApproveArgs) -> Result<(), Failure> {
    let approve = Some(Approve { phase: args.phase.clone(), step: args.step.clone() });
    ask(&args.common, RolloutActionSpec { action: Action::Approve, approve, ..RolloutActionSpec::default() })
}

/// Asks for the next step.
pub fn promote(args: &PromoteArgs) -> Result<(), Failure> {
    let overrides = args.over.checks();
    ask(
        &args.common,
        RolloutActionSpec { action: Action::Promote, overrides, ..RolloutActionSpec::default() },
    )
}

/// Asks for percentages.
pub fn set_percent(args: &SetPercentArgs) -> Result<(), Failure> {
    let mut percents = BTreeMap::new();
    for Share(cohort, percent) in &args.percents {
        if percents.insert(cohort.clone(), *percent).is_some() {
            return Err(Failure::Input(format!("cohort {cohort} is given twice")));
        }
    }
    ask(
        &args.common,
        RolloutActionSpec {
            action: Action::SetPercent,
            set_percent: Some(percents),
            overrides: args.over.checks(),
            ..RolloutActionSpec::default()
        },
    )
}

/// Asks for control.
pub fn rollback(args: &RollbackArgs) -> Result<(), Failure> {
    let mode = match args.mode {
        Mode::Immediate => RollbackMode::Immediate,
        Mode::Gradual => RollbackMode::Gradual,
        Mode::Partial => RollbackMode::Partial,
    };
    let cohorts = (!args.cohorts.is_empty()).then(|| args.cohorts.clone());
    let rollback = Some(RollbackHow { mode, cohorts });
    ask(
        &args.common,
        RolloutActionSpec { action: Action::Rollback, rollback, ..RolloutActionSpec::default() },
    )
}

/// Asks for a new start.
pub fn retry(args: &RetryArgs) -> Result<(), Failure> {
    let from = match args.from {
        From::Start => RetryFrom::Start,
        From::Phase => RetryFrom::Phase,
    };
    ask(
        &args.common,
        RolloutActionSpec {
            action: Action::Retry,
            retry: Some(RetryHow { from }),
            overrides: args.over.checks(),
            ..RolloutActionSpec::default()
        },
    )
}

impl Over {
    fn checks(&self) -> Option<Vec<Override>> {
        let mut checks: Vec<Override> = Vec::new();
        for check in &self.overrides {
            let check = match check {
                Check::Window => Override::Window,
                Check::Freeze => Override::Freeze,
                Check::Gates => Override::Gates,
            };
            if !checks.contains(&check) {
                checks.push(check);
            }
        }
        (!checks.is_empty()).then_some(checks)
    }
}

/// A reason that says something: whoever reads the record later has nothing else.
fn reason(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("is blank: say why".to_owned()),
        reason => Ok(reason.to_owned()),
    }
}

fn ask(common: &Common, spec: RolloutActionSpec) -> Result<(), Failure> {
    let name = cluster::rollout_name(&common.rollout)?.to_owned();
    let spec = RolloutActionSpec {
        rollout_ref: RolloutRef { name, uid: None },
        reason: common.reason.clone(),
        expires_after: common.expires_after,
        ..spec
    };
    if common.dry_run.is_some() {
        let foreseen = cluster::with(&common.cluster, |cluster| dry_run::foresee(cluster, spec))?;
        match common.output {
            Output::Json => output::print_json(&foreseen)?,
            Output::Table => output::print(&format!(
                "Would be {}: {}\n",
                foreseen.answer.to_lowercase(),
                line(&foreseen.message)
            ))?,
        }
        return if foreseen.is_applied() { Ok(()) } else { Err(Failure::Refused) };
    }
    let answered =
        cluster::with(&common.cluster, |cluster| wait::ask(cluster, spec, common.timeout.signed()))?;
    print(common.output, &answered)
}

fn print(output: Output, answered: &Answered) -> Result<(), Failure> {
    match output {
        Output::Json => output::print_json(answered)?,
        Output::Table => {
            output::print(&format!("{}: {}\n", answered.answer.as_str(), line(&answered.message)))?;
            if let Some(delivery) = &answered.delivery {
                let label = if delivery.delivered { "Delivered" } else { "Not delivered" };
                output::print(&format!("{label}: {}\n", line(&delivery.message)))?;
            }
        }
    }
    match answered.answer {
        Answer::Applied if answered.delivery.as_ref().is_some_and(|delivery| !delivery.delivered) => {
            Err(Failure::Undelivered)
        }
        Answer::Applied => Ok(()),
        Answer::Rejected | Answer::Expired => Err(Failure::Refused),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_read_as_in_a_spec() {
        for (text, cohort, percent) in
            [("new=5", "new", "5%"), ("new=12.5%", "new", "12.5%"), ("a=0", "a", "0%")]
        {
            let Share(name, value) = text.parse().unwrap();
            assert_eq!((name.as_str(), value.to_string().as_str()), (cohort, percent));
        }
        for text in ["new", "=5", "new=", "new=101", "new=1.5", "new=-1", "new=x%"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_reason_says_something() {
        assert_eq!(reason("  lunch ").unwrap(), "lunch");
        for blank in ["", " ", "\t\n"] {
            assert!(reason(blank).is_err());
        }
    }
}
