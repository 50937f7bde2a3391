//! A real Alertmanager, built with Go once, and what its own API says of what it was told.

use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::receiver::Receiver;
use super::{act, channel, rollout, until_says};
use crate::support::bare::Running;
use crate::support::go_tools::alertmanager;
use crate::support::metrics::{Measured, verdict};
use crate::support::{LOOKS, eventually, is_ready, pause};

/// An Alertmanager on the loopback, until it is dropped. It tells a receiver of what fires and of what is over.
struct Alertmanager {
    child: Child,
    url: String,
    _folder: tempfile::TempDir,
}

impl Alertmanager {
    async fn start(receiver: &Receiver) -> Alertmanager {
        let program = tokio::task::spawn_blocking(alertmanager).await.unwrap();
        // Free a moment ago.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let config = json!({
            "route": {"receiver": "test", "group_by": ["..."], "group_wait": "100ms", "group_interval": "200ms",
                "repeat_interval": "1h"},
            "receivers": [{"name": "test", "webhook_configs": [{"url": receiver.url("/am"), "send_resolved": true}]}],
        });
        // JSON, which is YAML, too.
        std::fs::write(folder.path().join("alertmanager.yml"), config.to_string()).unwrap();
        let child = Command::new(program)
            .current_dir(folder.path())
            .args(["--config.file=alertmanager.yml", "--storage.path=data", "--cluster.listen-address="])
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let url = format!("http://127.0.0.1:{port}");
        let alertmanager = Alertmanager { child, url, _folder: folder };
        let http = reqwest::Client::new();
        eventually("Alertmanager is ready", async || {
            let asked = http.get(format!("{}/-/ready", alertmanager.url)).send().await;
            asked.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
        alertmanager
    }

    /// The alerts that it lists: what is over by now is not among them.
    async fn alerts(&self) -> Vec<Value> {
        let answer = reqwest::get(format!("{}/api/v2/alerts", self.url)).await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.json().await.unwrap()
    }

    /// Severity and state of each.
    async fn states(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let all = self.alerts().await;
        all.iter()
            .map(|alert| (text(&alert["labels"]["severity"]), text(&alert["status"]["state"])))
            .collect()
    }

    /// Silences a rollout, as a person does.
    async fn silence(&self, rollout: &str) {
        let now = sluice::clock::real_now();
        let silence = json!({
            "matchers": [{"name": "rollout", "value": rollout, "isRegex": false, "isEqual": true}],
            "startsAt": now, "endsAt": now.saturating_add(jiff::SignedDuration::from_hours(1)),
            "createdBy": "ada", "comment": "we know",
        });
        let request = reqwest::Client::new().post(format!("{}/api/v2/silences", self.url)).json(&silence);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        // It may have ended by itself: then nothing was listed.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

async fn until_states(alertmanager: &Alertmanager, what: &str, expected: &[(&str, &str)]) {
    let mut found = Vec::new();
    for _ in 0..LOOKS {
        found = alertmanager.states().await;
        found.sort();
        if found
            .iter()
            .map(|(severity, state)| (severity.as_str(), state.as_str()))
            .eq(expected.iter().copied())
        {
            return;
        }
        pause(50).await;
    }
    panic!("{what}: {found:?}, not {expected:?}");
}

/// What Alertmanager has sent on of a rollout: firing or resolved, in order.
fn told(receiver: &Receiver) -> Vec<String> {
    let taken = receiver.taken("/am");
    taken.iter().map(|taken| taken.body["status"].as_str().unwrap_or_default().to_owned()).collect()
}

const ERRORS: &str = r#"
  triggers:
  - name: error-rate
    metric: {templateRef: {name: errors}}
    interval: 1s
    levels: [{severity: Critical, above: "10", for: 2s, action: ImmediateRollback}]
"#;

/// A rollback by a trigger fires; it is over when the trigger has passed again, and not by an acknowledgement alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_alertmanager_lists_a_rollback_until_it_is_verified() {
    let world = Measured::start("tell-alertmanager").await;
    let receiver = Receiver::start().await;
    let alertmanager = Alertmanager::start(&receiver).await;
    let controller: Running = world.controller();
    let kind = json!({"alertmanager": {"url": alertmanager.url}});
    let link = json!({"link": "https://x.example/{{ namespace }}/{{ name }}"});
    channel(&world.space, "alerts", &kind, &link).await;
    world.apply_rollout(ERRORS).await;
    world.until("passing", |status| verdict(status, "error-rate", "") == Some("Pass")).await;
    assert_eq!(alertmanager.states().await, [], "steps are no alerts");

    world.app.set_error_percent(20.0);
    world.until("rolled back", |status| status.rollback.is_some()).await;
    until_states(&alertmanager, "it fires", &[("critical", "active")]).await;
    let alerts = alertmanager.alerts().await;
    let [alert] = &alerts[..] else { panic!("{alerts:#?}") };
    let labels = json!({"alertname": "SluiceRollout", "namespace": world.space.name, "rollout": "dreams", "severity": "critical"});
    assert_eq!(alert["labels"], labels);
    assert_eq!(alert["annotations"]["summary"], "dreams: rolled back");
    assert!(
        alert["annotations"]["description"].as_str().unwrap().contains("error-rate was above 10"),
        "{alert:#}"
    );
    assert_eq!(alert["generatorURL"], format!("https://x.example/{}/dreams", world.space.name));

    // Somebody is on it: that does not make it over, and a silence is theirs to make.
    act(&world.space, "dreams", "Acknowledge").await;
    alertmanager.silence("dreams").await;
    until_states(&alertmanager, "it is silenced", &[("critical", "suppressed")]).await;

    world.app.set_error_percent(0.0);
    world
        .until("verified", |status| {
            status.rollback.as_ref().is_some_and(|rollback| rollback.verified_at.is_some())
        })
        .await;
    until_states(&alertmanager, "it is over", &[]).await;
    assert_eq!(told(&receiver).first().map(String::as_str), Some("firing"));
    until_says(&world.space, "alerts", "True Valid", "").await;
    controller.stop().await;
}

/// Nothing measures a rollback by hand: whoever starts again says that it is over. An Alertmanager that was away is told later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_alertmanager_hears_of_what_it_missed_and_when_that_is_over() {
    let space = crate::support::bare::bare_space("tell-alertmanager-away").await;
    let receiver = Receiver::start().await;
    let running = super::controller(&space).await;
    let kind = json!({"alertmanager": {"url": "http://127.0.0.1:1"}});
    channel(&space, "alerts", &kind, &json!({})).await;
    space.apply::<sluice::api::FeatureRollout>(&rollout("dreams", 2)).await.unwrap();
    space.until("dreams", "completed", |s| s.completed_at.is_some() && is_ready(s)).await;
    act(&space, "dreams", "Rollback").await;
    until_says(&space, "alerts", "False Retrying", "the connection is refused").await;

    let back = Alertmanager::start(&receiver).await;
    let edit = json!({"spec": {"alertmanager": {"url": back.url}}});
    assert_eq!(space.merge("NotificationChannel", "alerts", &edit).await.code, 200);
    until_states(&back, "it fires", &[("critical", "active")]).await;
    act(&space, "dreams", "Retry").await;
    until_states(&back, "it is over", &[]).await;
    eventually("Alertmanager has told both", async || told(&receiver) == ["firing", "resolved"]).await;
    running.stop().await;
}
