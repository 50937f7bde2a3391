//! Apps in two languages put on their metrics what the file tells them of the user's cohort and variant, and what goes wrong in one
//! cohort takes the feature from that cohort.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};
use sluice::sandbox::ScrapeTarget;

use crate::support::eventually;
use crate::support::languages::{Mount, node_shop, python_shop};
use crate::support::metrics::{Measured, verdict};
use crate::support::prom::{series, value};

const FLAG: &str = "dreams";
/// Errors of each cohort's requests, in per cent, over both apps.
const ERRORS: &str = r#"100 * sum by (cohort) (rate(http_requests_total{job=~"shop.*",code="500"}[2s])) / sum by (cohort) (rate(http_requests_total{job=~"shop.*"}[2s]))"#;
const SPEC: &str = r#"
  feature: {variantNames: WithCohort}
  triggers:
  - name: errors
    perCohort: {label: cohort}
    metric: {templateRef: {name: errors-by-cohort}}
    interval: 1s
    levels: [{severity: Critical, above: "10", for: 2s, action: ImmediateRollback}]
"#;

#[tokio::test]
async fn errors_of_one_cohort_in_two_languages_take_the_feature_from_that_cohort() {
    let mount = Mount::new();
    mount.swap(r#"{"flags": {}}"#);
    let shops = [("shop-python", python_shop()), ("shop-node", node_shop())]
        .map(|(job, command)| Shop::start(job, command, &mount));
    let targets = shops.iter().map(|shop| ScrapeTarget::new(shop.job, &shop.address)).collect();
    let world = Measured::scraping("labels", targets).await;
    world.apply_template("errors-by-cohort", ERRORS).await;
    let controller = world.controller();
    world.apply_rollout(SPEC).await;
    let mut node = Node { world: &world, mount: &mount, held: String::new() };

    let url = world.prometheus.url();
    eventually("both apps count both cohorts by both variants", async || {
        node.brings_the_file().await;
        let counted = "count by (job, cohort, variant) (rate(http_requests_total{job=~\"shop.*\",code=\"200\"}[2s]) > 0)";
        let counted: Vec<Value> = series(url, counted).await.into_iter().map(|(labels, _)| labels).collect();
        shops.iter().all(|shop| {
            [("early", "enabled"), ("all", "enabled"), ("all", "disabled")].iter().all(|(cohort, variant)| {
                counted.contains(&json!({"job": shop.job, "cohort": cohort, "variant": variant}))
            })
        })
    })
    .await;
    let passes =
        |status: &_| ["early", "all"].iter().all(|cohort| verdict(status, "errors", cohort) == Some("Pass"));
    world.until("passing", passes).await;

    for shop in &shops {
        let url = format!("http://{}/fail?cohort=all", shop.address);
        assert!(reqwest::Client::new().post(url).send().await.unwrap().status().is_success());
    }
    let status = world.until("rolled back", |status| status.rollback.is_some()).await;
    assert_eq!(status.rollback.as_ref().unwrap().cohorts, ["all"]);
    assert_eq!(verdict(&status, "errors", "early"), Some("Pass"));
    eventually("no app gives that cohort the feature any more, and the other one keeps it", async || {
        node.brings_the_file().await;
        let with_feature = |cohort: &str| format!("sum(rate(http_requests_total{{job=~\"shop.*\",cohort=\"{cohort}\",variant=\"enabled\"}}[2s]))");
        let (all, early) = (value(url, &with_feature("all")).await, value(url, &with_feature("early")).await);
        world.file().await == Some((100.0, 0.0)) && all == Some(0.0) && early.is_some_and(|rate| rate > 0.0)
    })
    .await;
    controller.stop().await;
}

/// What a kubelet does: the mounted file is what the ConfigMap holds.
struct Node<'a> {
    world: &'a Measured,
    mount: &'a Mount,
    held: String,
}

impl Node<'_> {
    async fn brings_the_file(&mut self) {
        let map = self.world.space.api::<ConfigMap>().get_opt(FLAG).await.unwrap();
        let text = map.and_then(|map| map.data).and_then(|mut data| data.remove("flags.json"));
        if let Some(text) = text.filter(|text| *text != self.held) {
            self.mount.swap(&text);
            self.held = text;
        }
    }
}

/// A running shop. Ended when dropped.
struct Shop {
    job: &'static str,
    address: String,
    child: Child,
}

impl Shop {
    fn start(job: &'static str, mut command: Command, mount: &Mount) -> Shop {
        let mut child = command
            .arg(FLAG)
            .env("FLAGD_OFFLINE_FLAG_SOURCE_PATH", mount.file())
            .env("FLAGD_OFFLINE_POLL_MS", "500")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let users = (0..40).map(|i| match i % 4 {
            0 => json!({"targetingKey": format!("user-{i}"), "segment": "early"}),
            _ => json!({"targetingKey": format!("user-{i}")}),
        });
        let users: String = users.map(|user| format!("{user}\n")).collect();
        child.stdin.take().unwrap().write_all(users.as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: Value =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{job}: {line:?}: {error}"));
        Shop { job, address: said["address"].as_str().unwrap().to_owned(), child }
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
