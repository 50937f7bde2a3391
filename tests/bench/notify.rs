//! A thousand transitions in a minute: without channels, with five of which one never answers, and the same with the controller
//! killed in the middle.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::SignedDuration;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use sluice::api::{MicroTime, NotificationChannel, Reason};
use sluice::clock;

use crate::audit::count;
use crate::figures::{Figures, quantile};
use crate::receiver::Receiver;
use crate::steps::{lateness, number, step, wait_past};
use crate::world::{World, rollout};

/// Rollouts of a run, in FlagSets of fifty, and the steps of each.
const ROLLOUTS: usize = 250;
const STEPS: usize = 4;
const SETS: usize = 5;
/// From one step to the next, of whichever rollout: all of them in a minute.
const APART: SignedDuration = SignedDuration::from_millis(60);
/// From the first create to the first step.
const LEAD: SignedDuration = SignedDuration::from_secs(25);
const CHANNELS: usize = 5;
/// The one that never answers.
const HANGS: usize = CHANNELS - 1;
/// The namespace whose channels count.
const OPERATOR: &str = "sluice-system";
/// How long messages are waited for once all steps are taken.
const LONGEST: Duration = Duration::from_secs(600);

/// Measures.
pub async fn run(world: &World, figures: &mut Figures) {
    let mut controller = world.controller().await;
    for set in 0..SETS {
        world.create_flag_set(&set_name(set)).await;
    }
    let quiet = Run::create(world, "quiet").await;
    quiet.lateness(world, figures, "without channels").await;

    let told = Run::create(world, "told").await;
    let receivers = told.open(world).await;
    let audit = world.audit();
    told.lateness(world, figures, "with 5, one hangs").await;
    let ids = told.ids(world).await;
    figures.add("notify", "transitions", None, number(ids.len()), "");
    let answering = &receivers[..HANGS];
    let waited = until_taken(answering, &ids).await;
    figures.add("notify", "all told after the last step", None, waited.as_secs_f64(), "s");
    counts(figures, "4 channels", answering, &ids, Some("0"));
    let mut behind: Vec<f64> = answering
        .iter()
        .flat_map(|receiver| {
            receiver.taken().into_iter().filter(|(id, _)| ids.contains(id)).collect::<Vec<_>>()
        })
        .map(|(_, taken)| taken.behind)
        .collect();
    figures.add("notify", "a message behind its transition, median", None, quantile(&mut behind, 0.5), "s");
    figures.add("notify", "a message behind its transition, p99", None, quantile(&mut behind, 0.99), "s");
    let waiting = channel(world, HANGS).await;
    figures.add("notify", "waits in the one that hangs", None, number(waiting.0), "");
    figures.add("notify", "object of the one that hangs", Some("< 1024"), waiting.1, "KiB");
    figures.add(
        "notify",
        "outboxes written",
        None,
        number(count(&audit.writes(), "notificationchannels/status")),
        "",
    );
    figures.add("notify", "memory", None, controller.resident_mib(), "MiB");
    receivers[HANGS].hang(false);
    let waited = until_taken(&receivers[HANGS..], &ids).await;
    figures.add("notify", "all told after it answers again", None, waited.as_secs_f64(), "s");
    counts(figures, "the one that hung", &receivers[HANGS..], &ids, Some("0"));
    close(world).await;

    let killed = Run::create(world, "killed").await;
    let receivers = killed.open(world).await;
    wait_past(killed.begin + SignedDuration::from_secs(30), Duration::ZERO).await;
    controller.kill().await;
    let controller = world.unready_controller();
    wait_past(killed.end(), Duration::from_secs(5)).await;
    let ids = killed.ids(world).await;
    figures.add("notify", "transitions, killed in the middle", None, number(ids.len()), "");
    until_taken(&receivers[..HANGS], &ids).await;
    receivers[HANGS].hang(false);
    until_taken(&receivers, &ids).await;
    // Whatever came twice would show.
    clock::sleep(Duration::from_secs(5)).await;
    counts(figures, "killed", &receivers, &ids, Some("<= 9"));
    drop(controller);
}

/// Rollouts with the dates of their steps.
struct Run {
    begin: MicroTime,
    names: Vec<String>,
    due: BTreeMap<(String, u32), MicroTime>,
}

impl Run {
    /// Creates rollouts that begin to step in a while.
    async fn create(world: &World, name: &str) -> Run {
        let begin = clock::real_now() + LEAD;
        let names: Vec<String> = (0..ROLLOUTS).map(|index| format!("{name}-{index:03}")).collect();
        let mut due = BTreeMap::new();
        let rollouts: Vec<_> = names
            .iter()
            .enumerate()
            .map(|(index, name)| {
                let steps: Vec<Value> = (0..STEPS)
                    .map(|number| {
                        let turn = i32::try_from(number * ROLLOUTS + index).unwrap();
                        let at = begin + APART.saturating_mul(turn);
                        let percent = u32::try_from(number + 1).unwrap();
                        due.insert((name.clone(), percent * 1000), at);
                        step(at, percent, if number + 1 == STEPS { "1000h" } else { "1ms" })
                    })
                    .collect();
                rollout(name, Some(&set_name(index % SETS)), &steps)
            })
            .collect();
        world.create(rollouts).await;
        assert!(clock::real_now() < begin, "the rollouts were not created in time");
        Run { begin, names, due }
    }

    /// Opens the channels: they tell of the steps, and not of the beginning before them.
    async fn open(&self, world: &World) -> Vec<Receiver> {
        let mut receivers = Vec::new();
        for channel in 0..CHANNELS {
            let receiver = Receiver::start().await;
            receiver.hang(channel == HANGS);
            create_channel(world, channel, &receiver).await;
            receivers.push(receiver);
        }
        until_known(world).await;
        assert!(clock::real_now() < self.begin, "the channels were not known in time");
        receivers
    }

    fn end(&self) -> MicroTime {
        *self.due.values().max().unwrap()
    }

    /// Waits for the steps and says how late they were.
    async fn lateness(&self, world: &World, figures: &mut Figures, how: &str) {
        let recorder = world.recorder().await;
        wait_past(self.end(), Duration::from_secs(5)).await;
        let found = lateness(&recorder.since(0), &self.due);
        let missing = found.iter().filter(|late| late.is_none()).count();
        let mut late: Vec<f64> = found.into_iter().flatten().collect();
        figures.add("notify", format!("steps never seen, {how}"), Some("0"), number(missing), "");
        for (what, share) in [("median", 0.5), ("p99", 0.99), ("most", 1.0)] {
            let late = quantile(&mut late, share);
            figures.add("notify", format!("step lateness {how}, {what}"), None, late, "ms");
        }
    }

    /// The ids of the steps that the histories have.
    async fn ids(&self, world: &World) -> BTreeSet<String> {
        let names: BTreeSet<&String> = self.names.iter().collect();
        let all = world.rollouts().list(&ListParams::default()).await.unwrap();
        let ours = all.items.into_iter().filter(|rollout| names.contains(&rollout.name_any()));
        ours.flat_map(|rollout| {
            let uid = rollout.uid().unwrap();
            let history = rollout.status.unwrap_or_default().history;
            let steps = history.into_iter().filter(|entry| entry.reason == Reason::StepEntered);
            steps.map(move |entry| format!("{uid}/{}", entry.seq)).collect::<Vec<_>>()
        })
        .collect()
    }
}

fn set_name(set: usize) -> String {
    format!("notify-{set}")
}

fn channels(world: &World) -> Api<NotificationChannel> {
    Api::namespaced(world.client.clone(), OPERATOR)
}

async fn create_channel(world: &World, channel: usize, receiver: &Receiver) {
    let object = json!({
        "apiVersion": "sluice.dev/v1alpha1",
        "kind": "NotificationChannel",
        "metadata": {"name": format!("channel-{channel}"), "namespace": OPERATOR},
        "spec": {
            "webhook": {"url": receiver.url()},
            "allowAddresses": ["127.0.0.1"],
            "allowedNamespaces": ["*"],
        },
    });
    let object = serde_json::from_value(object).unwrap();
    channels(world).create(&PostParams::default(), &object).await.unwrap();
}

/// Waits until the controller tells what happens to all of them.
async fn until_known(world: &World) {
    for _ in 0..300 {
        let all = channels(world).list(&ListParams::default()).await.unwrap();
        if all
            .items
            .iter()
            .all(|channel| channel.status.as_ref().is_some_and(|status| status.since.is_some()))
        {
            return;
        }
        clock::sleep(Duration::from_millis(100)).await;
    }
    panic!("the controller does not see the channels");
}

/// How many messages wait in a channel, and the KiB that its object takes.
async fn channel(world: &World, channel: usize) -> (usize, f64) {
    let found = channels(world).get(&format!("channel-{channel}")).await.unwrap();
    let size = u32::try_from(serde_json::to_vec(&found).unwrap().len()).unwrap();
    (found.status.unwrap_or_default().outbox.len(), f64::from(size) / 1024.0)
}

/// Deletes the channels.
async fn close(world: &World) {
    for channel in 0..CHANNELS {
        let name = format!("channel-{channel}");
        channels(world).delete(&name, &DeleteParams::default()).await.unwrap();
    }
    clock::sleep(Duration::from_secs(1)).await;
}

/// Waits until all of these messages are taken everywhere, or for too long; says how long that was.
async fn until_taken(receivers: &[Receiver], ids: &BTreeSet<String>) -> Duration {
    let begun = clock::monotonic();
    let has_all = |receiver: &Receiver| {
        let taken = receiver.taken();
        ids.iter().all(|id| taken.contains_key(id))
    };
    while begun.elapsed() < LONGEST && !receivers.iter().all(has_all) {
        clock::sleep(Duration::from_millis(100)).await;
    }
    begun.elapsed()
}

/// How many messages never came, came twice, and came more often than that; of several channels the most in one.
fn counts(
    figures: &mut Figures,
    whose: &str,
    receivers: &[Receiver],
    ids: &BTreeSet<String>,
    twice: Option<&'static str>,
) {
    let most = |counted: &dyn Fn(usize) -> bool| {
        let of = |receiver: &Receiver| {
            let taken = receiver.taken();
            ids.iter().filter(|id| counted(taken.get(*id).map_or(0, |taken| taken.count))).count()
        };
        receivers.iter().map(of).max().unwrap_or(0)
    };
    figures.add("notify", format!("{whose}: lost"), Some("0"), number(most(&|count| count == 0)), "");
    figures.add("notify", format!("{whose}: told twice"), twice, number(most(&|count| count == 2)), "");
    figures.add(
        "notify",
        format!("{whose}: told more often"),
        Some("0"),
        number(most(&|count| count > 2)),
        "",
    );
}
