//! Two controllers at once, one of them behind the times: nothing is done twice and nothing is undone.

use std::collections::BTreeMap;
use std::time::Duration;

use sluice::api::{FeatureRollout, FlagSet};

use crate::support::bare::{Recorded, Running, bare_space, events, told};
use crate::support::proxy::Proxy;
use crate::support::{Space, eventually, is_ready, pause};

/// How far one of the two is behind.
const BEHIND: Duration = Duration::from_secs(10);

const SET: &str = "{metadata: {name: app}, spec: {timeZone: UTC}}";
const STOPPED: &str = "{metadata: {name: app}, spec: {timeZone: UTC, emergency: Control}}";
const HELD: &str = r#"
metadata: {name: held}
spec:
  flagSetRef: {name: app}
  cohorts: [{name: everyone}]
  phases: [{name: ga, steps: [{name: most, cohorts: {everyone: 60}, hold: "1h"}]}]
"#;
const CLIMBING: &str = r"
metadata: {name: climbing}
spec:
  flagSetRef: {name: app}
  cohorts: [{name: everyone}]
  phases: [{name: ga, ramp: {percents: [10, 20, 30, 40, 50, 60, 70, 80, 90, 100], every: 1500ms}}]
";

#[tokio::test]
async fn peers_4_with_stale_caches_and_conflicts_nothing_is_done_twice_and_nothing_lowered_comes_back() {
    let space = bare_space("two-controllers").await;
    let recorded = Recorded::start(&space, "app");
    // Both know the set from the beginning, so that one of them goes on knowing it as it was.
    space.apply::<FlagSet>(SET).await.unwrap();
    let prompt = Running::over(&Proxy::start(space.client.clone(), &space.name).await);
    let behind = Proxy::with_watch_delay(space.client.clone(), &space.name, BEHIND).await;
    let late = Running::over(&behind);
    space.apply::<FeatureRollout>(HELD).await.unwrap();
    space.apply::<FeatureRollout>(CLIMBING).await.unwrap();
    space.until("held", "served", |status| served(status, "60%") && is_ready(status)).await;
    space.until("climbing", "served", |status| served(status, "20%") && is_ready(status)).await;

    // A lowering edit, which the late one learns of 10 s later.
    space.apply::<FeatureRollout>(&HELD.replace("60", "25")).await.unwrap();
    space.until("held", "lowered", |status| served(status, "25%") && is_ready(status)).await;
    let lowered = recorded.of("held").len();
    space.until("climbing", "at 50 %", |status| served(status, "50%")).await;

    // An emergency, which the late one learns of 10 s later.
    space.apply::<FlagSet>(STOPPED).await.unwrap();
    for name in ["held", "climbing"] {
        space.until(name, "at control", |status| served(status, "0%") && is_ready(status)).await;
    }
    let stopped = [recorded.of("held").len(), recorded.of("climbing").len()];
    pause(14_000).await;
    for (name, from) in ["held", "climbing"].into_iter().zip(stopped) {
        for (revision, served) in recorded.all_of(name).await.into_iter().skip(from) {
            assert!(served["everyone"] < 0.001, "{name} came back in revision {revision}: {served:?}");
        }
    }

    space.apply::<FlagSet>(SET).await.unwrap();
    space.until("held", "back", |status| served(status, "25%") && is_ready(status)).await;
    space.until("climbing", "completed", |status| status.completed_at.is_some() && is_ready(status)).await;
    for (revision, served) in recorded.all_of("held").await.into_iter().skip(lowered) {
        assert!(served["everyone"] <= 25.001, "held went up in revision {revision}: {served:?}");
    }
    for name in ["held", "climbing"] {
        let revisions: Vec<i64> =
            recorded.all_of(name).await.into_iter().map(|(revision, _)| revision).collect();
        assert!(revisions.is_sorted(), "{name} went back: {revisions:?}");
        each_once(&space, name).await;
    }
    let (files, statuses) = (written(&behind, "/configmaps/app"), written(&behind, "/status"));
    assert!(files > 0 && statuses > 0, "the late one tried, too: {files} files, {statuses} statuses");
    // It was at work all the time, and was kept from doing harm by what the API server knew.
    let answered = behind.answered();
    let refused = answered.iter().filter(|(path, code)| path.contains("/featurerollouts/") && *code == 409);
    assert!(refused.count() > 0, "nothing that the late one wrote was refused: {answered:#?}");
    prompt.stop().await;
    late.stop().await;
}

/// How many writes to such a path a controller has tried.
fn written(proxy: &Proxy, path: &str) -> usize {
    proxy.writes().iter().filter(|write| write.ends_with(path)).count()
}

fn served(status: &sluice::api::FeatureRolloutStatus, percent: &str) -> bool {
    status.served.as_deref() == Some(&format!("everyone={percent}"))
}

/// Every entry has its own number, every step was entered once, and each entry was told once.
async fn each_once(space: &Space, name: &str) {
    let settled = |status: &sluice::api::FeatureRolloutStatus| status.published_seq == status.last_seq();
    let status = space.until(name, "published", settled).await;
    let seqs: Vec<i64> = status.history.iter().map(|entry| entry.seq).collect();
    let first = seqs[0];
    assert_eq!(seqs, (first..).take(seqs.len()).collect::<Vec<_>>(), "{name}");
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in status.history.iter().filter(|entry| entry.reason.as_str() != "CohortRaised") {
        *times.entry(entry.message.as_str()).or_default() += 1;
    }
    let twice: Vec<_> = times.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "{name}: {twice:#?} in {:#?}", status.history);
    assert_eq!(first, 1, "{name}: the history holds all, so that what was told can be compared");
    let expected = told(&status);
    eventually("one event per entry", async || events(space, name).await == expected).await;
}
