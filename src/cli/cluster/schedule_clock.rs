//! The clock that a cluster's schedules run on, where it is not the real one.
//!
//! `sluice dev --speed` runs schedules faster than real time. Other commands find the clock in a ConfigMap, so that ages
//! are told by the clock that the times in status are of.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams};
use kube::{Api, Client};

use crate::api::MicroTime;
use crate::cli::cluster::Cluster;
use crate::cli::output::{self, Failure};
use crate::clock::{Clock, real_now};
use crate::controller::NAMESPACE;
use crate::error::{Fault, call, chain};

const NAME: &str = "sluice-dev-clock";

/// Says which clock schedules run on; of the real one, nothing.
///
/// # Errors
/// The ConfigMap cannot be written.
pub async fn tell(client: &Client, clock: &Clock, speed: u32) -> Result<(), Failure> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    let failure = |fault: Fault| Failure::Cluster(format!("ConfigMap {NAMESPACE}/{NAME}: {}", chain(&fault)));
    if clock.is_real() {
        return forget(client).await.map_err(failure);
    }
    let map = ConfigMap {
        metadata: ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() },
        data: Some(written(clock.now(), real_now(), speed)),
        ..ConfigMap::default()
    };
    let params = PatchParams::apply("sluice-dev").force();
    call(api.patch(NAME, &params, &Patch::Apply(&map))).await.map(|_| ()).map_err(failure)
}

/// Takes back what [`tell`] said.
///
/// # Errors
/// The ConfigMap is there and cannot be deleted.
pub async fn forget(client: &Client) -> Result<(), Fault> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    match call(api.delete(NAME, &DeleteParams::default())).await {
        Ok(_) | Err(Fault::NotFound(_)) => Ok(()),
        Err(fault) => Err(fault),
    }
}

/// What the clock of the cluster's schedules shows now: the real time wherever nothing else is said, or not to us.
pub async fn now(cluster: &Cluster) -> MicroTime {
    let map: Option<ConfigMap> = cluster.get(Some(NAMESPACE), NAME).await.ok().flatten();
    let data = map.and_then(|map| map.data).unwrap_or_default();
    shown(&data, real_now()).unwrap_or_else(output::now)
}

/// The clock of the cluster's schedules: the real one wherever nothing else is said, or not to us.
pub async fn read(client: &Client) -> Clock {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    let map = call(api.get_opt(NAME)).await.ok().flatten();
    let data = map.and_then(|map| map.data).unwrap_or_default();
    let speed = data.get("speed").and_then(|speed| speed.parse().ok());
    match shown(&data, real_now()).zip(speed) {
        Some((shows, speed)) => Clock::accelerated(shows, speed),
        None => Clock::system(),
    }
}

fn written(shows: MicroTime, at: MicroTime, speed: u32) -> BTreeMap<String, String> {
    let data = [("shows", shows.to_string()), ("at", at.to_string()), ("speed", speed.to_string())];
    data.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// What the clock shows at a real time.
fn shown(data: &BTreeMap<String, String>, real: MicroTime) -> Option<MicroTime> {
    let instant = |key: &str| data.get(key)?.parse::<MicroTime>().ok();
    let speed: i32 = data.get("speed")?.parse().ok()?;
    let passed = real.duration_since(instant("at")?);
    Some(instant("shows")?.saturating_add(passed.saturating_mul(speed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(text: &str) -> MicroTime {
        text.parse().unwrap()
    }

    #[test]
    fn a_fast_clock_is_read_back() {
        let (shows, at) = (t("2025-09-08T09:00:00Z"), t("2026-11-28T12:00:00Z"));
        let data = written(shows, at, 3600);
        assert_eq!(shown(&data, at), Some(shows));
        assert_eq!(shown(&data, t("2026-11-28T12:00:10Z")), Some(t("2025-09-08T19:00:00Z")));
        assert_eq!(shown(&BTreeMap::new(), at), None);
    }
}
