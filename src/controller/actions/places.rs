//! How many actions are carried out at once, and how namespaces share that.

use crate::controller::queue::{ProcessorCosts, Took};
use crate::engine::Precedence;
use crate::fair::{Place, Turns};

/// Rollouts whose actions are worked on at once: as many calls may hang before another rollout waits for one.
const AT_ONCE: usize = 32;
/// The same of namespaces where an action takes much processor time.
const DEAR: usize = 4;
/// The same of what stops or lowers there, which waits for none of the others.
const DEAR_STOPS: usize = 8;

/// The places of all actions.
pub(super) struct Places {
    all: Turns,
    dear: Turns,
    dear_stops: Turns,
    costs: ProcessorCosts,
}

impl Default for Places {
    fn default() -> Places {
        Places {
            all: Turns::of(AT_ONCE),
            dear: Turns::of(DEAR),
            dear_stops: Turns::of(DEAR_STOPS),
            costs: ProcessorCosts::default(),
        }
    }
}

impl Places {
    /// Waits for a place for an action of a namespace. Of those that wait there, the higher precedence goes first.
    pub(super) async fn take(&self, namespace: &str, precedence: Precedence) -> (Option<Place>, Place) {
        let rank = precedence as u8;
        let is_dear = self.costs.is_dear(namespace, AT_ONCE, DEAR);
        let dear = match (is_dear, precedence) {
            (false, _) => None,
            (true, Precedence::Ordinary) => Some(self.dear.take(namespace, rank).await),
            (true, _) => Some(self.dear_stops.take(namespace, rank).await),
        };
        (dear, self.all.take(namespace, rank).await)
    }

    /// Notes that an action of a namespace took so long.
    pub(super) fn note_cost(&self, namespace: &str, took: Took) {
        self.costs.note(namespace, took);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt;

    use super::*;

    /// How many actions of a namespace there are places for.
    fn places_of(
        places: &Places,
        namespace: &str,
        precedence: Precedence,
    ) -> (usize, Vec<(Option<Place>, Place)>) {
        let held: Vec<_> = std::iter::from_fn(|| places.take(namespace, precedence).now_or_never()).collect();
        (held.len(), held)
    }

    #[test]
    fn a_namespace_whose_actions_are_dear_has_few_at_once_and_stops_wait_for_none_of_them() {
        let places = Places::default();
        places.note_cost("dear", Took { processor: Duration::from_millis(50), ..Took::default() });
        let (ordinary, _held) = places_of(&places, "dear", Precedence::Ordinary);
        let (stops, _held_too) = places_of(&places, "dear", Precedence::RollbackOfAll);
        assert_eq!((ordinary, stops), (3, 6));
        assert_eq!(
            places_of(&places, "cheap", Precedence::Ordinary).0,
            23,
            "of the others, as many as are left"
        );
    }
}
