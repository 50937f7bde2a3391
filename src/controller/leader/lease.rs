//! The Lease in the cluster. Nothing is ever forced: it is written over the version that was read, or not at all.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, ResourceExt};

use super::machine::{Answer, Call, Claim};
use super::note::{ANNOTATION, Note};
use super::record::Record;
use super::shard::{Shards, lease_name};
use crate::clock;
use crate::error::{Fault, chain};

/// The Lease in the cluster, and what was read of it last: of that, what is not ours stays as it is.
pub struct Stored {
    api: Api<Lease>,
    name: String,
    last: Option<Lease>,
}

impl Stored {
    /// Nothing is known of it yet.
    pub fn new(api: Api<Lease>, name: String) -> Stored {
        Stored { api, name, last: None }
    }

    /// Makes a call, for so long at most; what is written says `note` of the number of shards, or what was there. Where it
    /// fails, says why.
    pub async fn make(
        &mut self,
        call: &Call,
        note: Option<Note>,
        bound: Duration,
    ) -> (Answer, Option<String>) {
        match tokio::time::timeout(bound, self.answer(call, note)).await {
            Ok(Ok(answer)) => (answer, None),
            Ok(Err(fault)) => (Answer::Failed, Some(chain(&fault))),
            Err(_) => (Answer::Failed, Some(format!("no answer within {} ms", bound.as_millis()))),
        }
    }

    async fn answer(&mut self, call: &Call, note: Option<Note>) -> Result<Answer, Fault> {
        let post = PostParams::default();
        let written = match call {
            Call::Look => {
                self.last = self.api.get_opt(&self.name).await?;
                return Ok(self.last.as_ref().map_or(Answer::Missing, |lease| Answer::Is(record(lease))));
            }
            Call::Create(claim) => {
                let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
                let fresh = Lease { metadata, spec: None };
                self.api.create(&post, &claimed(fresh, claim, note)).await
            }
            Call::Put(version, claim) => {
                let known =
                    self.last.as_ref().filter(|lease| lease.resource_version().as_ref() == Some(version));
                let Some(lease) = known.cloned() else { return Ok(Answer::Conflict) };
                self.api.replace(&self.name, &post, &claimed(lease, claim, note)).await
            }
        };
        match (written.map_err(Fault::from), call) {
            (Ok(lease), _) => {
                let answer = Answer::Is(record(&lease));
                self.last = Some(lease);
                Ok(answer)
            }
            (Err(Fault::Conflict(_) | Fault::AlreadyExists(_)), _) => Ok(Answer::Conflict),
            (Err(Fault::NotFound(_)), Call::Put(..)) => Ok(Answer::Missing),
            (Err(fault), _) => Err(fault),
        }
    }
}

/// What a Lease says.
pub fn record(lease: &Lease) -> Record {
    let spec = lease.spec.clone().unwrap_or_default();
    Record {
        version: lease.resource_version().unwrap_or_default(),
        holder: spec.holder_identity.unwrap_or_default(),
        seconds: spec.lease_duration_seconds,
        transitions: spec.lease_transitions,
        note: Note::read(lease.annotations().get(ANNOTATION).map(String::as_str)),
    }
}

/// The names of the Leases of all shards that are in force by what the first one says.
pub fn names(first: &Lease) -> Vec<String> {
    let in_force = record(first).note.in_force().unwrap_or(Shards::ONE);
    in_force.each().map(|shard| lease_name(&first.name_any(), shard.index())).collect()
}

/// A Lease with what is claimed in it. The times are for people who look at it, and for other programs.
fn claimed(mut lease: Lease, claim: &Claim, note: Option<Note>) -> Lease {
    // Where nobody has ever wanted more than one shard, nothing is said of them.
    if let Some(note) = note.filter(|note| *note != record(&lease).note) {
        lease.annotations_mut().insert(ANNOTATION.to_owned(), note.to_string());
    }
    let now = MicroTime(clock::real_now().into());
    let spec = lease.spec.get_or_insert_default();
    let acquired = spec.acquire_time.take().filter(|_| !claim.is_new);
    *spec = LeaseSpec {
        acquire_time: Some(acquired.unwrap_or_else(|| now.clone())),
        holder_identity: Some(claim.holder.clone()).filter(|holder| !holder.is_empty()),
        lease_duration_seconds: Some(claim.seconds),
        lease_transitions: Some(claim.transitions),
        renew_time: Some(now),
        ..std::mem::take(spec)
    };
    lease
}
