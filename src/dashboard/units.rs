//! Units of what is measured: as the controller told them with the measurements, else from the templates, as far as the
//! person may read those.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use kube::Client;

use super::read::read;
use crate::api::MetricTemplate;
use crate::api::measured::{Measured, MeasuredKind, MeasuredSeries};
use crate::chart::axis::ValueAxis;
use crate::plan::Guard;
use crate::plan::guard::CriterionSource;

/// Units by trigger and criterion; nothing of those that have none, or none that the person may know.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Units(BTreeMap<(MeasuredKind, String), String>);

impl Units {
    /// The units that came along with measurements.
    pub fn told(measured: &Measured) -> Units {
        let unit = |series: &MeasuredSeries| Some(((series.kind, series.name.clone()), series.unit.clone()?));
        Units(measured.series.iter().filter_map(unit).collect())
    }

    /// A text with the unit of a subject behind it.
    pub fn with_unit(&self, kind: MeasuredKind, name: &str, text: &str) -> String {
        let unit = self.0.get(&(kind, name.to_owned())).map(String::as_str).unwrap_or_default();
        format!("{text}{}", behind_value(unit))
    }

    /// A value as people read it, with the unit of its subject behind it.
    pub fn value(&self, kind: MeasuredKind, name: &str, text: &str) -> String {
        self.with_unit(kind, name, &readable(text))
    }

    #[cfg(test)]
    pub fn of(units: &[(MeasuredKind, &str, &str)]) -> Units {
        let units = units.iter().map(|(kind, name, unit)| ((*kind, (*name).to_owned()), (*unit).to_owned()));
        Units(units.collect())
    }
}

/// A measured value in as many digits as people compare: `11.187339` is 11.19. What is no number stays as it is.
pub fn readable(text: &str) -> String {
    let value = text.parse::<f64>().ok().filter(|value| value.is_finite());
    value.map_or_else(|| text.to_owned(), ValueAxis::label)
}

/// A unit as it stands behind a value: `%` at once, a word after a space.
pub fn behind_value(unit: &str) -> String {
    if unit.is_empty() || unit == "%" { unit.to_owned() } else { format!(" {unit}") }
}

/// The units of everything that watches over a rollout of this namespace.
pub async fn units(client: &Client, namespace: &str, guard: &Guard, measured: Option<&Measured>) -> Units {
    let Units(mut units) = measured.map(Units::told).unwrap_or_default();
    let series = measured.into_iter().flat_map(|measured| &measured.series);
    let told: BTreeSet<(MeasuredKind, String)> =
        series.map(|series| (series.kind, series.name.clone())).collect();
    // What was measured has told its unit, or that there is none.
    let wanted: Vec<(&str, &str, (MeasuredKind, String))> =
        templates(guard, namespace).filter(|(_, _, subject)| !told.contains(subject)).collect();
    let places: BTreeSet<(&str, &str)> =
        wanted.iter().map(|(namespace, name, _)| (*namespace, *name)).collect();
    let found = join_all(places.into_iter().map(async |(namespace, name)| {
        let template: Option<MetricTemplate> =
            read(client, namespace, "MetricTemplate", name).await.ok().flatten();
        Some(((namespace, name), template?.spec.unit?))
    }));
    let found: BTreeMap<(&str, &str), String> = found.await.into_iter().flatten().collect();
    for (namespace, name, subject) in wanted {
        units.extend(found.get(&(namespace, name)).map(|unit| (subject, unit.clone())));
    }
    Units(units)
}

/// Of each trigger and criterion that is measured, namespace and name of its template.
fn templates<'g>(
    guard: &'g Guard,
    namespace: &'g str,
) -> impl Iterator<Item = (&'g str, &'g str, (MeasuredKind, String))> {
    let triggers = guard.triggers.iter().map(move |trigger| {
        let of = trigger.template_namespace.as_deref().unwrap_or(namespace);
        let subject = (MeasuredKind::Trigger, trigger.name.clone());
        (of, trigger.metric.template_ref.name.as_str(), subject)
    });
    let criteria = guard.criteria.iter().filter_map(move |criterion| match &criterion.source {
        CriterionSource::Metric(metric) => {
            let subject = (MeasuredKind::Criterion, criterion.name.clone());
            Some((namespace, metric.template_ref.name.as_str(), subject))
        }
        CriterionSource::Manual { .. } => None,
    });
    triggers.chain(criteria)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("11.187339", "11.19")]
    #[case("79.411765", "79.41")]
    #[case("12.5", "12.5")]
    #[case("1234.5678", "1235")]
    #[case("0", "0")]
    #[case("0.000123", "0.00012")]
    #[case("NaN", "NaN")]
    #[case("many", "many")]
    fn a_value_has_as_many_digits_as_people_compare(#[case] measured: &str, #[case] read: &str) {
        assert_eq!(readable(measured), read);
    }

    #[test]
    fn units_come_along_with_measurements() {
        let series = |name: &str, unit: Option<&str>| MeasuredSeries {
            kind: MeasuredKind::Trigger,
            name: name.to_owned(),
            cohort: None,
            unit: unit.map(str::to_owned),
            interval_seconds: 30,
            at: Vec::new(),
            said: Vec::new(),
            message: None,
        };
        let units =
            Units::told(&Measured { series: vec![series("errors", Some("%")), series("visits", None)] });
        let shown = |name: &str| units.value(MeasuredKind::Trigger, name, "11.187339");
        assert_eq!([shown("errors"), shown("visits"), shown("other")], ["11.19%", "11.19", "11.19"]);
    }
}
