//! What searches of one calendar have found: a decision asks for the next opening once for each pending cohort and each time that it may
//! be woken at, and all of these ask much the same.

use std::sync::OnceLock;

use super::search::Ended;
use crate::api::MicroTime;

/// Searches that are remembered: one a cohort. A calendar is made for a decision, so none gives way to a later one.
const MOST: usize = 16;

/// The first searches: where each began, and how it ended. It is no part of the value of a calendar: an opening that is found is the same
/// with it or without it. Where a search ended without one, the next goes on from there, and may come further.
#[derive(Debug)]
pub(super) struct Known([OnceLock<(MicroTime, Ended)>; MOST]);

impl Known {
    /// The search that began at `t` or before and came furthest, to `t` or beyond it.
    pub(super) fn about(&self, t: MicroTime) -> Option<Ended> {
        let known = self.0.iter().filter_map(OnceLock::get);
        let about = known.filter(|(from, ended)| *from <= t && t <= ended.at);
        about.map(|(_, ended)| *ended).max_by_key(|ended| ended.at)
    }

    /// Remembers a search from `t` on, if it was one.
    pub(super) fn note(&self, t: MicroTime, ended: Ended) {
        if ended.at != t {
            let _taken = self.0.iter().find(|slot| slot.set((t, ended)).is_ok());
        }
    }
}

impl Default for Known {
    fn default() -> Known {
        Known([const { OnceLock::new() }; MOST])
    }
}

impl Clone for Known {
    /// What is cloned may be changed: nothing is known of it yet.
    fn clone(&self) -> Known {
        Known::default()
    }
}

impl PartialEq for Known {
    fn eq(&self, _: &Known) -> bool {
        true
    }
}
