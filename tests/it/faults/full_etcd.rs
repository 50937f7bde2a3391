//! etcd has no space left: the API server reads and writes nothing any more, until somebody makes room and says so.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::PostParams;
use serde_json::{Value, json};
use sluice::api::FeatureRolloutStatus;
use sluice::clock::Clock;
use sluice::controller;
use sluice::sandbox::{ControlPlane, Options, install_crds};

use super::{apply, assert_stepped_once, names, until_begun};
use crate::support::bare::{Recorded, Running, assert_never_fell};
use crate::support::{Space, is_ready, options, pause};

/// As much as etcd may hold. The kinds and what the API server keeps of its own take a few megabytes.
const QUOTA: usize = 24 << 20;
/// As much as one value may have.
const VALUE: usize = 1 << 20;

/// etcd, asked by its own interface.
struct Etcd(String);

impl Etcd {
    async fn ask(&self, what: &str, body: Value) -> Result<Value, String> {
        let url = format!("{}/v3/{what}", self.0);
        let answer = reqwest::Client::new().post(url).json(&body).send().await.unwrap();
        let is_done = answer.status().is_success();
        let said: Value = answer.json().await.unwrap_or_default();
        if is_done { Ok(said) } else { Err(said.to_string()) }
    }

    /// Writes other things until there is no space.
    async fn fill(&self) {
        for number in 0..2 * QUOTA / VALUE {
            let value = STANDARD.encode(vec![b'x'; VALUE]);
            let put = json!({"key": STANDARD.encode(format!("/other/{number}")), "value": value});
            if let Err(said) = self.ask("kv/put", put).await {
                assert!(said.contains("space exceeded"), "{said}");
                return;
            }
        }
        panic!("there is no end to its space");
    }

    /// Does as its operators are told to: makes room, and takes the alarm back.
    async fn make_room(&self) {
        let range = json!({"key": STANDARD.encode("/other/"), "range_end": STANDARD.encode("/other0")});
        let deleted = self.ask("kv/deleterange", range).await.unwrap();
        let revision = deleted["header"]["revision"].clone();
        self.ask("kv/compaction", json!({"revision": revision, "physical": true})).await.unwrap();
        self.ask("maintenance/defragment", json!({})).await.unwrap();
        let alarms = self.ask("maintenance/alarm", json!({"action": "GET"})).await.unwrap();
        for alarm in alarms["alarms"].as_array().unwrap() {
            let taken_back =
                json!({"action": "DEACTIVATE", "memberID": alarm["memberID"], "alarm": "NOSPACE"});
            self.ask("maintenance/alarm", taken_back).await.unwrap();
        }
    }
}

#[tokio::test]
async fn case_42_without_space_in_etcd_nothing_is_raised_or_lost_and_the_steps_follow_once_there_is_some() {
    let extra_etcd_args = vec![format!("--quota-backend-bytes={QUOTA}")];
    let plane = ControlPlane::start(Options { extra_etcd_args, ..Options::default() }).await.unwrap();
    install_crds(&plane.client().unwrap()).await.unwrap();
    let space = Space::on(plane.client().unwrap(), "full").await;
    let begin = sluice::clock::real_now();
    let (clock, mover) = Clock::moved_by_hand(begin);
    let after = |hours: i64| mover.move_to(begin + SignedDuration::from_secs(3600 * hours + 60));
    let controller = Running::as_told(plane.client_config(), controller::Options { clock, ..options() });
    let names = names(2);
    apply(&space, &names, "1h").await;
    until_begun(&space, &names).await;
    let recorded = [Recorded::start(&space, &names[0]), Recorded::start(&space, &names[1])];
    for (name, recorded) in names.iter().zip(&recorded) {
        assert!(!recorded.all_of(name).await.is_empty(), "{name} is recorded before there is no space");
    }

    let etcd = Etcd(plane.etcd_url().to_owned());
    etcd.fill().await;
    let probe: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "probe"}})).unwrap();
    let refused = space.api::<ConfigMap>().create(&PostParams::default(), &probe).await.unwrap_err();
    assert!(refused.to_string().contains("space exceeded"), "{refused}");
    after(1);
    // A step is due.
    pause(2_000).await;
    for name in &names {
        let status = space.status(name).await;
        assert_eq!(status.served.as_deref(), Some("everyone=5%"), "{name}: {status:#?}");
        let file = space.file(name).await.unwrap();
        let (_, served) = crate::support::bare::served(&file, name).unwrap();
        assert!(served["everyone"] < 5.001, "{name}: {served:?}");
    }
    etcd.make_room().await;
    space.api::<ConfigMap>().create(&PostParams::default(), &probe).await.expect("there is room again");
    for (hours, percent) in [(2, "50%"), (3, "100%")] {
        for name in &names {
            let served = format!("everyone={percent}");
            let is_served =
                |status: &FeatureRolloutStatus| status.served.as_deref() == Some(&served) && is_ready(status);
            space.until(name, &served, is_served).await;
        }
        after(hours);
    }
    for (name, recorded) in names.iter().zip(&recorded) {
        assert_stepped_once(&space, name).await;
        assert_never_fell(&recorded.all_of(name).await);
    }
    controller.stop().await;
    plane.stop().await.unwrap();
}
