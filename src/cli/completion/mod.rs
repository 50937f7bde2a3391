//! `sluice completion`: a completion script for a shell, and what a cluster has, for the script to offer.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::sync::OnceLock;
use std::time::Duration;

use clap::Command;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::Shells;
use clap_complete::{CompleteEnv, Shell};
use kube::ResourceExt;

use crate::api::{FeatureRollout, Percent};
use crate::cli::cluster::{self, ConnectArgs, Guarded};
use crate::cli::output::{self, Failure};

/// The variable by which a script asks this program for candidates.
const VARIABLE: &str = "COMPLETE";
/// How long somebody who pressed a key waits for candidates.
const PATIENCE: Duration = Duration::from_secs(2);

/// All commands with their options: which of the words typed so far is the rollout depends on them.
static PROGRAM: OnceLock<fn() -> Command> = OnceLock::new();

/// Arguments of `sluice completion`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script.
pub fn run(args: &Args) -> Result<(), Failure> {
    let name = args.shell.to_string();
    let shells = Shells::builtins();
    let shell = shells.completer(&name).ok_or_else(|| Failure::Input(format!("{name} is no known shell")))?;
    let mut script = Vec::new();
    shell.write_registration(VARIABLE, "sluice", "sluice", "sluice", &mut script).map_err(Failure::Output)?;
    output::print_exact(&String::from_utf8_lossy(&script))
}

/// Where a script asks for candidates, prints them and ends the program; else does nothing.
pub fn answer(program: fn() -> Command) {
    PROGRAM.get_or_init(|| program);
    CompleteEnv::with_factory(program).var(VARIABLE).complete();
}

/// Offers the rollouts of the namespace.
pub fn rollouts() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        offer(current, |typed| {
            cluster::with(&typed.cluster(), |cluster| async move {
                let all: Vec<Guarded> = cluster.all_of(Some(&cluster.namespace)).await?;
                Ok(all.iter().map(ResourceExt::name_any).collect())
            })
        })
    })
}

/// Offers the cohorts of the rollout, followed by a text.
pub fn cohorts(suffix: &'static str) -> ArgValueCompleter {
    of_rollout(move |rollout, _| {
        let status = rollout.status.unwrap_or_default();
        let inline = rollout.spec.cohorts.unwrap_or_default().into_iter().map(|cohort| cohort.name);
        let mut names: Vec<String> = status.cohorts.into_iter().map(|cohort| cohort.name).collect();
        names.extend(inline.filter(|name| !names.contains(name)).collect::<Vec<_>>());
        names.into_iter().map(|name| format!("{name}{suffix}")).collect()
    })
}

/// Offers the phases of the rollout.
pub fn phases() -> ArgValueCompleter {
    of_rollout(|rollout, _| rollout.spec.phases.into_iter().map(|phase| phase.name).collect())
}

/// Offers what a rollout can be waited for: these states, and each of its phases.
pub fn targets(states: &'static [&'static str]) -> ArgValueCompleter {
    ArgValueCompleter::new(move |current: &OsStr| {
        let typed = current.to_string_lossy();
        let mut offered: Vec<CompletionCandidate> = states
            .iter()
            .filter(|state| state.starts_with(&*typed))
            .map(|state| CompletionCandidate::new(*state))
            .collect();
        offered.extend(offer(current, |typed| {
            let phases = typed.phases()?;
            Ok(phases.into_iter().map(|phase| format!("phase={phase}")).collect())
        }));
        offered
    })
}

/// Offers the steps of the rollout that have a name, those of the phase that was given before.
pub fn steps() -> ArgValueCompleter {
    of_rollout(|rollout, typed| {
        let wanted = typed.option(&["--phase"]);
        let phases = rollout.spec.phases.into_iter();
        let phases = phases.filter(|phase| wanted.as_ref().is_none_or(|wanted| phase.name == *wanted));
        let of_phase = |phase: crate::api::featurerollout::Phase| {
            let named = phase.steps.into_iter().flatten().filter_map(|step| step.name);
            let ramp = phase.ramp.into_iter().flat_map(|ramp| ramp.percents);
            named.chain(ramp.map(|percent: Percent| percent.to_string())).collect::<Vec<String>>()
        };
        phases.flat_map(of_phase).collect()
    })
}

fn of_rollout(
    offers: impl Fn(FeatureRollout, &Typed) -> Vec<String> + Copy + Send + Sync + 'static,
) -> ArgValueCompleter {
    ArgValueCompleter::new(move |current: &OsStr| {
        offer(current, |typed| {
            let Some(rollout) = typed.read_rollout()? else { return Ok(Vec::new()) };
            Ok(offers(rollout, typed))
        })
    })
}

/// The candidates that begin as what was typed. Where a cluster does not answer at once there are none: a shell is no place
/// for complaints.
fn offer(
    current: &OsStr,
    names: impl FnOnce(&Typed) -> Result<Vec<String>, Failure>,
) -> Vec<CompletionCandidate> {
    let typed = Typed::of(std::env::args_os());
    let current = current.to_string_lossy();
    let names = names(&typed).unwrap_or_default();
    names.into_iter().filter(|name| name.starts_with(&*current)).map(CompletionCandidate::new).collect()
}

/// What was typed so far, as the script hands it over: the words behind `--`.
struct Typed {
    words: Vec<String>,
}

impl Typed {
    fn of(args: impl Iterator<Item = OsString>) -> Typed {
        let words = args.skip_while(|word| word != "--").skip(1);
        Typed { words: words.map(|word| word.to_string_lossy().into_owned()).collect() }
    }

    /// The value of an option, as `--name VALUE` or `--name=VALUE`.
    fn option(&self, names: &[&str]) -> Option<String> {
        let mut words = self.words.iter();
        while let Some(word) = words.next() {
            if names.contains(&word.as_str()) {
                return words.next().cloned();
            }
            let given = names.iter().find_map(|name| word.strip_prefix(name)?.strip_prefix('='));
            if let Some(value) = given {
                return Some(value.to_owned());
            }
        }
        None
    }

    fn cluster(&self) -> cluster::ClusterArgs {
        let connect = ConnectArgs::of(
            self.option(&["--kubeconfig"]).map(Into::into),
            self.option(&["--context", "--kube-context"]),
        );
        connect.quick(PATIENCE).in_namespace(self.option(&["--namespace", "-n"]))
    }

    /// The rollout: the first word behind the command that is no option and no option's value.
    fn rollout(&self) -> Option<String> {
        let program = PROGRAM.get()?();
        let mut words = self.words.iter().skip(1);
        let command = words.find_map(|word| program.find_subcommand(word))?;
        let valued = valued(&program).chain(valued(command)).collect::<BTreeSet<String>>();
        while let Some(word) = words.next() {
            if valued.contains(word) {
                words.next();
            } else if !word.starts_with('-') {
                let name = cluster::rollout_name(word).unwrap_or(word);
                return Some(name.to_owned()).filter(|name| !name.is_empty());
            }
        }
        None
    }

    /// The rollout as the cluster has it; `None` where none was typed yet.
    fn read_rollout(&self) -> Result<Option<FeatureRollout>, Failure> {
        let Some(name) = self.rollout() else { return Ok(None) };
        let read = cluster::with(&self.cluster(), |cluster| async move { cluster.rollout(&name).await });
        read.map(Some)
    }

    fn phases(&self) -> Result<Vec<String>, Failure> {
        let phases = self.read_rollout()?.into_iter().flat_map(|rollout| rollout.spec.phases);
        Ok(phases.map(|phase| phase.name).collect())
    }
}

/// The options of a command that are followed by a value, as they may be typed.
fn valued(command: &Command) -> impl Iterator<Item = String> {
    let options =
        command.get_arguments().filter(|arg| !arg.is_positional() && arg.get_action().takes_values());
    options.flat_map(|arg| {
        let long = arg.get_long().into_iter().chain(arg.get_all_aliases().into_iter().flatten());
        let short = arg.get_short().into_iter().chain(arg.get_all_short_aliases().into_iter().flatten());
        let long: Vec<String> = long.map(|name| format!("--{name}")).collect();
        long.into_iter().chain(short.map(|name| format!("-{name}"))).collect::<Vec<String>>()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &str) -> Typed {
        PROGRAM.get_or_init(|| crate::cli::command);
        Typed::of(line.split(' ').map(OsString::from))
    }

    #[test]
    fn what_was_typed_tells_the_namespace_and_the_rollout() {
        let typed = typed("/bin/sluice -- sluice approve -n maya --context=prod dreams --phase ga --step ");
        assert_eq!(typed.option(&["--namespace", "-n"]).as_deref(), Some("maya"));
        assert_eq!(typed.option(&["--context"]).as_deref(), Some("prod"));
        assert_eq!(typed.option(&["--phase"]).as_deref(), Some("ga"));
        assert_eq!(typed.rollout().as_deref(), Some("dreams"));
        assert_eq!(self::typed("sluice -- sluice get ").rollout(), None);
    }

    /// A list by hand missed one with each new option.
    #[test]
    fn the_value_of_no_option_of_any_command_is_taken_for_the_rollout() {
        let program = crate::cli::command();
        let mut tried = 0;
        for command in program.get_subcommands() {
            if !command.get_positionals().any(|arg| arg.get_id() == "rollout") {
                continue;
            }
            for option in valued(command) {
                let name = command.get_name();
                let line = format!("sluice -- sluice {name} {option} a-value frol/dreams ");
                assert_eq!(typed(&line).rollout().as_deref(), Some("dreams"), "{line}");
                tried += 1;
            }
        }
        assert!(tried > 100, "{tried} options of commands about a rollout");
        let before = typed("sluice -- sluice rollback --mode Partial --expires-after 5m dreams --cohort ");
        assert_eq!(before.rollout().as_deref(), Some("dreams"));
    }

    /// What a shell would offer behind this line.
    fn offered(line: &[&str]) -> Vec<String> {
        let args: Vec<OsString> = line.iter().map(OsString::from).collect();
        let last = args.len() - 1;
        let found = clap_complete::engine::complete(&mut crate::cli::command(), args, last, None).unwrap();
        found.into_iter().map(|found| found.get_value().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn every_option_with_a_set_of_values_offers_them() {
        let program = crate::cli::command();
        let mut tried = 0;
        for command in program.get_subcommands() {
            for arg in command.get_arguments().filter(|arg| !arg.is_positional()) {
                let values = arg.get_possible_values();
                let Some(long) = arg.get_long().filter(|_| !values.is_empty() && !arg.is_hide_set()) else {
                    continue;
                };
                if !arg.get_action().takes_values() {
                    continue;
                }
                let option = format!("--{long}");
                let offered = offered(&["sluice", command.get_name(), &option, ""]);
                for value in values.iter().filter(|value| !value.is_hide_set()) {
                    let name = value.get_name().to_owned();
                    assert!(
                        offered.contains(&name),
                        "{} {option}: {name} of {offered:?}",
                        command.get_name()
                    );
                    tried += 1;
                }
            }
        }
        assert!(tried > 30, "{tried} values");
        assert_eq!(
            offered(&["sluice", "wait", "--for", ""]),
            ["Ready", "Completed", "Paused", "RolledBack"],
            "what has values besides free text"
        );
    }
}
