use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

async fn started(probes_only: bool) -> (SocketAddr, Health, CancellationToken) {
    let (health, shutdown) = (Health::default(), CancellationToken::new());
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let address = match probes_only {
        true => serve_probes(local, health.clone(), shutdown.clone()).await.unwrap(),
        false => serve(local, health.clone(), Registry::default(), shutdown.clone()).await.unwrap(),
    };
    (address, health, shutdown)
}

/// The answer to a request, head and all; empty where the connection was closed.
async fn ask(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    let _reset = stream.read_to_string(&mut answer).await;
    answer
}

#[tokio::test]
async fn probes_are_served_by_themselves_and_beside_the_metrics() {
    for probes_only in [true, false] {
        let (address, health, _shutdown) = started(probes_only).await;
        assert!(ask(address, "/livez").await.starts_with("HTTP/1.1 200"));
        assert!(ask(address, "/readyz").await.starts_with("HTTP/1.1 503"));
        health.set_ready(true);
        assert!(ask(address, "/readyz").await.ends_with("\r\n\r\nok"));
        let metrics = if probes_only { "HTTP/1.1 404" } else { "HTTP/1.1 200" };
        assert!(ask(address, "/metrics").await.starts_with(metrics));
    }
}

#[tokio::test]
async fn whoever_keeps_connections_open_loses_them_and_a_probe_is_answered() {
    let (address, _, _shutdown) = started(true).await;
    let mut trickling = Vec::new();
    for _ in 0..10 * bounded::PROBES.most {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // One that was closed already takes no more.
        let _closed = stream.write_all(b"GET /livez HT").await;
        trickling.push(stream);
        if trickling.len() % 50 == 0 {
            assert!(ask(address, "/livez").await.ends_with("ok"), "after {}", trickling.len());
        }
    }
    assert!(ask(address, "/livez").await.ends_with("ok"));
    let mut closed = 0;
    for stream in trickling.iter_mut().take(9 * bounded::PROBES.most) {
        closed += usize::from(stream.read(&mut [0; 1]).await.is_ok_and(|n| n == 0));
    }
    assert_eq!(closed, 9 * bounded::PROBES.most, "the older ones are closed");
}

#[tokio::test]
async fn a_connection_is_for_one_request_and_ends_with_the_shutdown() {
    let (address, _, shutdown) = started(true).await;
    let answer = ask(address, "/livez").await;
    assert!(answer.contains("connection: close"), "{answer}");
    shutdown.cancel();
    let mut refused = false;
    for _ in 0..500 {
        refused = TcpStream::connect(address).await.is_err();
        if refused {
            break;
        }
        crate::clock::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(refused, "nobody listens any more");
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_and_an_answer_that_is_not_read_end() {
    let (address, _, _shutdown) = started(true).await;
    for begin in ["", "GET /livez HT"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(begin.as_bytes()).await.unwrap();
        // Nothing else happens, so the time-out is what comes next.
        let mut rest = Vec::new();
        let _reset = stream.read_to_end(&mut rest).await;
        assert!(!String::from_utf8_lossy(&rest).contains("200"), "{begin:?}");
    }
}

#[test]
fn all_is_well_while_work_is_done_and_every_kind_is_known() {
    let health = Health::default();
    assert_eq!(health.trouble().as_deref(), Some("still listing"));
    health.expect("FlagSet");
    health.expect("ConfigMap");
    health.set_known("Pod", false);
    assert_eq!(health.trouble().as_deref(), Some("still listing ConfigMap, FlagSet"));
    health.set_known("ConfigMap", true);
    health.set_ready(true);
    assert_eq!(health.trouble().as_deref(), Some("still listing FlagSet"));
    health.set_known("FlagSet", true);
    assert_eq!(health.trouble(), None);
    health.set_known("ConfigMap", false);
    assert_eq!(health.trouble().as_deref(), Some("still listing ConfigMap"));
}

#[test]
fn whoever_has_just_begun_to_lead_is_not_ready_before_it_can_decide() {
    let health = Health::default();
    health.expect("FlagSet");
    health.set_known("FlagSet", true);
    health.set_ready(true);
    health.expect("ControllerRevision");
    assert_eq!(health.trouble().as_deref(), Some("still listing ControllerRevision"));
    health.set_known("ControllerRevision", true);
    health.set_waiting(Some("there are no keys".to_owned()));
    assert_eq!(health.trouble().as_deref(), Some("there are no keys"));
    health.set_waiting(None);
    assert_eq!(health.trouble(), None);
    health.set_known("ControllerRevision", false);
    health.expect_no_more("ControllerRevision");
    health.set_known("ControllerRevision", false);
    assert_eq!(health.trouble(), None, "it stands by");
}
