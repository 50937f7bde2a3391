//! Rollouts with nothing due write nothing at all, and neither does a controller that starts over them.

use std::time::Duration;

use futures::StreamExt;
use sluice::api::{FeatureRollout, FlagSet};
use sluice::clock::{self, Clock};
use sluice::controller::{Housekeeping, Options};

use crate::support::bare::{Running, audited_writes, bare, bare_space};
use crate::support::proxy::Proxy;
use crate::support::{Space, is_ready, pause};

const ROLLOUTS: usize = 200;
const PER_SET: usize = 20;
/// How long is watched, in seconds of real time; `SLUICE_TEST_QUIET_S` gives another one. The clock of the schedules runs
/// faster, and so does the housekeeping, so that twelve minutes of the one and many rounds of the other are in it.
const QUIET_S: u64 = 12;
const SPEED: u32 = 60;

/// A controller whose time runs faster.
async fn hurried(space: &Space, clock: &Clock) -> Running {
    let housekeeping = Housekeeping {
        count: Duration::from_millis(500),
        collection: Duration::from_secs(2),
        actions: Duration::from_secs(2),
        ..Housekeeping::default()
    };
    let options = Options { clock: clock.clone(), housekeeping, ..Options::default() };
    Running::as_told(Proxy::start(space.client.clone(), &space.name).await.config(), options)
}

#[tokio::test]
async fn rollouts_with_nothing_due_write_nothing() {
    let quiet = std::env::var("SLUICE_TEST_QUIET_S").ok().and_then(|s| s.parse().ok()).unwrap_or(QUIET_S);
    let space = bare_space("quiet").await;
    let clock = Clock::accelerated(clock::real_now(), SPEED);
    let controller = hurried(&space, &clock).await;
    for set in 0..ROLLOUTS / PER_SET {
        space.apply::<FlagSet>(&format!("{{metadata: {{name: set-{set}}}, spec: {{}}}}")).await.unwrap();
    }
    let rollouts: Vec<String> = (0..ROLLOUTS).map(|i| format!("quiet-{i}")).collect();
    futures::stream::iter(rollouts.iter().enumerate())
        .for_each_concurrent(16, async |(i, name)| {
            space.apply::<FeatureRollout>(&rollout(i, name)).await.unwrap();
        })
        .await;
    for name in &rollouts {
        space
            .until(name, "settled", |status| is_ready(status) && status.published_seq == status.last_seq())
            .await;
    }
    // The sets' statuses follow their files by a second at most.
    pause(3000).await;

    let written = audited_writes(bare(), &space.name);
    let of = |resource: &str| written.iter().filter(|(_, written, ..)| written == resource).count();
    assert!(of("featurerollouts/status") >= 2 * ROLLOUTS, "the audit log tells of every write");
    assert!(of("configmaps") >= ROLLOUTS / PER_SET && of("events") >= ROLLOUTS, "of whatever kind");
    let before = written.len();
    pause(quiet * 1000).await;
    let writes = audited_writes(bare(), &space.name);
    assert_eq!(&writes[before..], [], "in {quiet} s of nothing to do");

    controller.stop().await;
    let controller = hurried(&space, &clock).await;
    // What comes after everything else shows that everything else has been looked at.
    proves_that_it_works(&space).await;
    let writes = audited_writes(bare(), &space.name);
    let others: Vec<_> =
        writes[before..].iter().filter(|(_, _, name, _)| !name.starts_with("newcomer")).collect();
    assert_eq!(others, Vec::<&(String, String, String, i64)>::new(), "after a restart");
    assert!(writes.len() > before, "what the newcomer took is seen");
    controller.stop().await;
}

fn rollout(i: usize, name: &str) -> String {
    let set = i % (ROLLOUTS / PER_SET);
    let waits = match i % 3 {
        0 => "ramp: {percents: [5, 100], every: 24h}",
        1 => r#"steps: [{name: far, cohorts: {everyone: 50}, at: "2099-01-01T00:00:00Z"}]"#,
        _ => "steps: [{name: first, cohorts: {everyone: 10}, approval: Required}]",
    };
    format!(
        "{{metadata: {{name: {name}}}, spec: {{flagSetRef: {{name: set-{set}}},
          cohorts: [{{name: everyone, share: 100}}], phases: [{{name: ga, {waits}}}]}}}}"
    )
}

async fn proves_that_it_works(space: &Space) {
    let yaml = "{metadata: {name: newcomer}, spec: {cohorts: [{name: everyone}],
        phases: [{name: ga, ramp: {percents: [100], every: 1s}}]}}";
    space.apply::<FeatureRollout>(yaml).await.unwrap();
    space.until("newcomer", "completed", |status| status.completed_at.is_some() && is_ready(status)).await;
    pause(3000).await;
}
