//! Which of several processes decides: the one that holds the Lease, for as long as it can be sure of that; with several shards, the
//! one that holds the shard's.
//!
//! The rules are in [`machine`], and of several shards in [`candidate`], which have no clock and make no calls. What a lost lead
//! takes with it is in [`gate`]: a term has a gate, which all its writes pass, and which closes by itself when the lead was not
//! renewed in time. So a process that is cut off, slow or stopped writes nothing more before another one may begin. The preconditions
//! of the writes stay what decides in the end.
//!
//! The published library (`k8s-controller`) leaves acquiring and releasing unbounded, knows nothing of tasks that were spawned,
//! and lets a write through after a stop of the whole process; the gate needs the renewals' own times besides.

use std::fmt;
use std::hash::{BuildHasher, Hasher};

use kube::Client;
use tokio::sync::watch;

pub use crew::Crew;
pub use elector::Elector;
pub use gate::Gate;
pub use lease::names as lease_names;
pub use shard::{Shard, Shards, ShardsError};
pub use timing::{Timing, TimingError};

mod candidate;
mod clearing;
mod crew;
mod elector;
mod gate;
mod lease;
mod machine;
mod note;
mod record;
mod shard;
mod timing;

/// Name of the Lease.
pub const LEASE: &str = "sluice-controller";

/// How a process stands for election.
#[derive(Clone)]
pub struct Election {
    /// A client of its own: what else is asked holds up no renewal.
    pub client: Client,
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease; of several shards, that of the first.
    pub name: String,
    /// What this process is called in it. No other process may have the name, nor have had it.
    pub identity: String,
    /// How long a lead lasts.
    pub timing: Timing,
    /// How many shards there are, each with a Lease of its own.
    pub shards: Shards,
}

impl fmt::Debug for Election {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Election { client: _, namespace, name, identity, timing, shards } = self;
        write!(f, "Election {{ {identity} for {namespace}/{name}, {timing:?}, {} shards }}", shards.count())
    }
}

/// What those who stand for the shards in one process know of each other.
pub fn crew() -> Crew {
    Crew::new(random())
}

/// A name that no other process has, beginning with `instance`.
pub fn identity(instance: &str) -> String {
    format!("{instance}_{:08x}", random() >> 32)
}

/// The randomness that the standard library keys its hashes with: nobody is to guess it, two processes only have to differ.
fn random() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}

/// The gate of the present term, while this process leads.
pub type Terms = watch::Receiver<Option<Gate>>;

/// Waits until anything is heard of the terms of any shard.
pub async fn any_term(terms: &[Terms]) {
    let changed = terms.iter().map(|terms| {
        let mut terms = terms.clone();
        Box::pin(async move { terms.changed().await.is_ok() })
    });
    let _first = futures::future::select_all(changed).await;
}

/// The gate of the next term, or of the present one; `None` when nobody stands for election any more.
pub async fn next_term(terms: &mut Terms) -> Option<Gate> {
    loop {
        let gate = terms.borrow_and_update().clone();
        if let Some(gate) = gate.filter(|gate| !gate.is_closed()) {
            return Some(gate);
        }
        terms.changed().await.ok()?;
    }
}
