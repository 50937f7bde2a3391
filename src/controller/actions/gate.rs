//! The gate that ordinary work passes: shut while actions are under way, so that a burst of steps delays none.

use std::time::Duration;

use tokio::sync::watch;

/// Longest time that a piece of ordinary work waits: actions that never end must not starve the schedule.
const LONGEST: Duration = Duration::from_millis(500);

/// Shut while somebody is inside.
pub struct Gate {
    inside: watch::Sender<usize>,
}

impl Default for Gate {
    fn default() -> Gate {
        Gate { inside: watch::Sender::new(0) }
    }
}

/// Keeps the gate shut until it is dropped.
pub struct Inside<'a>(&'a Gate);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.inside.send_modify(|inside| *inside = inside.saturating_sub(1));
    }
}

impl Gate {
    /// Shuts the gate.
    pub fn enter(&self) -> Inside<'_> {
        self.inside.send_modify(|inside| *inside += 1);
        Inside(self)
    }

    /// Waits until the gate is open, or for half a second.
    pub async fn pass(&self) {
        let mut inside = self.inside.subscribe();
        let open = async {
            // The sender lives as long as the gate.
            let _open = inside.wait_for(|inside| *inside == 0).await;
        };
        // Whoever has waited long enough goes on all the same.
        let _late = tokio::time::timeout(LONGEST, open).await;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ordinary_work_waits_for_actions_but_not_for_ever() {
        let gate = Gate::default();
        assert!(gate.pass().now_or_never().is_some());
        let (one, other) = (gate.enter(), gate.enter());
        let mut waits = std::pin::pin!(gate.pass());
        assert!(waits.as_mut().now_or_never().is_none());
        drop(one);
        assert!(waits.as_mut().now_or_never().is_none(), "one is still inside");
        drop(other);
        assert!(waits.as_mut().now_or_never().is_some());

        let _inside = gate.enter();
        gate.pass().await;
    }
}
