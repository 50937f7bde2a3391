//! The first page of help: commands in groups, those that need a cluster marked; and examples behind every command's own.

use clap::Command;

/// The commands as people look for them.
pub const GROUPS: &[(&str, &[&str])] = &[
    ("Begin", &["dev", "lint", "plan", "simulate", "render", "evaluate"]),
    (
        "See what a cluster does",
        &["get", "describe", "history", "report", "watch", "dashboard", "playbook", "wait", "check"],
    ),
    (
        "Do something to a rollout",
        &["pause", "resume", "approve", "promote", "set-percent", "rollback", "retry", "ack"],
    ),
    ("Install and run", &["controller", "crds"]),
    ("Other", &["completion"]),
];

/// Those that talk to a cluster.
pub const CLUSTER: &[&str] = &[
    "get",
    "describe",
    "history",
    "report",
    "watch",
    "dashboard",
    "playbook",
    "wait",
    "check",
    "pause",
    "resume",
    "approve",
    "promote",
    "set-percent",
    "rollback",
    "retry",
    "ack",
];

/// Examples of every command, one a line, as they may be typed.
pub const EXAMPLES: &[(&str, &[&str])] = &[
    ("dev", &["sluice dev", "sluice dev -f rollouts/ --speed 3600", "sluice dev --with-prometheus"]),
    ("lint", &["sluice lint rollouts/", "kustomize build prod | sluice lint -"]),
    (
        "plan",
        &[
            "sluice plan rollouts/",
            "sluice plan rollouts/ -o svg > plan.svg",
            "sluice plan rollouts/ --live --fail-on lowers,pauses",
        ],
    ),
    (
        "simulate",
        &[
            "sluice simulate examples/simulate --samples examples/simulate/samples.jsonl",
            "sluice simulate rollouts/ --samples what-if.jsonl -o svg > simulation.svg",
        ],
    ),
    ("render", &["sluice render examples/playbook --at 2025-10-06T16:00:00Z"]),
    (
        "evaluate",
        &["sluice evaluate examples/minimal.yaml --flag new-search --context '{\"targetingKey\": \"u1\"}'"],
    ),
    ("get", &["sluice get", "sluice get -A -o wide", "sluice get dreams -n maya -o yaml"]),
    ("describe", &["sluice describe dreams -n maya"]),
    ("history", &["sluice history dreams -n maya"]),
    (
        "report",
        &[
            "sluice report dreams -n maya > rollback.md",
            "sluice report --cohort early-adopters -n maya --since 168h",
        ],
    ),
    ("watch", &["sluice watch -n maya", "sluice watch -A -o json"]),
    ("dashboard", &["sluice dashboard", "sluice dashboard -n maya"]),
    (
        "playbook",
        &[
            "sluice playbook maya-2025 -n maya",
            "sluice playbook maya-2025 -f examples/playbook -o svg > playbook.svg",
        ],
    ),
    (
        "wait",
        &[
            "sluice wait dreams -n maya --for completed --timeout 168h",
            "sluice wait dreams -n maya --for phase=ga",
        ],
    ),
    ("check", &["sluice check", "sluice check --namespace maya"]),
    ("pause", &["sluice pause dreams -n maya --reason 'support is flooded'"]),
    ("resume", &["sluice resume dreams -n maya --reason 'it was another service'"]),
    ("approve", &["sluice approve dreams -n maya --phase ga --step full --reason 'go, by Ana'"]),
    ("promote", &["sluice promote dreams -n maya --reason 'no need to wait until Monday'"]),
    ("set-percent", &["sluice set-percent dreams -n maya regular=12.5% new=0 --reason 'load test'"]),
    (
        "rollback",
        &[
            "sluice rollback dreams -n maya --reason 'orders fail'",
            "sluice rollback dreams -n maya --mode gradual --reason 'slow' --dry-run=server",
        ],
    ),
    ("retry", &["sluice retry dreams -n maya --from phase --reason 'fixed in 1.4.2'"]),
    ("ack", &["sluice ack dreams -n maya --reason 'looking into it'"]),
    ("controller", &["sluice controller"]),
    ("crds", &["sluice crds | kubectl apply -f -", "sluice crds --with-policies --dir crds"]),
    ("completion", &["source <(sluice completion bash)", "sluice completion fish | source"]),
];

/// The command with its groups and examples.
pub fn with_help(mut command: Command) -> Command {
    let commands = listed(&command);
    command = command.help_template(format!(
        "{{about}}\n\n{{usage-heading}} {{usage}}\n{commands}\nOptions:\n{{options}}{{after-help}}"
    ));
    for (name, examples) in EXAMPLES {
        let lines: String = examples.iter().map(|example| format!("  {example}\n")).collect();
        let text = format!("Examples:\n{lines}");
        command = command.mut_subcommand(name, |command| command.after_help(text));
    }
    command
}

/// The commands by group, a line each; an asterisk marks those that need a cluster.
fn listed(command: &Command) -> String {
    let mut out = String::new();
    for (title, names) in GROUPS {
        out.push_str(&format!("\n{title}:\n"));
        for name in *names {
            let about = command.find_subcommand(name).and_then(Command::get_about);
            let mark = if CLUSTER.contains(name) { '*' } else { ' ' };
            out.push_str(&format!(
                "  {name:<12}{mark} {}\n",
                about.map(ToString::to_string).unwrap_or_default()
            ));
        }
    }
    out.push_str("\n* talks to a cluster. `sluice COMMAND --help` has examples.\n");
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::cli::Cli;

    fn names() -> BTreeSet<String> {
        let command = Cli::command();
        command.get_subcommands().filter(|c| !c.is_hide_set()).map(|c| c.get_name().to_owned()).collect()
    }

    #[test]
    fn every_command_stands_in_one_group_and_has_examples() {
        let grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| *names).copied().collect();
        let set: BTreeSet<String> = grouped.iter().map(ToString::to_string).collect();
        assert_eq!((set.len(), set), (grouped.len(), names()));
        let with_examples: BTreeSet<String> = EXAMPLES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(with_examples, names());
    }

    #[test]
    fn those_that_need_a_cluster_are_those_that_take_one() {
        let takes_context = |command: &Command| {
            let is_cluster = |arg: &clap::Arg| {
                arg.get_id() == "context"
                    && arg.get_help().is_some_and(|help| help.to_string().contains("kubeconfig"))
            };
            command.get_arguments().any(is_cluster)
        };
        let command = Cli::command();
        let found: BTreeSet<&str> =
            command.get_subcommands().filter(|c| takes_context(c)).map(Command::get_name).collect();
        let mut said: BTreeSet<&str> = CLUSTER.iter().copied().collect();
        // It talks to one only if it is told to.
        said.insert("plan");
        assert_eq!(found, said);
    }

    /// The words of a line as a shell has them, as far as the examples need it.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
        for c in line.chars() {
            match c {
                '\'' => quoted = !quoted,
                ' ' if !quoted => words.push(std::mem::take(&mut word)),
                c => word.push(c),
            }
        }
        words.push(word);
        words
    }

    /// What is shown can be typed.
    #[test]
    fn every_example_is_understood() {
        for (name, examples) in EXAMPLES {
            for example in *examples {
                let typed = example.split(" | ").find(|part| part.starts_with("sluice ")).unwrap_or(example);
                let typed = typed.trim_start_matches("source <(").trim_end_matches(')');
                let typed = typed.split(" > ").next().unwrap_or(typed);
                let words = words(typed);
                let parsed = Cli::try_parse_from(&words);
                assert!(parsed.is_ok(), "{name}: {example}: {}", parsed.err().unwrap());
                assert_eq!(words[1], *name, "{example}");
            }
        }
    }
}
