//! Checks that find nothing new write nothing to the API server.

use crate::support::metrics::{Measured, verdict};
use crate::support::{eventually, pause};

#[tokio::test]
async fn checks_without_news_write_nothing() {
    let world = Measured::start("checks-quiet").await;
    let controller = world.controller();
    world
        .apply_rollout(
            r#"
  triggers:
  - name: error-rate
    metric: {templateRef: {name: errors}}
    interval: 1s
    levels: [{severity: Critical, above: "10", for: 5s, action: ImmediateRollback}]
  - name: traffic
    metric: {templateRef: {name: nothing}}
    interval: 1s
    levels: [{severity: Critical, below: "1", for: 5s, action: ImmediateRollback}]
  criteria:
  - {name: errors, metric: {templateRef: {name: errors}}, below: "5", interval: 1s}
"#,
        )
        .await;
    let settled = |status: &sluice::api::FeatureRolloutStatus| {
        verdict(status, "error-rate", "") == Some("Pass")
            && verdict(status, "traffic", "") == Some("NoData")
            && status.criteria.iter().any(|criterion| criterion.verdict == Some(sluice::api::Verdict::Pass))
            && status.published_seq == status.last_seq()
    };
    world.until("settled", settled).await;
    pause(2000).await;
    let (writes, queries) = (world.proxy.writes(), queries(&world).await);
    // Values change and verdicts do not.
    world.app.set_error_percent(3.0);
    eventually("some checks were made", async || self::queries(&world).await >= queries + 30).await;
    assert_eq!(world.proxy.writes()[writes.len()..], Vec::<String>::new());

    controller.stop().await;
    let controller = world.controller();
    let queries = self::queries(&world).await;
    eventually("some checks were made", async || self::queries(&world).await >= queries + 12).await;
    assert_eq!(world.proxy.writes()[writes.len()..], Vec::<String>::new(), "after a restart");
    controller.stop().await;
}

/// How many queries Prometheus has answered.
async fn queries(world: &Measured) -> usize {
    let url = format!("{}/metrics", world.prometheus.url());
    let text = reqwest::get(url).await.unwrap().text().await.unwrap();
    let counters = text.lines().filter(|line| {
        line.starts_with("prometheus_http_requests_total{") && line.contains("handler=\"/api/v1/query\"")
    });
    counters.map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum()
}
