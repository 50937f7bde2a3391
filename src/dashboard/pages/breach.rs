//! A breach in words, with the unit of what is measured: the same words wherever a rollout is named.

use super::watched::guard_of;
use crate::api::measured::{Measured, MeasuredKind};
use crate::dashboard::app::{App, Visitor};
use crate::dashboard::read::{self, Seen};
use crate::dashboard::row::{Breach, Row};
use crate::dashboard::units::{Units, units};

/// What a row in breach says; nothing where it is in none. The rollout is read only where it has not been `seen`.
pub async fn breach_words(app: &App, visitor: &Visitor, row: &Row, seen: Option<&Seen>) -> Option<String> {
    let breach = row.breach.as_ref()?;
    let (namespace, name) = (&row.id.namespace, &row.id.name);
    let measured = app.measurements.of(&visitor.person, namespace, name).await.ok();
    if let Some(measured) = measured.as_ref().filter(|measured| tells(measured, breach)) {
        return Some(breach.words(&Units::told(measured)));
    }
    // The template has it, and what watches over the rollout says which template.
    let read;
    let seen = match seen {
        Some(seen) => seen,
        None => {
            read = read::rollout(&visitor.person.client, namespace, name).await.ok()?;
            &read
        }
    };
    let units = units(&visitor.person.client, namespace, &guard_of(seen), measured.as_ref()).await;
    Some(breach.words(&units))
}

/// Whether the measurements tell of what is in breach, and so whether it has a unit.
fn tells(measured: &Measured, breach: &Breach) -> bool {
    measured.series.iter().any(|series| series.kind == MeasuredKind::Trigger && series.name == breach.trigger)
}
