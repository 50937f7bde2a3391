//! The kinds of `sluice.dev/v1alpha1`, and the values they are made of.

#![allow(
    clippy::duplicated_attributes,
    reason = "each printer column of a kind repeats the names of its parts"
)]

use kube::CustomResourceExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

pub mod announcement;
pub mod channel_status;
pub mod cohort;
pub mod cohort_status;
pub mod cohortset;
pub mod conditions;
pub mod crds;
pub mod date;
pub mod decimal;
pub mod duration;
pub mod feature;
pub mod featurerollout;
pub mod flagset;
pub mod freeze;
pub mod guide;
pub mod hold;
pub mod measured;
pub mod metricsource;
pub mod metrictemplate;
pub mod notificationchannel;
pub mod pause;
pub mod percent;
pub mod playbook;
pub mod playbook_status;
pub mod policies;
pub mod reading;
pub mod reason;
pub mod record;
pub mod reference;
pub mod rollback;
pub mod rolloutaction;
pub mod rolloutpolicy;
pub mod schedule;
pub mod schema;
pub mod state;
pub mod status;
pub mod time;
pub mod trigger;
pub mod verdict;
pub mod waiting;
mod written;

pub use announcement::{Announcement, ChangelogOutput};
pub use cohort::{Cohort, Expression, Match, MatchGroup, Operator, Tier};
pub use cohortset::{CohortSet, CohortSetSpec, CohortSetStatus};
pub use conditions::Condition;
pub use date::CivilDate;
pub use decimal::Decimal;
pub use duration::Duration;
pub use featurerollout::{FeatureRollout, FeatureRolloutSpec};
pub use flagset::{FlagSet, FlagSetSpec, FlagSetStatus};
pub use freeze::{Freeze, FreezeTime};
pub use hold::Hold;
pub use metricsource::{MetricSource, MetricSourceSpec, MetricSourceStatus};
pub use metrictemplate::{MetricTemplate, MetricTemplateSpec, MetricTemplateStatus};
pub use notificationchannel::{NotificationChannel, NotificationChannelSpec, NotificationChannelStatus};
pub use percent::Percent;
pub use playbook::{Playbook, PlaybookSpec};
pub use playbook_status::PlaybookStatus;
pub use reading::{Finite, Reading};
pub use reason::Reason;
pub use rollback::{RollbackMode, RollbackStatus};
pub use rolloutaction::{RolloutAction, RolloutActionSpec, RolloutActionStatus};
pub use rolloutpolicy::{RolloutPolicy, RolloutPolicySpec, RolloutPolicyStatus};
pub use schedule::{Day, TimeOfDay, Window};
pub use state::State;
pub use status::FeatureRolloutStatus;
pub use time::MicroTime;
pub use trigger::Severity;
pub use verdict::Verdict;

/// API group of every kind.
pub const GROUP: &str = "sluice.dev";
/// API version of every kind.
pub const VERSION: &str = "v1alpha1";

/// A reference to an object of the same namespace.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LocalRef {
    /// Name of the object, in the namespace that the referring field says.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// The `observedGeneration` of an object that no controller has seen: kstatus then says InProgress, not Current.
pub(crate) fn unobserved() -> i64 {
    -1
}

/// The CustomResourceDefinitions, in the order of their names.
pub fn all_crds() -> Vec<CustomResourceDefinition> {
    vec![
        crds::finish(CohortSet::crd()),
        crds::finish(FeatureRollout::crd()),
        crds::finish(FlagSet::crd()),
        crds::finish(MetricSource::crd()),
        crds::finish(MetricTemplate::crd()),
        crds::finish(NotificationChannel::crd()),
        crds::finish(Playbook::crd()),
        crds::finish(RolloutAction::crd()),
        crds::finish(RolloutPolicy::crd()),
    ]
}
