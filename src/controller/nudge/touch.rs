//! Annotating the pods that read a file.

use std::sync::atomic::{AtomicBool, Ordering};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::pods::Reader;
use super::{Held, lock};
use crate::clock;
use crate::cluster::Scope;
use crate::controller::context::Context;
use crate::controller::index::SetId;
use crate::error::{Fault, chain};

/// What is written on pods: digest of the file that they should have, and which time it is said.
pub(super) const FLAGS_REVISION: &str = "sluice.dev/flags-revision";
/// How much of the digest.
const DIGITS: usize = 12;
/// Annotations under way at once for one file.
const AT_ONCE: usize = 8;

/// Which time pods are annotated for a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Time {
    First,
    Second,
}

impl Time {
    /// What the annotation says from then on. Any change of it makes a kubelet look; that it tells of the file and
    /// the time keeps a repeat, after a restart too, from being one.
    fn annotation(self, sha256: &str) -> String {
        let digits: String = sha256.chars().take(DIGITS).collect();
        format!("{digits}.{}", if self == Time::First { 1 } else { 2 })
    }

    fn is_due(self, sha256: &str, annotation: Option<&str>) -> bool {
        let is = |time: Time| annotation == Some(time.annotation(sha256).as_str());
        !is(Time::Second) && (self == Time::Second || !is(Time::First))
    }
}

/// Whether an annotation is as long as one of these is. Anybody may write anything there.
pub(super) fn may_be_ours(annotation: &str) -> bool {
    annotation.len() == DIGITS + ".1".len()
}

/// Annotates the pods that mount the folder and have not been annotated for this file before.
pub(super) async fn annotate(ctx: &Context, set: &SetId, held: &Held, readers: &[Reader], time: Time) {
    let pods = Scope::of::<Pod>(Some(&set.namespace)).request();
    let value = time.annotation(&held.sha256);
    let patch = Patch::Merge(json!({"metadata": {"annotations": {FLAGS_REVISION: value}}}));
    let due =
        |reader: &&Reader| reader.how(held).folder && time.is_due(&held.sha256, reader.annotation.as_deref());
    let forbids = AtomicBool::new(false);
    let (pods, patch, forbids) = (&pods, &patch, &forbids);
    futures::stream::iter(readers.iter().filter(due))
        .for_each_concurrent(AT_ONCE, |reader| async move {
            if forbids.load(Ordering::Relaxed) {
                return;
            }
            let wait = lock(&ctx.nudger.pace).take(clock::monotonic());
            clock::sleep(wait).await;
            match ctx.cluster.tell(pods.patch(&reader.name, &PatchParams::default(), patch)).await {
                Ok(()) => ctx.metrics.nudged(true),
                // It has ended: another one starts with the file as it is.
                Err(Fault::NotFound(_)) => {}
                Err(fault) => {
                    ctx.metrics.nudged(false);
                    if let Fault::Forbidden(_) = fault {
                        forbids.store(true, Ordering::Relaxed);
                        forbidden(ctx, &set.namespace, "annotated", &fault);
                    } else {
                        let (namespace, pod, why) = (&set.namespace, &reader.name, chain(&fault));
                        tracing::warn!("pod {namespace}/{pod} could not be annotated: {why}; it gets its file when the kubelet looks by itself");
                    }
                }
            }
        })
        .await;
}

/// Says once that the pods of a namespace are out of reach.
pub(super) fn forbidden(ctx: &Context, namespace: &str, what: &str, fault: &Fault) {
    if ctx.nudger.is_newly_forbidden(namespace) {
        tracing::warn!(
            "the pods of namespace {namespace} may not be {what}: {}; they get their files when the kubelet looks by itself",
            chain(fault)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_annotated_twice_for_a_file_whoever_asks_how_often() {
        let (file, other) = ("0123456789abcdef", "fedcba9876543210");
        let first = Time::First.annotation(file);
        let second = Time::Second.annotation(file);
        assert_ne!(first, second);
        assert!(may_be_ours(&first) && may_be_ours(&second) && !may_be_ours(&"x".repeat(250_000)));
        for (annotation, once, again) in [
            (None, true, true),
            (Some(first.as_str()), false, true),
            (Some(second.as_str()), false, false),
            (Some(Time::Second.annotation(other).as_str()), true, true),
        ] {
            assert_eq!(Time::First.is_due(file, annotation), once, "{annotation:?}");
            assert_eq!(Time::Second.is_due(file, annotation), again, "{annotation:?}");
        }
    }
}
