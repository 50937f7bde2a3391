//! How the memory that the objects of one namespace may take is divided among their kinds.

use super::cache::{Beyond, Share};

/// What the objects of one namespace may take of memory together, in MiB: a good half of what the chart gives a process.
pub const NAMESPACE_MEMORY: u32 = 256;

/// What is kept of a small object besides its text.
const SMALL: usize = 1024;

/// What each kind may have of a namespace's memory.
#[derive(Clone, Copy, Debug)]
pub struct NamespaceShares {
    /// Of FeatureRollouts.
    pub rollouts: Share,
    /// Of FlagSets.
    pub flag_sets: Share,
    /// Of ConfigMaps that files are in.
    pub config_maps: Share,
    /// Of what is measured for triggers and criteria.
    pub measurements: Share,
    /// Of each other kind.
    pub others: Share,
}

impl NamespaceShares {
    /// Divides so many MiB. A rollout and a FlagSet are also in a file, of which the last text is kept. The factor of FlagSets was
    /// measured (2.8 MiB for one of 0.9 MB that does not compress), and so was what a small rollout takes in all: some 25 KB.
    pub fn of(mebibytes: u32) -> NamespaceShares {
        let all = usize::try_from(mebibytes).unwrap_or(usize::MAX).saturating_mul(1024 * 1024);
        let share = |sixteenths: usize, each, times| Share {
            limit: all / 16 * sixteenths,
            each,
            times,
            beyond: Beyond::Stalled,
        };
        NamespaceShares {
            rollouts: share(6, 20 * SMALL, 2),
            // Besides its text, what is wrong with each flag of its own.
            flag_sets: share(1, 8 * SMALL, 3),
            measurements: share(3, SMALL, 1),
            config_maps: Share { beyond: Beyond::Aside, ..share(2, SMALL, 1) },
            others: share(1, SMALL, 3),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kinds_of_a_namespace_take_no_more_than_it_may_have() {
        let shares = NamespaceShares::of(NAMESPACE_MEMORY);
        // CohortSets, MetricTemplates, RolloutPolicies and Playbooks.
        let of_all = shares.rollouts.limit
            + shares.flag_sets.limit
            + shares.config_maps.limit
            + shares.measurements.limit
            + 4 * shares.others.limit;
        assert_eq!(of_all, 256 * 1024 * 1024);
    }
}
