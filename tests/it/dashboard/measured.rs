//! What was measured lately: told over TLS to whoever may get the rollout, and shown as courses on its page.

use std::io::{Read, Write};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::DeleteParams;
use sluice::api::measured::{MeasuredKind, Said};
use sluice::controller::{self, Election, MEASUREMENTS_CONFIG_MAP, MeasurementsListening, Timing};
use sluice::dashboard::MeasuringController;

use super::people::{self, PUBLIC};
use super::*;
use crate::support::eventually;
use crate::support::measurements::{asked, certificates, get, listening, told};
use crate::support::metrics::Measured;

/// What watches over the rollout: a trigger of the whole, one by cohort, one without data, and a criterion.
pub const WATCHED: &str = r#"
  triggers:
  - name: errors
    metric: {templateRef: {name: errors}}
    interval: 1s
    levels:
    - {severity: Warning, above: "30", action: Pause}
    - {severity: Critical, above: "60", action: ImmediateRollback}
  - name: latency
    perCohort: {label: cohort}
    metric: {templateRef: {name: latency}}
    interval: 1s
    levels: [{severity: Critical, above: "9000", for: 1m, action: GradualRollback}]
  - name: silence
    metric: {templateRef: {name: nothing}}
    interval: 1s
    onNoData: Ignore
    levels: [{severity: Info, above: "1", action: Notify}]
  criteria:
  - {name: adoption, metric: {templateRef: {name: errors}}, atMost: "70", interval: 1s}
"#;

/// A world in which those are measured by a controller that tells it here.
async fn measured(name: &str) -> (Measured, Running, SocketAddr) {
    let world = Measured::start(name).await;
    let query = "100 * sum(rate(http_requests_total{service=\"dreams\",code=\"500\"}[2s])) / sum(rate(http_requests_total{service=\"dreams\"}[2s]))";
    world.apply_template_in("errors", query, Some("%")).await;
    world.app.set_error_percent(12.5);
    let listening = listening();
    let address = listening.address;
    let options = controller::Options { measurements: Some(listening), ..world.options() };
    let controller = Running::as_told(world.proxy.config(), options);
    world.apply_rollout(WATCHED).await;
    (world, controller, address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_measured_is_told_over_tls_to_whoever_may_get_the_rollout_and_to_nobody_else() {
    let (world, controller, address) = measured("measured-told").await;
    let space = &world.space;
    let ca = certificates(space).await;
    let (sees, other) = (
        people::token(space, "sees", &["get"]).await,
        people::token(space, "other", &["list", "pause"]).await,
    );
    let rollout = format!("{}/dreams", space.name);
    let of = async |kind, name: &str| {
        let all = told(&ca, address, &sees, &rollout).await.series;
        all.into_iter().filter(|series| series.kind == kind && series.name == name).collect::<Vec<_>>()
    };
    eventually("three readings of each are told", async || {
        // The API server has to hear of the role first.
        let (status, _) = asked(&ca, address, &format!("Bearer {sees}"), &rollout).await.unwrap();
        if status != 200 {
            return false;
        }
        let errors = of(MeasuredKind::Trigger, "errors").await;
        let criterion = of(MeasuredKind::Criterion, "adoption").await;
        let has = |series: &[sluice::api::measured::MeasuredSeries]| {
            series.len() == 1 && series[0].said.iter().filter_map(|said| said.value()).count() >= 3
        };
        has(&errors) && has(&criterion)
    })
    .await;
    let errors = of(MeasuredKind::Trigger, "errors").await.remove(0);
    assert_eq!((errors.unit.as_deref(), errors.interval_seconds, errors.cohort), (Some("%"), 1, None));
    let value = errors.said.iter().rev().find_map(|said| said.value()).unwrap();
    assert!((value - 12.5).abs() < 5.0, "{value}");
    assert!(errors.at.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", errors.at);
    let latency = of(MeasuredKind::Trigger, "latency").await;
    let cohorts: Vec<_> = latency.iter().map(|series| series.cohort.as_deref()).collect();
    assert_eq!(cohorts, [Some("all"), Some("early")]);
    let silence = of(MeasuredKind::Trigger, "silence").await.remove(0);
    assert!(silence.said.iter().all(|said| matches!(said, Said::Missing(_))), "{silence:?}");
    assert!(silence.message.is_some());

    // Nobody else is told anything, and nobody learns what there is.
    let elsewhere = bare_space("measured-elsewhere").await;
    for (authorization, rollout, code) in [
        (format!("Bearer {other}"), rollout.clone(), 403),
        (format!("Bearer {other}"), format!("{}/none", space.name), 403),
        (format!("Bearer {sees}"), format!("{}/dreams-2", space.name), 403),
        (format!("Bearer {sees}"), format!("{}/dreams", elsewhere.name), 403),
        (format!("Bearer {sees}x"), rollout.clone(), 401),
        ("Bearer wrong".to_owned(), rollout.clone(), 401),
        (format!("Basic {sees}"), rollout.clone(), 401),
        (sees.clone(), rollout.clone(), 401),
        ("Bearer ".to_owned(), rollout.clone(), 401),
    ] {
        let (status, text) = asked(&ca, address, &authorization, &rollout).await.unwrap();
        assert_eq!(status, code, "{rollout}: {text}");
        assert!(!text.contains("errors") && !text.contains("series"), "{text}");
    }
    // A certificate of another authority is not the controller's, and in plain text nothing is said.
    let foreign = sluice_sandbox_ca();
    let refused = asked(&foreign, address, &format!("Bearer {sees}"), &rollout).await.unwrap_err();
    assert_eq!(refused, "the TLS connection failed");
    let plain = tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let _ =
            stream.write_all(format!("GET /measurements/{rollout} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    });
    let answer = plain.await.unwrap();
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP"), "{answer:?}");

    // Answers are believed for seconds: many questions of one person are few reviews.
    let reviews = || world.proxy.asked("tokenreviews").len();
    let rollout = format!("{}/dreams", space.name);
    let before = reviews();
    for _ in 0..40 {
        told(&ca, address, &sees, &rollout).await;
    }
    assert!(reviews() - before <= 3, "{} reviews for 40 questions", reviews() - before);

    // What it is known by is put back, and nothing of a rollout outlives it.
    space.api::<FeatureRollout>().delete("dreams", &DeleteParams::default()).await.unwrap();
    eventually("nothing is told of one that is gone", async || {
        told(&ca, address, &sees, &rollout).await.series.is_empty()
    })
    .await;
    controller.stop().await;
}

/// The certificate of an authority that has nothing to do with the controller.
fn sluice_sandbox_ca() -> String {
    let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "sluice measurements");
    params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_stands_by_says_so_and_all_have_one_authority() {
    let (world, leader, address) = measured("measured-standby").await;
    let ca = certificates(&world.space).await;
    let listening = MeasurementsListening { tells_metrics: true, ..listening() };
    let standby_address = listening.address;
    let timing = Timing::new(
        std::time::Duration::from_secs(300),
        std::time::Duration::from_secs(200),
        std::time::Duration::from_secs(50),
    )
    .unwrap();
    // Nobody takes a Lease that was not there before the lease's duration is over.
    let election = Election {
        client: controller::election_client(world.proxy.config(), &timing).unwrap(),
        namespace: world.space.name.clone(),
        name: controller::LEASE.to_owned(),
        identity: controller::identity("standby"),
        timing,
        shards: controller::Shards::ONE,
    };
    let options =
        controller::Options { measurements: Some(listening), election: Some(election), ..world.options() };
    let standby = Running::as_told(world.proxy.config(), options);
    let rollout = format!("{}/dreams", world.space.name);
    eventually("the standby answers under the same authority", async || {
        asked(&ca, standby_address, "Bearer x", &rollout).await.is_ok()
    })
    .await;
    let (status, text) = asked(&ca, standby_address, "Bearer x", &rollout).await.unwrap();
    assert_eq!((status, text.as_str()), (421, "this process stands by, another one measures"));
    let (status, _) = asked(&ca, address, "Bearer x", &rollout).await.unwrap();
    assert_eq!(status, 401, "the leader asks who it is");
    // Its own metrics are told by each, so it has to be asked here, too, who somebody is.
    let token = format!("Bearer {}", people::token(&world.space, "other", &["get", "list"]).await);
    let (status, text) = get(&ca, standby_address, &token, "/metrics").await.unwrap();
    assert_eq!((status, text.as_str()), (403, "you may not get the path /metrics"));
    let (status, _) = get(&ca, address, &token, "/metrics").await.unwrap();
    assert_eq!(status, 404, "they are told where that is wanted");
    standby.stop().await;
    leader.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_shows_the_courses_or_says_in_a_line_why_there_are_none() {
    let (world, controller, address) = measured("measured-page").await;
    let space = &world.space;
    let folder = tempfile::tempdir().unwrap();
    let (file, wrong) = (folder.path().join("ca.crt"), folder.path().join("wrong.crt"));
    std::fs::write(&wrong, sluice_sandbox_ca()).unwrap();
    let url = || Url::parse(&format!("https://localhost:{}/", address.port())).unwrap();
    let at =
        |file: &Path| Measurements::At(Box::new(MeasuringController::new(url(), file.to_owned()).unwrap()));
    let token = people::token(space, "sees", &["get", "list", "watch"]).await;
    let config = || SignIn::Token(Box::new(bare().client_config()));
    let page = page_of(space);
    let entered = async |panel: &Served| {
        let mut browser = Browser::at(panel.panel.address, PUBLIC);
        browser.send(Method::POST, "/enter", Some(format!("token={token}"))).await;
        browser
    };
    let panel = Served::measuring(config(), Some(PUBLIC), &[&space.name], at(&file)).await;
    let mut browser = entered(&panel).await;
    // The file comes after the panel, as where both are installed at once.
    let early = browser.until(&page, "No courses are shown").await;
    assert!(early.text.contains("cannot be read yet"), "{}", early.text);
    std::fs::write(&file, certificates(space).await).unwrap();
    browser.until(&page, "class=\"course\"").await;
    eventually("the value is on the page", async || browser.get(&page).await.text.contains("12.5%")).await;
    let shown = browser.get(&page).await.text;
    for words in [
        "Critical: above 60% → ImmediateRollback",
        "Warning: above 30% → Pause",
        "passes",
        "target: at most 70%",
        "meets the target",
        "no data",
        "data-every=\"5\"",
        "The newest values of latency",
        "curve c1 d1",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    // What is missing is shown as missing, whatever was measured before.
    world.app.set_error_percent(45.0);
    eventually("a breach is in words", async || browser.get(&page).await.text.contains("in breach, Warning"))
        .await;
    world.app.set_silent(true);
    eventually("what is missing is a gap, and said", async || {
        let text = browser.get(&page).await.text;
        let (_, errors) = text.split_once("<b>errors</b>").unwrap();
        let (figure, _) = errors.split_once("</figure>").unwrap();
        figure.contains("class=\"gap\"") && figure.contains("no data</span>")
    })
    .await;

    // A stranger with a certificate of his own is not shown anybody's token.
    let deceived = Served::measuring(config(), Some(PUBLIC), &[&space.name], at(&wrong)).await;
    let mut browser = entered(&deceived).await;
    let refused = browser.until(&page, "No courses are shown").await;
    assert!(
        refused.text.contains("the controller is not reached: the TLS connection failed"),
        "{}",
        refused.text
    );
    // Who is known by a certificate has nothing to show.
    let local = bare().kubeconfig();
    let local = Config::from_custom_kubeconfig(local, &KubeConfigOptions::default()).await.unwrap();
    let by_certificate =
        Served::measuring(SignIn::Kubeconfig(Box::new(local)), None, &[&space.name], at(&file)).await;
    let mut browser = by_certificate.entered().await;
    let said = browser.until(&page, "No courses are shown").await;
    assert!(said.text.contains("knows you by something else than a token"), "{}", said.text);

    // Somebody has emptied the ConfigMap: the controller puts it back; nothing depends on that meanwhile.
    assert!(space.api::<ConfigMap>().get_opt(MEASUREMENTS_CONFIG_MAP).await.unwrap().is_some());
    controller.stop().await;
    let mut browser = entered(&panel).await;
    let gone = browser.until(&page, "No courses are shown").await;
    assert!(gone.text.contains("the controller is not reached: the connection is refused"), "{}", gone.text);
    assert!(gone.text.contains("Triggers and criteria"), "the rest is there: {}", gone.text);
}
