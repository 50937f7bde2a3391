//! A notice as the object that the API server takes.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Resource;
use kube::api::ObjectMeta;

use super::pending::Notice;
use crate::api::FeatureRollout;
use crate::clock::{self, Clock};

/// Who publishes, as events name it.
const CONTROLLER: &str = "sluice.dev/controller";
/// Most characters of the note, as the API server has it.
const MOST_NOTE: usize = 1024;

/// The event of a notice, from this instance of the controller.
pub fn event(clock: &Clock, instance: &str, notice: &Notice) -> Event {
    let about = &notice.about;
    let (namespace, name) = about.key.clone();
    let short: String = about.uid.chars().filter(|c| *c != '-').take(12).collect();
    let cut: String = name.chars().take(200).collect();
    // kubectl shows ages against its own clock, so a schedule that runs faster must not stamp its events with it.
    let at = if clock.is_real() { notice.at } else { clock::real_now() };
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{cut}.{short}.{}", notice.number)),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        },
        action: Some(notice.reason.as_str().to_owned()),
        reason: Some(notice.reason.as_str().to_owned()),
        note: Some(notice.message.chars().take(MOST_NOTE).collect()),
        type_: Some(if notice.reason.is_warning() { "Warning" } else { "Normal" }.to_owned()),
        event_time: Some(MicroTime(at.into())),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        regarding: Some(ObjectReference {
            api_version: Some(FeatureRollout::api_version(&()).into_owned()),
            kind: Some(about.kind.clone()),
            name: Some(name),
            namespace: Some(namespace),
            uid: Some(about.uid.clone()),
            ..ObjectReference::default()
        }),
        ..Event::default()
    }
}
