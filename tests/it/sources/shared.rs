//! Namespaces that share a source: what one of them asks is no trouble of another's.

use std::time::Duration;

use futures::future::join_all;
use sluice::api::metricsource::Circuit;

use super::*;

/// A query of a namespace, as a rollout of it asks.
fn of(namespace: &str, source: &MetricSource, promql: &str) -> Query {
    prepare(&context(namespace), &template(json!({"promql": promql})), Some(source), &BTreeMap::new())
        .unwrap()
}

/// A request in the so-and-so-manieth slot.
fn asks(namespace: &str, source: &MetricSource, promql: &str, slot: i64) -> Request {
    let at = at() + SignedDuration::from_secs(30 * slot);
    Request { at, ..request(of(namespace, source, promql)) }
}

/// A server that never answers `slow`, fails at `broken`, and answers everything else.
async fn moody() -> Hostile {
    Hostile::start(None, |asked| {
        let query = asked.parameter("query").unwrap_or_default();
        match query.as_str() {
            "slow" => Reply::Hang,
            "broken" => Reply::Body(500, String::new()),
            _ => Reply::now(asked, "7"),
        }
    })
    .await
}

fn limited(server: &Hostile, timeout: &str, limits: Value) -> MetricSource {
    let mut spec = here(&server.url());
    spec["timeout"] = json!(timeout);
    spec["limits"] = limits;
    source(&spec)
}

#[tokio::test]
async fn the_time_outs_of_one_close_the_source_to_nobody() {
    let server = moody().await;
    let source = limited(&server, "50ms", json!({"requestsPerSecond": 1000, "concurrency": 16}));
    let (sources, resolved) = (Sources::new(Options::default()), ready(&source));
    let timed_out = Readings::Whole(error("the source did not answer within 50 ms"));
    for slot in 0..5 {
        assert_eq!(sources.measure(&resolved, &asks("greedy", &source, "slow", slot)).await, timed_out);
    }
    let left_alone = error("the query timed out several times in a row, and is left alone for a while");
    let again = sources.measure(&resolved, &asks("greedy", &source, "slow", 5)).await;
    assert_eq!(again, Readings::Whole(left_alone));
    for namespace in ["greedy", "maya"] {
        let readings = sources.measure(&resolved, &asks(namespace, &source, "up", 0)).await;
        assert_eq!(readings, Readings::Whole(value(7.0)), "{namespace}");
    }
    assert_eq!(sources.circuit("source-uid"), Circuit::Closed);
}

#[tokio::test]
async fn the_errors_that_one_gets_open_its_own_circuit_only() {
    let server = moody().await;
    let source = limited(&server, "5s", json!({"requestsPerSecond": 1000}));
    let (sources, resolved) = (Sources::new(Options::default()), ready(&source));
    sources.measure(&resolved, &asks("maya", &source, "up", 0)).await;
    for slot in 0..5 {
        sources.measure(&resolved, &asks("greedy", &source, "broken", slot)).await;
    }
    let open = Readings::Whole(error(
        "the source answered with a 5xx status; after repeated errors it is asked again only after a while",
    ));
    assert_eq!(sources.measure(&resolved, &asks("greedy", &source, "up", 1)).await, open);
    assert_eq!(
        sources.measure(&resolved, &asks("maya", &source, "up", 1)).await,
        Readings::Whole(value(7.0))
    );
    assert_eq!(sources.circuit("source-uid"), Circuit::Closed, "it answers others");
}

#[tokio::test]
async fn a_source_that_nobody_can_connect_to_is_left_alone_by_all() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let source = source(&here(&format!("http://{closed}")));
    let (sources, resolved) = (Sources::new(Options::default()), ready(&source));
    for slot in 0..5 {
        sources.measure(&resolved, &asks("greedy", &source, "up", slot)).await;
    }
    let open = Readings::Whole(error(
        "the source refuses the connection; after repeated errors it is asked again only after a while",
    ));
    assert_eq!(sources.measure(&resolved, &asks("maya", &source, "up", 0)).await, open);
    assert_eq!(sources.circuit("source-uid"), Circuit::Open);
}

/// Hundreds of queries that hang have three quarters of the places: another's check is answered while all of them still wait.
#[tokio::test]
async fn queries_that_hang_leave_places_to_another() {
    let server = moody().await;
    let source = limited(&server, "5s", json!({"requestsPerSecond": 1000, "concurrency": 4}));
    let sources = Sources::new(Options::default());
    let stuck: Vec<_> = (0..384)
        .map(|slot| {
            let (sources, resolved) = (sources.clone(), ready(&source));
            let asked = asks("greedy", &source, "slow", slot);
            tokio::spawn(async move { sources.measure(&resolved, &asked).await })
        })
        .collect();
    eventually("they have their places", async || server.asked().len() == 3).await;
    for slot in 0..10 {
        let readings = sources.measure(&ready(&source), &asks("maya", &source, "up", slot)).await;
        assert_eq!(readings, Readings::Whole(value(7.0)));
    }
    assert!(stuck.iter().all(|task| !task.is_finished()), "they waited for nothing");
    assert_eq!(server.asked().len(), 13);
    stuck.iter().for_each(tokio::task::JoinHandle::abort);
}

/// Where the rate is what is short, they take turns.
#[tokio::test]
async fn a_flood_of_queries_takes_turns_with_another() {
    let server = moody().await;
    let source = limited(&server, "5s", json!({"requestsPerSecond": 5, "concurrency": 64}));
    let sources = Sources::new(Options::default());
    let flood: Vec<_> = (0..384)
        .map(|slot| {
            let (sources, resolved) = (sources.clone(), ready(&source));
            let asked = asks("greedy", &source, "up", slot);
            tokio::spawn(async move { sources.measure(&resolved, &asked).await })
        })
        .collect();
    eventually("the first second's are used up", async || server.asked().len() >= 5).await;
    let before = server.asked().len();
    let others = (0..3).map(|slot| {
        let (sources, resolved, asked) =
            (sources.clone(), ready(&source), asks("maya", &source, "down", slot));
        async move { sources.measure(&resolved, &asked).await }
    });
    let readings = tokio::time::timeout(Duration::from_secs(60), join_all(others)).await.unwrap();
    assert!(readings.iter().all(|readings| *readings == Readings::Whole(value(7.0))), "{readings:?}");
    let between = server.asked().len() - before;
    assert!(between <= 8, "three of one between {} of the other", between - 3);
    flood.iter().for_each(tokio::task::JoinHandle::abort);
}

/// What the limits leave no room for in time is told apart from what a source does not answer.
#[tokio::test]
async fn what_waits_too_long_behind_its_own_was_not_asked() {
    let server = moody().await;
    let source = limited(&server, "5s", json!({"requestsPerSecond": 1000, "concurrency": 1}));
    let sources = Sources::new(Options::default());
    let slow = (0..3).map(|slot| {
        let (sources, resolved, asked) =
            (sources.clone(), ready(&source), asks("greedy", &source, "slow", slot));
        async move { sources.measure(&resolved, &asked).await }
    });
    let readings = join_all(slow).await;
    let unasked = Readings::Unasked(error("the source's limits leave no room for the query"));
    assert!(readings.contains(&unasked), "{readings:?}");
}
