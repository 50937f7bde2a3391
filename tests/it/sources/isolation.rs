//! One source's troubles are its own, and many who ask the same are one.

use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use futures::future::join_all;
use sluice::api::metricsource::Circuit;
use sluice::sources::Monotonic;

use super::*;

fn named(uid: &str, spec: &Value) -> MetricSource {
    let mut source = source(spec);
    source.metadata.uid = Some(uid.to_owned());
    source
}

/// The same query some slots later.
fn later(request: &Request, slots: i64) -> Request {
    Request { at: request.at + SignedDuration::from_secs(30 * slots), ..request.clone() }
}

#[tokio::test]
async fn a_thousand_equal_queries_of_a_slot_are_one_request() {
    let server = Hostile::start(None, |asked| Reply::now(asked, "7")).await;
    let source = source(&here(&server.url()));
    let (sources, resolved) = (Sources::new(Options::default()), ready(&source));
    let asked = request(query(&source, json!({"promql": "up"})));
    let all = join_all((0..1000).map(|_| sources.measure(&resolved, &asked))).await;
    assert!(all.iter().all(|readings| *readings == Readings::Whole(value(7.0))));
    assert_eq!(server.asked().len(), 1);
    sources.measure(&resolved, &asked).await;
    assert_eq!(server.asked().len(), 1, "nor once it is there");
    sources.measure(&resolved, &later(&asked, 1)).await;
    assert_eq!(server.asked().len(), 2, "another slot");
    sources.measure(&resolved, &request(query(&source, json!({"promql": "down"})))).await;
    assert_eq!(server.asked().len(), 3, "another query");
    let mut edited = source.clone();
    edited.metadata.generation = Some(2);
    sources.measure(&ready(&edited), &asked).await;
    assert_eq!(server.asked().len(), 4, "another generation of the source");
}

#[tokio::test]
async fn the_answer_of_one_namespace_is_not_anothers() {
    let server = Hostile::start(None, |asked| {
        Reply::vector(
            AT,
            &[("{}", if asked.parameter("query").unwrap().contains("maya") { "1" } else { "2" })],
        )
    })
    .await;
    let mut spec = here(&server.url());
    spec["namespaceLabel"] = json!("namespace");
    let source = source(&spec);
    let (sources, resolved) = (Sources::new(Options::default()), ready(&source));
    let of = |namespace| {
        prepare(&context(namespace), &template(json!({"promql": "up"})), Some(&source), &BTreeMap::new())
            .unwrap()
    };
    for (namespace, expected) in [("maya", 1.0), ("other", 2.0), ("maya", 1.0)] {
        let readings = sources.measure(&resolved, &request(of(namespace))).await;
        assert_eq!(readings, Readings::Whole(value(expected)), "{namespace}");
    }
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn whoever_goes_away_takes_nobodys_answer_along() {
    let first = Arc::new(AtomicBool::new(true));
    let server = Hostile::start(None, {
        let first = Arc::clone(&first);
        move |_| {
            if first.swap(false, Ordering::SeqCst) { Reply::Hang } else { Reply::vector(AT, &[("{}", "7")]) }
        }
    })
    .await;
    let source = source(&here(&server.url()));
    let (sources, resolved) = (Sources::new(Options::default()), ready(&source));
    let asked = request(query(&source, json!({"promql": "up"})));
    let goes = tokio::spawn({
        let (sources, resolved, asked) = (sources.clone(), resolved.clone(), asked.clone());
        async move { sources.measure(&resolved, &asked).await }
    });
    eventually("the first has asked", async || server.asked().len() == 1).await;
    let stays = sources.measure(&resolved, &asked);
    goes.abort();
    assert_eq!(stays.await, Readings::Whole(value(7.0)));
}

#[tokio::test]
async fn a_source_that_hangs_delays_no_other_and_has_its_places_only() {
    let hanging = Hostile::always(Reply::Hang).await;
    let healthy = Hostile::start(None, |asked| Reply::now(asked, "7")).await;
    let mut spec = here(&hanging.url());
    spec["limits"] = json!({"concurrency": 2});
    spec["timeout"] = json!("5s");
    let (ill, well) = (named("ill", &spec), named("well", &here(&healthy.url())));
    let sources = Sources::new(Options::default());
    let asked = request(query(&well, json!({"promql": "up"})));
    let stuck: Vec<_> = (0..50)
        .map(|i| {
            let (sources, ill, asked) = (sources.clone(), ready(&ill), later(&asked, i));
            tokio::spawn(async move { sources.measure(&ill, &asked).await })
        })
        .collect();
    eventually("the places of the ill one are taken", async || hanging.asked().len() == 2).await;
    for i in 0..20 {
        let readings = sources.measure(&ready(&well), &later(&asked, i)).await;
        assert_eq!(readings, Readings::Whole(value(7.0)));
    }
    assert!(stuck.iter().all(|task| !task.is_finished()), "the others answered first");
    assert_eq!((healthy.asked().len(), hanging.most_open()), (20, 2));
    for task in stuck {
        task.abort();
    }
    eventually("nothing is left behind", async || hanging.open() == 0).await;
}

#[tokio::test]
async fn the_circuit_opens_after_errors_in_a_row_and_closes_after_a_probe() {
    let ill = Arc::new(AtomicBool::new(true));
    let server = Hostile::start(None, {
        let ill = Arc::clone(&ill);
        move |asked| {
            if ill.load(Ordering::SeqCst) { Reply::Body(500, String::new()) } else { Reply::now(asked, "7") }
        }
    })
    .await;
    let passed = Arc::new(AtomicU64::new(0));
    let monotonic = Monotonic::of({
        let (start, passed) = (Instant::now(), Arc::clone(&passed));
        move || start + Duration::from_secs(passed.load(Ordering::SeqCst))
    });
    let sources = Sources::new(Options { monotonic, ..Options::default() });
    let mut spec = here(&server.url());
    spec["limits"] = json!({"requestsPerSecond": 1000});
    let source = source(&spec);
    let resolved = ready(&source);
    let asked = request(query(&source, json!({"promql": "up"})));
    let failed = Readings::Whole(error("the source answered with a 5xx status"));
    let open = Readings::Whole(error(
        "the source answered with a 5xx status; after repeated errors it is asked again only after a while",
    ));
    let mut slot = 0;
    let mut ask = async || {
        slot += 1;
        sources.measure(&resolved, &later(&asked, slot)).await
    };
    assert_eq!(sources.circuit("source-uid"), Circuit::Closed);
    for _ in 0..5 {
        assert_eq!(ask().await, failed);
    }
    assert_eq!(sources.circuit("source-uid"), Circuit::Open);
    for _ in 0..100 {
        assert_eq!(ask().await, open);
    }
    assert_eq!(server.asked().len(), 5, "it is left alone");
    passed.store(5, Ordering::SeqCst);
    assert_eq!(ask().await, failed, "the probe");
    passed.store(14, Ordering::SeqCst);
    assert_eq!(ask().await, open, "a failed probe doubles the wait");
    assert_eq!(server.asked().len(), 6);
    ill.store(false, Ordering::SeqCst);
    passed.store(15, Ordering::SeqCst);
    for _ in 0..3 {
        assert_eq!(ask().await, Readings::Whole(value(7.0)));
    }
    assert_eq!(sources.circuit("source-uid"), Circuit::Closed);
    assert_eq!(server.asked().len(), 9);
}

#[tokio::test]
async fn an_edited_source_is_asked_again_although_its_circuit_was_open() {
    let server = Hostile::always(Reply::Body(500, String::new())).await;
    let sources = Sources::new(Options::default());
    let mut source = source(&here(&server.url()));
    let asked = request(query(&source, json!({"promql": "up"})));
    for slot in 0..6 {
        sources.measure(&ready(&source), &later(&asked, slot)).await;
    }
    assert_eq!((server.asked().len(), sources.circuit("source-uid")), (5, Circuit::Open));
    source.metadata.generation = Some(2);
    sources.measure(&ready(&source), &asked).await;
    assert_eq!((server.asked().len(), sources.circuit("source-uid")), (6, Circuit::Closed));
    sources.retain(&Default::default());
    assert_eq!(sources.circuit("source-uid"), Circuit::Closed);
}

#[rstest]
#[case(Reply::Body(400, String::new()))]
#[case(Reply::Body(422, String::new()))]
#[case(Reply::ok("1".repeat(2_000_000)))]
#[tokio::test]
async fn what_one_bad_query_brings_about_does_not_open_the_circuit(#[case] reply: Reply) {
    let server = Hostile::always(reply).await;
    let sources = Sources::new(Options::default());
    let source = source(&here(&server.url()));
    let asked = request(query(&source, json!({"promql": "up"})));
    for slot in 0..10 {
        sources.measure(&ready(&source), &later(&asked, slot)).await;
    }
    assert_eq!((server.asked().len(), sources.circuit("source-uid")), (10, Circuit::Closed));
}

#[tokio::test]
async fn an_answer_that_was_never_asked_for_is_not_kept() {
    let server = Hostile::start(None, |asked| Reply::now(asked, "7")).await;
    let passed = Arc::new(AtomicU64::new(0));
    let monotonic = Monotonic::of({
        let (start, passed) = (Instant::now(), Arc::clone(&passed));
        move || start + Duration::from_secs(passed.load(Ordering::SeqCst))
    });
    let sources = Sources::new(Options { monotonic, ..Options::default() });
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let ill = source(&here(&format!("http://{closed}")));
    let asked = request(query(&ill, json!({"promql": "up"})));
    for slot in 0..5 {
        sources.measure(&ready(&ill), &later(&asked, slot)).await;
    }
    let open = Readings::Whole(error(
        "the source refuses the connection; after repeated errors it is asked again only after a while",
    ));
    let same = later(&asked, 9);
    assert_eq!(sources.measure(&ready(&ill), &same).await, open);
    passed.store(5, Ordering::SeqCst);
    let well = named("source-uid", &here(&server.url()));
    assert_eq!(sources.measure(&ready(&well), &same).await, Readings::Whole(value(7.0)), "in the same slot");
}
