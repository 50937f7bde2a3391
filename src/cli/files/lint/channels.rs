//! Checks of channels: what the API server would refuse beyond the schema, and templates.

use crate::cli::files::problem::{Problem, Severity};
use crate::cli::files::typed::Typed;
use crate::notify::message;
use crate::notify::schedule::Schedule;

/// Checks every channel.
pub fn check(typed: &Typed<'_>, problems: &mut Vec<Problem>) {
    for item in typed.channels.values() {
        let spec = &item.typed.spec;
        let given = [
            spec.slack.is_some(),
            spec.slack_webhook.is_some(),
            spec.teams.is_some(),
            spec.webhook.is_some(),
            spec.pager_duty.is_some(),
            spec.alertmanager.is_some(),
            spec.email.is_some(),
        ];
        if given.iter().filter(|given| **given).count() != 1 && !item.is_known("spec") {
            let message =
                "give exactly one of slack, slackWebhook, teams, webhook, pagerDuty, alertmanager and email";
            problems.push(item.object.problem(Severity::Error, "spec", message));
        }
        if spec
            .webhook
            .as_ref()
            .is_some_and(|webhook| webhook.url.is_some() == webhook.url_secret_ref.is_some())
        {
            let message = "give exactly one of url and urlSecretRef";
            problems.push(item.object.problem(Severity::Error, "spec.webhook", message));
        }
        for (i, digest) in spec.digests.iter().enumerate() {
            if let Err((field, error)) = Schedule::new(&digest.schedule, digest.time_zone.as_deref()) {
                let path = format!("spec.digests[{i}].{field}");
                problems.push(item.object.problem(Severity::Error, &path, error));
            }
        }
        for problem in message::problems(spec) {
            let (path, message) = problem.split_once(": ").unwrap_or(("spec", &problem));
            if !item.is_known(path) {
                problems.push(item.object.problem(Severity::Error, path, message));
            }
        }
    }
}
