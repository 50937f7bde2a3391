//! Integration tests: one binary, one module a promise.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail where it stands and look at the clock, in its helpers too"
)]

mod actions;
mod admission;
mod announced;
mod announcements;
mod apps;
mod architecture;
mod audiences;
mod beginnings;
mod belief;
mod bounds;
mod chart;
mod checks;
mod cli;
mod crash;
mod dashboard;
mod dead_ends;
mod deletion;
mod delivery;
mod dev;
mod docs;
mod evaluators;
mod events;
mod faults;
mod feature_flag;
mod flag_sets;
mod fuzzed;
mod gitops;
mod labels;
mod leader;
mod lives;
mod logs;
mod node;
mod notifications;
mod nudge;
mod orphans;
mod outage;
mod overtaken;
mod playbook_run;
mod playbooks;
mod poison;
mod policies;
mod probes;
mod prometheus;
mod quiet;
mod release;
mod rollout_policies;
mod sandbox;
mod shares;
mod sources;
mod stalled_lowers;
mod status;
mod steps_together;
mod stored_invalid;
mod support;
mod thin_path;
mod two_controllers;
mod watchdog;
