//! Asks a controller what was measured, as a panel does.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use reqwest::Url;
use reqwest::header::HeaderValue;
use sluice::api::measured::Measured;
use sluice::controller::{MEASUREMENTS_CERTIFICATES, MEASUREMENTS_CONFIG_MAP, MeasurementsListening};
use sluice::sources::outbound::Outbound;

use super::{Space, pause};

/// A place to listen at, on a port that is free.
pub fn listening() -> MeasurementsListening {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    MeasurementsListening { address, name: "sluice-measurements.test.svc".to_owned(), tells_metrics: false }
}

/// What the ConfigMap of the operator's namespace says that the controller's certificate is checked by, once it is there.
pub async fn certificates(own: &Space) -> String {
    for _ in 0..super::LOOKS {
        let map = own.api::<ConfigMap>().get_opt(MEASUREMENTS_CONFIG_MAP).await.unwrap();
        if let Some(text) =
            map.and_then(|map| map.data).and_then(|mut data| data.remove(MEASUREMENTS_CERTIFICATES))
        {
            return text;
        }
        pause(50).await;
    }
    panic!("there is no ConfigMap {MEASUREMENTS_CONFIG_MAP} in {}", own.name);
}

/// What a controller answers: status and text; an error where it answers nothing.
pub async fn asked(
    certificates: &str,
    address: SocketAddr,
    authorization: &str,
    rollout: &str,
) -> Result<(u16, String), String> {
    get(certificates, address, authorization, &format!("/measurements/{rollout}")).await
}

/// What a controller answers to whoever asks for a path.
pub async fn get(
    certificates: &str,
    address: SocketAddr,
    authorization: &str,
    path: &str,
) -> Result<(u16, String), String> {
    let url = Url::parse(&format!("https://localhost:{}{path}", address.port())).unwrap();
    let outbound = Outbound::trusting(Some(certificates), &url, Duration::from_secs(10)).unwrap();
    let header = HeaderValue::from_str(authorization).unwrap();
    let reply = outbound.get_at(address, &url, &header).await.map_err(|unsent| unsent.to_string())?;
    Ok((reply.status, String::from_utf8(reply.body).unwrap()))
}

/// The same of one that answers measurements.
pub async fn told(certificates: &str, address: SocketAddr, token: &str, rollout: &str) -> Measured {
    let (status, text) = asked(certificates, address, &format!("Bearer {token}"), rollout).await.unwrap();
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}
