//! What sources may and may not do to a rollout: every bad answer has a reading of its own, and none is a number.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::SignedDuration;
use rstest::rstest;
use serde_json::{Value, json};
use sluice::api::{MetricSource, MetricTemplateSpec, MicroTime, Reading};
use sluice::sources::{
    Context, Options, Query, Readings, Request, Resolved, Secret, Sources, Wanted, prepare, resolve,
};

use crate::support::eventually;
use crate::support::hostile::{Hostile, Reply};

mod admission;
mod isolation;
mod reach;
mod said;
mod shared;

/// The instant of all queries.
const AT: i64 = 1_700_000_000;

fn at() -> MicroTime {
    MicroTime::from_second(AT).unwrap()
}

/// A MetricSource in the operator's namespace.
fn source(spec: &Value) -> MetricSource {
    let metadata =
        json!({"name": "source", "namespace": "sluice-system", "uid": "source-uid", "generation": 1});
    let object = json!({"apiVersion": "sluice.dev/v1alpha1", "kind": "MetricSource", "metadata": metadata, "spec": spec});
    serde_json::from_value(object).unwrap()
}

/// A source on this machine, which the admin allows.
fn here(url: &str) -> Value {
    json!({"prometheus": {"url": url}, "allowAddresses": ["127.0.0.0/8", "::1"], "allowedNamespaces": ["*"]})
}

fn template(spec: Value) -> MetricTemplateSpec {
    let mut whole = json!({"sourceRef": {"name": "source"}});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    serde_json::from_value(whole).unwrap()
}

fn context(namespace: &str) -> Context<'_> {
    Context {
        operator_namespace: "sluice-system",
        template_namespace: namespace,
        namespace,
        rollout: "dreams",
        flag: "dreams.advanced",
        interval: SignedDuration::from_secs(30),
    }
}

fn query(source: &MetricSource, spec: Value) -> Query {
    prepare(&context("maya"), &template(spec), Some(source), &BTreeMap::new()).unwrap()
}

fn request(query: Query) -> Request {
    Request { query, per_cohort: None, at: at(), interval: SignedDuration::from_secs(30) }
}

fn ready(source: &MetricSource) -> Resolved {
    resolve(source, &BTreeMap::new()).unwrap()
}

/// The reading of `up` on a server.
async fn reading_of(reply: Reply) -> (Reading, Hostile) {
    reading_within("5s", reply).await
}

async fn reading_within(timeout: &str, reply: Reply) -> (Reading, Hostile) {
    let server = Hostile::always(reply).await;
    let mut spec = here(&server.url());
    spec["timeout"] = json!(timeout);
    let source = source(&spec);
    let asked = request(query(&source, json!({"promql": "up"})));
    match Sources::new(Options::default()).measure(&ready(&source), &asked).await {
        Readings::Whole(reading) => (reading, server),
        other => panic!("{other:?}"),
    }
}

fn value(value: f64) -> Reading {
    Reading::of(value, None)
}

fn no_data(why: &str) -> Reading {
    Reading::NoData(why.to_owned())
}

fn error(why: &str) -> Reading {
    Reading::Error(why.to_owned())
}

fn success(data: &str) -> Reply {
    Reply::ok(format!(r#"{{"status": "success", "data": {data}}}"#))
}

#[tokio::test]
async fn case_33_a_refused_connection() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let source = source(&here(&format!("http://{closed}")));
    let asked = request(query(&source, json!({"promql": "up"})));
    let readings = Sources::new(Options::default()).measure(&ready(&source), &asked).await;
    assert_eq!(readings, Readings::Whole(error("the source refuses the connection")));
}

#[rstest]
#[case::never_ends_its_head(Reply::Raw(b"HTTP/1.1 200 OK\r\nx: y".to_vec()), "the source does not speak HTTP properly, or broke off")]
#[case::closes(Reply::Close, "the source does not speak HTTP properly, or broke off")]
#[case::breaks_off(Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"status\"".to_vec()), "the source does not speak HTTP properly, or broke off")]
#[case::speaks_something_else(Reply::Raw(b"SSH-2.0-OpenSSH_9.9\r\n\r\n".to_vec()), "the source does not speak HTTP properly, or broke off")]
#[case::fails(Reply::Body(500, "secret".into()), "the source answered with a 5xx status")]
#[case::is_unavailable(Reply::Body(503, r#"{"status":"success"}"#.into()), "the source answered with a 5xx status")]
#[case::rejects_the_query(Reply::Body(422, "secret".into()), "the source refuses the query as wrong or too expensive (status 400 or 422)")]
#[case::wants_credentials(Reply::Body(401, "secret".into()), "the source does not accept the credentials (status 401)")]
#[case::has_no_such_path(Reply::Body(404, "secret".into()), "the source has nothing at the path of its URL (status 404)")]
#[case::is_a_teapot(Reply::Body(418, "secret".into()), "the source answered with a 4xx status")]
#[case::reports_an_error(
    Reply::ok(r#"{"status": "error", "error": "secret"}"#),
    "the source reports an error"
)]
#[tokio::test]
async fn case_33_a_source_that(#[case] reply: Reply, #[case] why: &str) {
    assert_eq!(reading_of(reply).await.0, error(why));
}

#[tokio::test]
async fn case_33_a_source_that_hangs() {
    let (reading, server) = reading_within("300ms", Reply::Hang).await;
    assert_eq!(reading, error("the source did not answer within 300 ms"));
    eventually("the connection is closed", async || server.open() == 0).await;
}

#[tokio::test]
async fn case_33_a_source_that_drips() {
    // Within the time it never comes to a mebibyte.
    let drip = Reply::Drip(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec(),
        b"1\r\n1\r\n".to_vec(),
    );
    let (reading, server) = reading_within("300ms", drip).await;
    assert_eq!(reading, error("the source did not answer within 300 ms"));
    eventually("the connection is closed", async || server.open() == 0).await;
}

#[tokio::test]
async fn case_33_a_hang_before_it_spoils_no_answer() {
    let well = Arc::new(AtomicBool::new(false));
    let server = Hostile::start(None, {
        let well = Arc::clone(&well);
        move |asked| if well.load(Ordering::SeqCst) { Reply::now(asked, "7") } else { Reply::Hang }
    })
    .await;
    let mut spec = here(&server.url());
    spec["timeout"] = json!("1s");
    let source = source(&spec);
    let sources = Sources::new(Options::default());
    let asked = request(query(&source, json!({"promql": "up"})));
    let late = Request { at: at() + SignedDuration::from_secs(30), ..asked.clone() };
    let hung = sources.measure(&ready(&source), &asked).await;
    assert_eq!(hung, Readings::Whole(error("the source did not answer within 1000 ms")));
    well.store(true, Ordering::SeqCst);
    assert_eq!(sources.measure(&ready(&source), &late).await, Readings::Whole(value(7.0)));
}

#[rstest]
#[case::nan(Reply::vector(AT, &[("{}", "NaN")]), "the value is NaN")]
#[case::plus_infinity(Reply::vector(AT, &[("{}", "+Inf")]), "the value is infinite")]
#[case::minus_infinity(Reply::vector(AT, &[("{}", "-Inf")]), "the value is infinite")]
#[case::no_series(Reply::vector(AT, &[]), "no series")]
#[case::two_series(Reply::vector(AT, &[("{\"a\": \"1\"}", "1"), ("{\"a\": \"2\"}", "1")]), "2 series where one is expected")]
#[case::a_string(
    success(r#"{"resultType": "string", "result": [1700000000, "7"]}"#),
    "the answer is a string"
)]
#[case::a_stale_sample(Reply::vector(AT - 301, &[("{}", "7")]), "the sample is stale")]
#[case::a_scalar_nan(
    success(r#"{"resultType": "scalar", "result": [1700000000, "NaN"]}"#),
    "the value is NaN"
)]
#[case::a_histogram(
    success(
        r#"{"resultType": "vector", "result": [{"metric": {}, "histogram": [1700000000, {"count": "1"}]}]}"#
    ),
    "the answer is a histogram"
)]
#[tokio::test]
async fn case_34_no_number(#[case] reply: Reply, #[case] why: &str) {
    assert_eq!(reading_of(reply).await.0, no_data(why));
}

#[rstest]
#[case::one_series(Reply::vector(AT, &[("{}", "7.5")]), 7.5)]
#[case::a_sample_just_not_stale(Reply::vector(AT - 300, &[("{}", "-7")]), -7.0)]
#[case::a_scalar(success(r#"{"resultType": "scalar", "result": [1700000000.123, "1e3"]}"#), 1000.0)]
#[tokio::test]
async fn case_34_a_number(#[case] reply: Reply, #[case] number: f64) {
    assert_eq!(reading_of(reply).await.0, value(number));
}

#[rstest]
#[case::no_json("<html>secret</html>", "the source's answer is not valid JSON")]
#[case::nothing("", "the source's answer is not valid JSON")]
#[case::half_of_it(r#"{"status": "success", "data": "#, "the source's answer is not valid JSON")]
#[case::more_after_it("{\"status\": \"error\"} x", "the source's answer is not valid JSON")]
#[case::too_deep(&"[".repeat(100_000), "the source's answer is not valid JSON")]
#[case::another_form("[1, 2]", "the source's answer is not in the form of Prometheus")]
#[case::no_data_in_it(r#"{"status": "success"}"#, "the source's answer is not in the form of Prometheus")]
#[case::a_matrix(
    r#"{"status": "success", "data": {"resultType": "matrix", "result": []}}"#,
    "the source's answer is not in the form of Prometheus"
)]
#[case::a_value_that_is_no_text(
    r#"{"status": "success", "data": {"resultType": "scalar", "result": [1700000000, 7]}}"#,
    "the source's answer is not in the form of Prometheus"
)]
#[case::a_value_that_is_no_number(
    r#"{"status": "success", "data": {"resultType": "scalar", "result": [1700000000, "7 apples"]}}"#,
    "the source's answer is not in the form of Prometheus"
)]
#[case::a_time_that_is_none(
    r#"{"status": "success", "data": {"resultType": "scalar", "result": [1e300, "7"]}}"#,
    "the source's answer is not in the form of Prometheus"
)]
#[tokio::test]
async fn case_34_what_is_not_an_answer(#[case] body: &str, #[case] why: &str) {
    assert_eq!(reading_of(Reply::ok(body)).await.0, error(why));
}

const MEBIBYTE: usize = 1024 * 1024;
/// What the sockets of both sides may have taken in before the end is noticed.
const IN_FLIGHT: usize = 24 * MEBIBYTE;

#[tokio::test]
async fn case_35_a_gigabyte_is_cut_when_it_is_announced_and_when_it_comes() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n";
    let announced = Reply::Endless(head.into(), vec![b'1'; 65536]);
    let unannounced = Reply::Endless(b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'1'; 65536]);
    for reply in [announced, unannounced] {
        let (reading, server) = reading_of(reply).await;
        assert_eq!(
            reading,
            error("the source's answer is larger than 1 MiB, or would be larger than 8 MiB in memory")
        );
        eventually("the connection is closed", async || server.open() == 0).await;
        assert!(server.sent() < IN_FLIGHT, "{} bytes", server.sent());
    }
}

#[tokio::test]
async fn case_35_endless_chunks_are_cut_at_a_mebibyte() {
    let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    let chunk = [&b"1000\r\n"[..], &[b'1'; 4096], b"\r\n"].concat();
    let (reading, server) = reading_of(Reply::Endless(head, chunk)).await;
    assert_eq!(
        reading,
        error("the source's answer is larger than 1 MiB, or would be larger than 8 MiB in memory")
    );
    eventually("the connection is closed", async || server.open() == 0).await;
    assert!(server.sent() < IN_FLIGHT, "{} bytes", server.sent());
}

#[tokio::test]
async fn case_35_endless_headers_are_cut() {
    let (reading, server) =
        reading_of(Reply::Endless(b"HTTP/1.1 200 OK\r\n".to_vec(), b"x: y\r\n".repeat(100))).await;
    assert_eq!(reading, error("the source does not speak HTTP properly, or broke off"));
    eventually("the connection is closed", async || server.open() == 0).await;
    assert!(server.sent() < IN_FLIGHT, "{} bytes", server.sent());
}

#[tokio::test]
async fn case_35_a_gzip_bomb_is_refused_unread() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n\x1f\x8b\x08\0\0\0\0\0\0\x03".to_vec();
    let (reading, server) = reading_of(Reply::Endless(head, vec![0; 65536])).await;
    assert_eq!(reading, error("the source's answer is compressed, which was not asked for"));
    assert_eq!(server.asked()[0].header("accept-encoding").as_deref(), Some("identity"));
    eventually("the connection is closed", async || server.open() == 0).await;
    assert!(server.sent() < IN_FLIGHT, "{} bytes", server.sent());
}

#[tokio::test]
async fn case_35_no_redirect_is_followed() {
    let to = |location: &str| {
        Reply::Raw(format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n").into())
    };
    let why = "the source answered with a redirect, which is not followed";
    assert_eq!(reading_of(to("http://169.254.169.254/latest/meta-data/")).await.0, error(why));
    let (reading, server) = reading_of(to("/elsewhere")).await;
    assert_eq!(reading, error(why));
    let lines: Vec<String> = server.asked().iter().map(|asked| asked.line()).collect();
    assert_eq!(lines, ["POST /api/v1/query"], "not even to where it came from");
}

#[tokio::test]
async fn nothing_of_an_answer_or_a_secret_gets_into_a_reading() {
    let replies = [
        Reply::Body(500, "hidden".into()),
        Reply::ok("hidden"),
        Reply::ok(r#"{"status": "error", "error": "hidden"}"#),
        Reply::vector(AT, &[("{\"hidden\": \"hidden\"}", "NaN")]),
        success(r#"{"resultType": "string", "result": [1700000000, "hidden"]}"#),
        success(r#"{"resultType": "hidden", "result": []}"#),
        Reply::Raw(b"HTTP/1.1 302 hidden\r\nlocation: http://hidden/\r\n\r\n".to_vec()),
    ];
    for reply in replies {
        let server = Hostile::always(reply).await;
        let mut spec = here(&server.url());
        spec["auth"] = json!({"bearer": {"secretRef": {"name": "token", "key": "token"}}});
        let source = source(&spec);
        let wanted = Wanted::Secret { name: "token".into(), key: "token".into() };
        let resolved =
            resolve(&source, &BTreeMap::from([(wanted, Secret::new(b"hidden\n".to_vec()))])).unwrap();
        let asked = request(query(&source, json!({"promql": "up"})));
        let readings = Sources::new(Options::default()).measure(&resolved, &asked).await;
        let shown = format!("{readings:?} {resolved:?} {asked:?}");
        assert!(!shown.contains("hidden") && !shown.contains("127.0.0.1:1"), "{shown}");
        assert!(!format!("{readings:?}").contains("127.0.0.1"), "{readings:?}");
        assert_eq!(server.asked()[0].header("authorization").as_deref(), Some("Bearer hidden"));
    }
}
