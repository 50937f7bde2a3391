//! People are told what happens: each transition once, in the form of each kind of channel, and whatever becomes of a channel,
//! rollouts go on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;
use hmac::{Hmac, Mac};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};
use sha2::Sha256;
use sluice::api::{
    CohortSet, FeatureRollout, MicroTime, NotificationChannel, NotificationChannelStatus, RolloutAction,
    RolloutPolicy,
};
use sluice::clock::Clock;
use sluice::controller::Options;

use crate::support::bare::{Running, bare_space};
use crate::support::process::ControllerProcess;
use crate::support::proxy::Proxy;
use crate::support::{LOOKS, Space, eventually, is_ready, options, pause};
use mail::{Certificate, MailServer};
use receiver::{Behaviour, Receiver};

mod alertmanager;
mod mail;
pub mod receiver;

/// A key of Standard Webhooks, and what it is the base64 of.
const KEY: [u8; 32] = [9; 32];

/// A controller whose own namespace this is.
async fn controller(space: &Space) -> Running {
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    Running::as_told(proxy.config(), Options { namespace: space.name.clone(), ..options() })
}

/// Stores a Secret `keys` with everything that the channels of these tests name.
async fn secrets(space: &Space, url: &str) {
    let secret: Secret = serde_json::from_value(json!({
        "metadata": {"name": "keys"},
        "stringData": {
            "token": "xoxb-1", "url": url, "routing": "R123", "signing": format!("whsec_{}", STANDARD.encode(KEY)),
        },
    }))
    .unwrap();
    space.api::<Secret>().create(&PostParams::default(), &secret).await.unwrap();
}

/// Applies a channel that may reach the loopback.
async fn channel(space: &Space, name: &str, kind: &Value, more: &Value) {
    let mut spec = json!({"allowAddresses": ["127.0.0.1"], "timeout": "1s"});
    for fields in [kind, more] {
        spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    }
    let yaml = json!({"metadata": {"name": name}, "spec": spec}).to_string();
    space.apply::<NotificationChannel>(&yaml).await.unwrap();
    eventually("the channel is known", async || status(space, name).await.since.is_some()).await;
}

fn webhook(receiver: &Receiver, path: &str) -> Value {
    json!({"webhook": {"url": receiver.url(path)}})
}

async fn status(space: &Space, channel: &str) -> NotificationChannelStatus {
    space.api::<NotificationChannel>().get(channel).await.unwrap().status.unwrap_or_default()
}

/// Status and reason of Ready, and its message.
async fn ready(space: &Space, channel: &str) -> (String, String) {
    let conditions = status(space, channel).await.conditions;
    let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready");
    ready.map_or_else(Default::default, |ready| (format!("{} {}", ready.status, ready.reason), ready.message))
}

/// Waits until a channel says something of itself.
async fn until_says(space: &Space, channel: &str, is: &str, says: &str) {
    let mut last = Default::default();
    for _ in 0..LOOKS {
        last = ready(space, channel).await;
        if last.0 == is && last.1.contains(says) {
            return;
        }
        pause(50).await;
    }
    panic!("{channel} never said {is}: {says}, but {last:?}");
}

async fn until_sent(space: &Space, channel: &str, count: i64) {
    eventually(&format!("{channel} has sent {count}"), async || status(space, channel).await.sent >= count)
        .await;
}

/// How long a channel waits for an answer: one that hangs not for long, and others until a busy machine has answered, since what was
/// taken and not answered in time is sent again.
fn patience(channel: &str) -> Value {
    json!({"timeout": if channel == "hangs" { "1s" } else { "30s" }})
}

/// Has a channel that was not answered wait as long as the others, then answers it.
async fn comes_back(space: &Space, channel: &str, receiver: &Receiver) {
    let edit = json!({"spec": {"timeout": "10s"}});
    assert_eq!(space.merge("NotificationChannel", channel, &edit).await.code, 200);
    receiver.behave(Behaviour::Take);
}

async fn act(space: &Space, rollout: &str, action: &str) {
    let action: RolloutAction = serde_json::from_value(json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "RolloutAction", "metadata": {"generateName": "act-"},
        "spec": {"rolloutRef": {"name": rollout}, "action": action, "reason": "tell @channel"},
    }))
    .unwrap();
    let api: Api<RolloutAction> = space.api();
    let name = api.create(&PostParams::default(), &action).await.unwrap().metadata.name.unwrap();
    eventually("the action is answered", async || {
        let status = api.get(&name).await.unwrap().status.unwrap_or_default();
        let answer =
            status.answer.map(|answer| format!("{answer:?}: {}", status.message.unwrap_or_default()));
        assert!(answer.as_ref().is_none_or(|answer| answer.starts_with("Applied")), "{answer:?}");
        answer.is_some()
    })
    .await;
}

/// A rollout of so many steps, one right after the other.
fn rollout(name: &str, steps: usize) -> String {
    let steps: Vec<Value> =
        (1..=steps).map(|i| json!({"cohorts": {"everyone": i}, "hold": "200ms"})).collect();
    json!({
        "metadata": {"name": name, "labels": {"team": "dreams"}},
        "spec": {
            "feature": {"title": "Dreams <!here>", "owner": "team-dreams"},
            "cohorts": [{"name": "everyone", "share": 100}],
            "phases": [{"name": "ga", "steps": steps}],
        },
    })
    .to_string()
}

/// The ids of everything that a rollout's history has, with the reasons.
async fn history(space: &Space, rollout: &str) -> BTreeMap<String, String> {
    let rollout = space.api::<FeatureRollout>().get(rollout).await.unwrap();
    let uid = rollout.metadata.uid.unwrap();
    let history = rollout.status.unwrap_or_default().history;
    history.iter().map(|entry| (format!("{uid}/{}", entry.seq), entry.reason.to_string())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_transition_is_told_once_in_the_form_of_each_kind() {
    let space = bare_space("tell-kinds").await;
    let (receiver, slack) = (Receiver::start().await, Receiver::start().await);
    slack.behave(Behaviour::Slack);
    secrets(&space, &receiver.url("/secret-url")).await;
    let running = controller(&space).await;
    let key = |key: &str| json!({"name": "keys", "key": key});
    let none = json!({});
    let link = json!({"link": "https://x.example/{{ namespace }}/{{ name }}"});
    let signed = json!({"webhook": {"url": receiver.url("/webhook"), "signingSecretRefs": [key("signing")]}});
    channel(&space, "webhook", &signed, &link).await;
    let bot =
        json!({"slack": {"channel": "#releases", "tokenSecretRef": key("token"), "url": slack.url("/api")}});
    channel(&space, "slack", &bot, &none).await;
    channel(
        &space,
        "teams",
        &json!({"teams": {"urlSecretRef": key("url")}}),
        &json!({"filter": {"severity": "Critical"}}),
    )
    .await;
    let pager = json!({"pagerDuty": {"routingKeySecretRef": key("routing"), "url": receiver.url("/pager")}});
    channel(&space, "pager", &pager, &none).await;
    channel(&space, "alerts", &json!({"alertmanager": {"url": receiver.url("/am")}}), &none).await;
    let others = json!({"filter": {"rolloutSelector": {"matchLabels": {"team": "other"}}}});
    channel(&space, "others", &webhook(&receiver, "/others"), &others).await;
    let worded = json!({"filter": {"reasons": ["Completed"]}, "templates": [{"title": "{{ title|upper }} {{ nothing }}"}]});
    channel(&space, "worded", &webhook(&receiver, "/worded"), &worded).await;
    until_says(&space, "worded", "False InvalidSpec", "spec.templates[0].title: undefined").await;

    space.apply::<FeatureRollout>(&rollout("dreams", 3)).await.unwrap();
    space.until("dreams", "completed", |s| s.completed_at.is_some() && is_ready(s)).await;
    for action in ["Rollback", "Acknowledge", "Retry"] {
        act(&space, "dreams", action).await;
    }
    space.until("dreams", "completed again", |s| s.completed_at.is_some() && is_ready(s)).await;
    let told = history(&space, "dreams").await;
    assert!(told.len() >= 8 && told.values().any(|reason| reason == "RolledBack"), "{told:#?}");
    until_sent(&space, "webhook", i64::try_from(told.len()).unwrap()).await;
    // Whatever came twice would show.
    pause(500).await;

    let events = receiver.taken("/webhook");
    let ids: Vec<String> = events.iter().map(receiver::Taken::id).collect();
    let mut sorted: Vec<&String> = told.keys().collect();
    sorted.sort_by_key(|id| id.rsplit('/').next().unwrap().parse::<i64>().unwrap());
    assert_eq!(ids.iter().collect::<Vec<_>>(), sorted, "each once, in its order");
    for event in &events {
        let header = |name: &str| event.headers[name].clone();
        let mut mac = Hmac::<Sha256>::new_from_slice(&KEY).unwrap();
        mac.update(format!("{}.{}.", header("webhook-id"), header("webhook-timestamp")).as_bytes());
        mac.update(&event.raw);
        let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        assert_eq!(header("webhook-signature"), expected);
        assert_eq!(
            (header("webhook-id"), header("content-type")),
            (event.id(), "application/cloudevents+json; charset=utf-8".to_owned())
        );
        assert_eq!(event.body["data"]["reason"], told[&event.id()].as_str());
        assert_eq!(event.body["data"]["link"], format!("https://x.example/{}/dreams", space.name));
    }

    // Slack takes a message a second: one message an attempt, everything after the first in its thread.
    until_sent(&space, "slack", i64::try_from(told.len()).unwrap()).await;
    let calls = slack.taken("/api");
    let of = |method: &str| calls.iter().filter(|call| call.path.ends_with(method)).collect::<Vec<_>>();
    let (posts, edits) = (of("chat.postMessage"), of("chat.update"));
    let roots: Vec<_> = posts.iter().filter(|post| post.body.get("thread_ts").is_none()).collect();
    assert_eq!(posts.len(), told.len());
    assert!(!roots.is_empty() && roots.len() <= 2, "one an attempt: {roots:#?}");
    assert_eq!(edits.len(), told.len() - roots.len());
    assert!(edits.iter().all(|edit| edit.body["channel"] == "C0RELEASES" && edit.body["ts"].is_string()));
    assert!(calls.iter().all(|call| call.headers["authorization"] == "Bearer xoxb-1"));
    assert!(calls.iter().all(|call| !call.body.to_string().contains("@channel")), "nobody is called");

    let cards = receiver.taken("/secret-url");
    assert_eq!(cards.len(), told.values().filter(|reason| *reason == "RolledBack").count(), "Critical ones");
    assert_eq!(cards[0].body["attachments"][0]["content"]["version"], "1.4");
    let pages: Vec<String> = receiver
        .taken("/pager")
        .iter()
        .map(|event| event.body["event_action"].as_str().unwrap().to_owned())
        .collect();
    assert!(
        pages.starts_with(&["trigger".to_owned(), "acknowledge".to_owned(), "resolve".to_owned()]),
        "{pages:?}"
    );
    let alerts = receiver.taken("/am/api/v2/alerts");
    assert!(alerts.len() >= 2 && alerts[0].body[0]["labels"]["severity"] == "critical", "{alerts:#?}");
    assert!(receiver.taken("/others").is_empty());
    let worded = receiver.taken("/worded");
    assert!(
        !worded.is_empty()
            && worded.iter().all(|event| event.body["data"]["title"] == "Dreams <!here>: completed")
    );
    let done = status(&space, "webhook").await;
    assert_eq!((done.queued, done.dropped, done.outbox.len()), (0, 0, 0));
    assert_eq!(ready(&space, "webhook").await.0, "True Valid");
    running.stop().await;
}

/// 200 transitions over three channels, one of which never answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_hangs_holds_up_no_step_and_no_other_channel() {
    let space = bare_space("tell-hangs").await;
    let running = controller(&space).await;
    let mut receivers = Vec::new();
    for name in ["good", "better", "hangs"] {
        let receiver = Receiver::start().await;
        channel(&space, name, &webhook(&receiver, "/x"), &patience(name)).await;
        receivers.push(receiver);
    }
    receivers[2].behave(Behaviour::Hang);
    let names: Vec<String> = (0..40).map(|i| format!("r{i}")).collect();
    futures::stream::iter(&names)
        .for_each_concurrent(8, async |name| {
            space.apply::<FeatureRollout>(&rollout(name, 3)).await.unwrap();
        })
        .await;
    let mut told = BTreeMap::new();
    for name in &names {
        space.until(name, "completed", |s| s.completed_at.is_some() && is_ready(s)).await;
        told.extend(history(&space, name).await);
    }
    assert!(told.len() >= 200, "{}", told.len());
    for (name, receiver) in ["good", "better"].into_iter().zip(&receivers) {
        until_sent(&space, name, i64::try_from(told.len()).unwrap()).await;
        let counts = receiver.counts();
        assert_eq!(counts.keys().collect::<Vec<_>>(), told.keys().collect::<Vec<_>>(), "{name}");
        assert!(counts.values().all(|count| *count == 1), "{name}: {counts:#?}");
    }
    until_says(&space, "hangs", "False Retrying", "no answer within 1000 ms").await;
    // While everything waits, an outbox is written some seconds apart.
    let queued = async || usize::try_from(status(&space, "hangs").await.queued).unwrap();
    eventually("all of it waits", async || queued().await == told.len()).await;
    let waiting = status(&space, "hangs").await;
    assert_eq!((waiting.outbox.len(), waiting.sent, waiting.dropped), (told.len(), 0, 0));

    // It comes back: nothing is lost.
    comes_back(&space, "hangs", &receivers[2]).await;
    until_sent(&space, "hangs", i64::try_from(told.len()).unwrap()).await;
    let counts = receivers[2].counts();
    assert_eq!(counts.keys().collect::<Vec<_>>(), told.keys().collect::<Vec<_>>());
    assert!(counts.values().all(|count| *count == 1), "{counts:#?}");
    until_says(&space, "hangs", "True Valid", "").await;
    running.stop().await;
}

/// kill -9 while messages are in flight: they were taken, and nobody has written that down.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_repeats_at_most_what_was_in_flight_and_loses_nothing() {
    let space = bare_space("tell-crash").await;
    let receiver = Receiver::start().await;
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, proxy.kubeconfig()).unwrap();
    let start = || {
        ControllerProcess::start_with(&kubeconfig, &folder.path().join("log"), &["--namespace", &space.name])
    };
    let first = start();
    channel(&space, "webhook", &webhook(&receiver, "/x"), &json!({})).await;
    let names: Vec<String> = (0..6).map(|i| format!("r{i}")).collect();
    let victim = Arc::new(std::sync::Mutex::new(Some(first.clone())));
    let to_kill = victim.clone();
    receiver.behave(Behaviour::Call(Box::new(move |count| {
        if count == 11
            && let Some(victim) = to_kill.lock().unwrap().take()
        {
            victim.kill();
        }
    })));
    for name in &names {
        space.apply::<FeatureRollout>(&rollout(name, 5)).await.unwrap();
    }
    eventually("it is killed", async || !first.runs()).await;
    drop(first);
    let before = receiver.taken("/").len();
    let second = start();
    let mut told = BTreeMap::new();
    for name in &names {
        space.until(name, "completed", |s| s.completed_at.is_some() && is_ready(s)).await;
        told.extend(history(&space, name).await);
    }
    eventually("everything is told", async || receiver.counts().len() >= told.len()).await;
    pause(1000).await;
    let counts = receiver.counts();
    assert_eq!(counts.keys().collect::<Vec<_>>(), told.keys().collect::<Vec<_>>(), "none is lost");
    let twice = counts.values().filter(|count| **count > 1).count();
    assert!(counts.values().all(|count| *count <= 2), "{counts:#?}");
    assert!((1..=9).contains(&twice), "{twice} of {before} were in flight: {counts:#?}");
    second.stop().await;

    // An end in order repeats nothing: the next process finds all of it written.
    let sent = receiver.taken("/").len();
    let third = start();
    space.apply::<FeatureRollout>(&rollout("later", 1)).await.unwrap();
    space.until("later", "completed", |s| s.completed_at.is_some() && is_ready(s)).await;
    let later = history(&space, "later").await;
    eventually("the later one is told", async || later.keys().all(|id| receiver.counts().contains_key(id)))
        .await;
    pause(500).await;
    assert_eq!(receiver.taken("/").len(), sent + later.len(), "and nothing else");
    third.stop().await;
}

/// The same in small with three channels, one of which never answers until the end: what the killed process knew of it was written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_loses_nothing_of_three_channels_of_which_one_hangs() {
    let space = bare_space("tell-crash-three").await;
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, proxy.kubeconfig()).unwrap();
    let start = || {
        ControllerProcess::start_with(&kubeconfig, &folder.path().join("log"), &["--namespace", &space.name])
    };
    let first = start();
    let mut receivers = Vec::new();
    for name in ["good", "better", "hangs"] {
        let receiver = Receiver::start().await;
        channel(&space, name, &webhook(&receiver, "/x"), &patience(name)).await;
        receivers.push(receiver);
    }
    receivers[2].behave(Behaviour::Hang);
    let victim = std::sync::Mutex::new(Some(first.clone()));
    receivers[0].behave(Behaviour::Call(Box::new(move |count| {
        if count == 30
            && let Some(victim) = victim.lock().unwrap().take()
        {
            victim.kill();
        }
    })));
    let names: Vec<String> = (0..12).map(|i| format!("r{i}")).collect();
    for name in &names {
        space.apply::<FeatureRollout>(&rollout(name, 5)).await.unwrap();
    }
    eventually("it is killed", async || !first.runs()).await;
    let second = start();
    let mut told = BTreeMap::new();
    for name in &names {
        space.until(name, "completed", |s| s.completed_at.is_some() && is_ready(s)).await;
        told.extend(history(&space, name).await);
    }
    assert!(told.len() >= 60, "{}", told.len());
    comes_back(&space, "hangs", &receivers[2]).await;
    for (name, receiver) in ["good", "better", "hangs"].into_iter().zip(&receivers) {
        let has_all = async || told.keys().all(|id| receiver.counts().contains_key(id));
        eventually(&format!("{name} has all"), has_all).await;
    }
    // Whatever came twice would show.
    pause(500).await;
    for (name, receiver) in ["good", "better", "hangs"].into_iter().zip(&receivers) {
        let counts = receiver.counts();
        assert_eq!(counts.keys().collect::<Vec<_>>(), told.keys().collect::<Vec<_>>(), "{name}");
        assert!(counts.values().all(|count| *count <= 2), "{name}: {counts:#?}");
        let twice = counts.values().filter(|count| **count == 2).count();
        let in_flight = if name == "hangs" { 0 } else { 9 };
        assert!(twice <= in_flight, "{name}: {twice} of {} came twice", told.len());
        let status = status(&space, name).await;
        assert_eq!((status.queued, status.dropped), (0, 0), "{name}");
    }
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_receiver_answers_is_followed_and_said() {
    let space = bare_space("tell-answers").await;
    let receiver = Receiver::start().await;
    secrets(&space, &receiver.url("/x")).await;
    let running = controller(&space).await;
    let by_secret = json!({"webhook": {"urlSecretRef": {"name": "keys", "key": "url"}}});
    channel(&space, "hook", &by_secret, &json!({"filter": {"reasons": ["Completed", "Paused"]}})).await;
    until_says(&space, "hook", "True Valid", "messages go through").await;

    receiver.behave(Behaviour::Refuse(429, Some("3")));
    space.apply::<FeatureRollout>(&rollout("one", 1)).await.unwrap();
    until_says(&space, "hook", "False Retrying", "HTTP status 429; 1 message waits").await;
    receiver.behave(Behaviour::Take);
    until_sent(&space, "hook", 1).await;
    let asked = receiver.asked();
    assert_eq!(asked.len(), 2, "once, and once more");
    assert!(asked[1].duration_since(asked[0]) >= Duration::from_millis(2900), "after the time it asked for");
    until_says(&space, "hook", "True Valid", "").await;

    receiver.behave(Behaviour::Refuse(500, None));
    space.apply::<FeatureRollout>(&rollout("two", 1)).await.unwrap();
    until_says(&space, "hook", "False Retrying", "HTTP status 500").await;
    receiver.behave(Behaviour::Take);
    until_sent(&space, "hook", 2).await;

    receiver.behave(Behaviour::Refuse(400, None));
    space.apply::<FeatureRollout>(&rollout("three", 1)).await.unwrap();
    eventually("it is dropped", async || status(&space, "hook").await.dropped == 1).await;
    assert_eq!(status(&space, "hook").await.queued, 0);

    receiver.behave(Behaviour::Refuse(410, None));
    space.apply::<FeatureRollout>(&rollout("four", 1)).await.unwrap();
    until_says(&space, "hook", "False EndpointGone", "HTTP status 410").await;
    let asked = receiver.asked().len();
    pause(2500).await;
    assert_eq!(receiver.asked().len(), asked, "it is left alone");
    receiver.behave(Behaviour::Take);
    let edit = json!({"spec": {"timeout": "2s"}});
    assert_eq!(space.merge("NotificationChannel", "hook", &edit).await.code, 200);
    until_sent(&space, "hook", 3).await;
    until_says(&space, "hook", "True Valid", "").await;

    // A Secret that goes, a name that leads nowhere, an address that is refused: said, and rollouts go on.
    let nowhere = json!({"webhook": {"url": "http://127.0.0.1:1/x"}});
    channel(&space, "nowhere", &nowhere, &json!({})).await;
    let refused =
        json!({"metadata": {"name": "refused"}, "spec": {"webhook": {"url": receiver.url("/refused")}}});
    space.apply::<NotificationChannel>(&refused.to_string()).await.unwrap();
    space.api::<Secret>().delete("keys", &Default::default()).await.unwrap();
    let edit = json!({"spec": {"timeout": "1s"}});
    assert_eq!(space.merge("NotificationChannel", "hook", &edit).await.code, 200);
    until_says(
        &space,
        "hook",
        "False ReferenceNotFound",
        "spec.webhook.urlSecretRef: Secret \"keys\" has no key \"url\"",
    )
    .await;
    space.apply::<FeatureRollout>(&rollout("five", 2)).await.unwrap();
    space.until("five", "completed", |s| s.completed_at.is_some() && is_ready(s)).await;
    until_says(&space, "nowhere", "False Retrying", "the connection is refused").await;
    until_says(&space, "refused", "False Retrying", "the address may not be reached").await;
    until_says(&space, "hook", "False ReferenceNotFound", "; 1 message waits").await;
    assert!(receiver.taken("/refused").is_empty());
    secrets(&space, &receiver.url("/x")).await;
    eventually("it is found again", async || status(&space, "hook").await.sent >= 4).await;
    running.stop().await;
}

#[tokio::test]
async fn what_is_no_channel_is_refused() {
    let space = Space::shared("tell-refused").await;
    for (spec, says) in [
        ("{}", "give exactly one of slack"),
        (
            "{webhook: {url: 'http://a.example'}, teams: {urlSecretRef: {name: a, key: b}}}",
            "give exactly one of slack",
        ),
        ("{webhook: {}}", "give exactly one of url and urlSecretRef"),
        ("{webhook: {url: 'ftp://a.example'}}", "spec.webhook.url"),
        ("{webhook: {url: 'http://a.example'}, timeout: 31s}", "at most 30s"),
        ("{webhook: {url: 'http://a.example'}, filter: {reasons: [Exploded]}}", "Exploded"),
        (
            "{webhook: {url: 'http://a.example'}, templates: [{reason: Completed}]}",
            "give title, text or both",
        ),
        ("{webhook: {url: 'http://a.example'}, link: 'javascript:alert(1)'}", "spec.link"),
    ] {
        let yaml = format!("{{metadata: {{name: wrong}}, spec: {spec}}}");
        let refused = space.apply::<NotificationChannel>(&yaml).await.expect_err(spec).to_string();
        assert!(refused.contains(says), "{spec}: {refused}");
    }
}

/// By a real SMTP server, over TLS with a password; what is wrong with a server, a sender or a recipient is said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_go_by_a_real_smtp_server_and_what_it_refuses_is_said() {
    let space = bare_space("tell-mail").await;
    let certificate = Certificate::new();
    let (secured, plain) = (MailServer::start(Some(&certificate)).await, MailServer::start(None).await);
    let secret: Secret = serde_json::from_value(json!({
        "metadata": {"name": "mail"}, "stringData": {"username": "sluice", "password": "secret"},
    }))
    .unwrap();
    space.api::<Secret>().create(&PostParams::default(), &secret).await.unwrap();
    let running = controller(&space).await;
    let email = |server: &MailServer, more: Value| {
        let mut email = json!({"server": "127.0.0.1", "port": server.port, "from": "Sluice <sluice@a.example>",
            "to": ["team@a.example", "nobody@a.example"]});
        email.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"email": email})
    };
    let completed = json!({"filter": {"reasons": ["Completed"]}, "timeout": "5s"});
    let mut trusted = completed.clone();
    trusted["tls"] = json!({"ca": {"pem": certificate.pem}});
    trusted["link"] = json!("https://x.example/{{ name }}");
    channel(&space, "mail", &email(&secured, json!({"authSecretRef": {"name": "mail"}})), &trusted).await;
    channel(&space, "distrusts", &email(&secured, json!({})), &completed).await;
    channel(&space, "unprotected", &email(&plain, json!({})), &completed).await;
    let unknown = json!({"security": "Plain", "from": "refused@a.example"});
    channel(&space, "unknown", &email(&plain, unknown), &completed).await;
    let nobody = json!({"security": "Plain", "to": ["nobody@a.example"]});
    channel(&space, "nobody", &email(&plain, nobody), &completed).await;

    space.apply::<FeatureRollout>(&rollout("dreams", 2)).await.unwrap();
    space.until("dreams", "completed", |s| s.completed_at.is_some() && is_ready(s)).await;
    until_sent(&space, "mail", 1).await;
    let letters = secured.letters();
    let [letter] = &letters[..] else { panic!("{letters:#?}") };
    assert_eq!((&letter["tls"], &letter["user"]), (&json!(true), &json!("sluice")));
    assert_eq!(
        (&letter["from"], &letter["to"]),
        (&json!("sluice@a.example"), &json!(["team@a.example"])),
        "the others get it"
    );
    assert_eq!(letter["headers"]["subject"], "Dreams <!here>: completed");
    let told = history(&space, "dreams").await;
    let (id, _) = told.iter().find(|(_, reason)| *reason == "Completed").unwrap();
    assert_eq!(letter["headers"]["message-id"], format!("<{}@a.example>", id.replace('/', ".")));
    let (text, html) = (letter["text"].as_str().unwrap(), letter["html"].as_str().unwrap());
    assert!(
        text.starts_with("Dreams <!here>: completed") && text.contains("https://x.example/dreams"),
        "{text}"
    );
    assert!(
        html.contains("<h1") && html.contains("Dreams &lt;!here&gt;: completed") && !html.contains("<!here>"),
        "{html}"
    );

    until_says(&space, "distrusts", "False Retrying", "the TLS connection failed").await;
    until_says(&space, "unprotected", "False Retrying", "offers no STARTTLS").await;
    until_says(&space, "unknown", "False Retrying", "refuses the sender refused@a.example").await;
    until_says(&space, "unknown", "False Retrying", "we do not know this sender").await;
    until_says(&space, "nobody", "False Retrying", "refuses the recipient nobody@a.example").await;
    assert!(plain.letters().is_empty());
    running.stop().await;
}

/// An hour passes in three seconds: digests come at their times, each once, also where the controller was started anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn digests_come_at_their_times_each_once() {
    let space = bare_space("tell-digests").await;
    let (server, receiver) = (MailServer::start(None).await, Receiver::start().await);
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    let clock = Clock::accelerated("2026-03-06T08:30:00Z".parse().unwrap(), 1200);
    let start = || {
        let namespace = space.name.clone();
        Running::as_told(proxy.config(), Options { namespace, clock: clock.clone(), ..options() })
    };
    let running = start();
    let status_digest =
        json!({"name": "hourly", "schedule": "0 * * * *", "timeZone": "Europe/Berlin", "kind": "Status"});
    let alone = json!({"transitions": "Omitted", "digests": [status_digest]});
    let mail = json!({"email": {"server": "127.0.0.1", "port": server.port, "security": "Plain",
        "from": "sluice@a.example", "to": ["team@a.example"]}});
    channel(&space, "mail", &mail, &alone).await;
    let highlights = json!({"transitions": "Omitted",
        "digests": [{"name": "news", "schedule": "0 * * * *", "kind": "Highlights"}]});
    channel(&space, "news", &webhook(&receiver, "/news"), &highlights).await;
    // The care after the release is said once, in a policy.
    let care = "{metadata: {name: care}, spec: {monitoring: [{name: high, interval: 1h, reviewEvery: 1h}]}}";
    space.apply::<RolloutPolicy>(care).await.unwrap();
    let mut dreams: Value = serde_json::from_str(&rollout("dreams", 1)).unwrap();
    dreams["spec"]["policyRef"] = json!({"name": "care"});
    space.apply::<FeatureRollout>(&dreams.to_string()).await.unwrap();
    space.until("dreams", "completed", |s| s.completed_at.is_some() && is_ready(s)).await;
    let later = r#"{metadata: {name: later}, spec: {cohorts: [{name: everyone, share: 100}],
        phases: [{name: ga, steps: [{name: half, cohorts: {everyone: 50}, hold: 1000h}, {cohorts: {everyone: 100}}]}]}}"#;
    space.apply::<FeatureRollout>(later).await.unwrap();
    space.until("later", "holding", is_ready).await;
    let before = server.letters().len();
    eventually("two more digests", async || server.letters().len() >= before + 2).await;
    running.stop().await;
    let running = start();
    let before = server.letters().len();
    eventually("and two more", async || server.letters().len() >= before + 2).await;
    running.stop().await;

    let letters = server.letters();
    let mut ids: Vec<&str> =
        letters.iter().map(|letter| letter["headers"]["message-id"].as_str().unwrap()).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "each once: {ids:#?}");
    let last = &letters[before];
    let (text, html) = (last["text"].as_str().unwrap(), last["html"].as_str().unwrap());
    assert!(last["headers"]["subject"].as_str().unwrap().starts_with("Rollouts on 2026-03-0"), "{last:#}");
    let waits = format!("Waits\n- {}/later: ", space.name);
    assert!(text.replace("\r\n", "\n").contains(&waits), "{text}");
    assert!(text.contains("ga 1/2: everyone=50%") && text.contains(" CE"), "{text}");
    let review = format!("- {}/dreams: since ", space.name);
    let reviews = text.split("Reviews that are due").nth(1).unwrap_or_default();
    assert!(reviews.contains(&review) && reviews.contains("(every 1h in the period high)"), "{text}");
    assert!(html.contains("<h2") && html.contains("What is served") && html.contains("later</td>"), "{html}");
    let news = receiver.taken("/news");
    assert_eq!(news.len(), 1, "what was completed is said once, and nothing is not sent: {news:#?}");
    assert_eq!(news[0].body["type"], "dev.sluice.digest.v1alpha1.Highlights");
    assert_eq!(news[0].body["data"]["sections"][0]["rows"][0]["rollout"], format!("{}/dreams", space.name));
    assert_eq!(status(&space, "mail").await.digests.len(), 1);
}

/// A day passes in a second: each cohort is told of once in its own period, whatever the day of the others is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_cohort_is_reported_on_once_a_period() {
    let space = bare_space("tell-cohorts").await;
    let receiver = Receiver::start().await;
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    let clock = Clock::accelerated("2026-03-05T12:00:00Z".parse().unwrap(), 86_400);
    let options = Options { namespace: space.name.clone(), clock, ..options() };
    let running = Running::as_told(proxy.config(), options);
    let users = r#"{metadata: {name: users}, spec: {cohorts: [
        {name: early, title: Early adopters, share: 10, match: {attributes: {segment: A}}, monitoring: {report: Daily}},
        {name: regular, title: Regulars, share: 90, match: {attributes: {segment: B}}, monitoring: {report: Weekly}},
        {name: others}]}}"#;
    space.apply::<CohortSet>(users).await.unwrap();
    // The FlagSet says how the users are divided.
    space
        .apply::<sluice::api::FlagSet>("{metadata: {name: app}, spec: {cohortSetRef: {name: users}}}")
        .await
        .unwrap();
    let dreams = r#"{metadata: {name: dreams}, spec: {feature: {title: Dreams}, flagSetRef: {name: app},
        phases: [{name: ga, steps: [{cohorts: {early: 100, regular: 5}, hold: 1000d}, {cohorts: {regular: 50}}]}]}}"#;
    space.apply::<FeatureRollout>(dreams).await.unwrap();
    space
        .until("dreams", "holding", |s| {
            is_ready(s) && s.served.as_deref() == Some("early=100%,regular=5%,others=0%")
        })
        .await;
    let digest =
        json!({"name": "segments", "schedule": "0 0 * * *", "timeZone": "Europe/Berlin", "kind": "Cohorts"});
    let alone = json!({"transitions": "Omitted", "digests": [digest]});
    channel(&space, "segments", &webhook(&receiver, "/segments"), &alone).await;
    let weekly = |taken: &receiver::Taken| {
        taken.body["data"]["cohorts"].as_array().unwrap().iter().any(|chapter| chapter["cohort"] == "regular")
    };
    eventually("two weeks have been told of", async || {
        receiver.taken("/").iter().filter(|taken| weekly(taken)).count() >= 2
    })
    .await;
    running.stop().await;

    let taken = receiver.taken("/");
    let monday = |at: MicroTime| {
        let local = at.to_zoned(jiff::tz::TimeZone::get("Europe/Berlin").unwrap()).date();
        local.saturating_sub(jiff::Span::new().days(i64::from(local.weekday().to_monday_zero_offset())))
    };
    let mut before = status(&space, "segments").await.since.unwrap();
    for taken in &taken {
        let at: MicroTime = taken.body["time"].as_str().unwrap().parse().unwrap();
        assert!(at > before, "each day once: {taken:#?}");
        let cohorts = taken.body["data"]["cohorts"].as_array().unwrap();
        assert_eq!(cohorts[0]["cohort"], "early", "every day");
        assert_eq!(weekly(taken), monday(before) != monday(at), "in each week once, at {at} after {before}");
        assert_eq!(cohorts.len(), 1 + usize::from(weekly(taken)), "others have no report");
        before = at;
    }
    let first = &taken[0].body;
    assert_eq!(first["type"], "dev.sluice.digest.v1alpha1.Cohorts");
    assert_eq!(first["data"]["cohorts"][0]["title"], "Early adopters");
    let rows = |heading: &str| {
        let weekly = taken.iter().find(|taken| weekly(taken)).unwrap();
        let sections = weekly.body["data"]["cohorts"][1]["sections"].as_array().unwrap().clone();
        let section = sections.into_iter().find(|section| section["heading"] == heading).unwrap();
        section["rows"][0]["says"].as_str().unwrap().to_owned()
    };
    assert!(rows("What they get").starts_with("5%, the first of them since "), "{}", rows("What they get"));
    assert!(
        rows("What comes next").starts_with("50% by the step ga/2, which waits: "),
        "{}",
        rows("What comes next")
    );
}
