//! Measurements as they are given to a decision: again and again, and late.

use jiff::SignedDuration;

use super::triggers::levels;
use crate::api::Reading;
use crate::engine::{Measurement, Metrics, Subject};

#[test]
fn measurements_given_again_count_once() {
    let spec = "{severity: Warning, above: '5', for: 60s, action: Pause},
                {severity: Critical, above: '10', for: 90s, action: ImmediateRollback}";
    let values = [11.0, 11.0, 6.0, f64::NAN, 11.0, 4.0, 11.0, 11.0, 11.0, 11.0];
    let mut once = levels(spec);
    once.series("errors", 30, &values);
    let mut again = levels(spec);
    let mut all = Vec::new();
    for (i, value) in values.iter().enumerate() {
        if i > 0 {
            again.wait(30);
        }
        let subject = Subject::Trigger("errors".to_owned());
        let (at, reading) = (again.now, Reading::of(*value, None));
        all.push(Measurement { subject, cohort: None, at, due: at, reading });
        again.facts.metrics = Metrics::Measured(all.clone());
        again.settle();
    }
    assert_eq!(again.told(), once.told());
    assert_eq!(again.status, once.status);
    assert_eq!(again.told().last().unwrap(), "270 RolledBack trigger/errors");
}

/// Every 30 s there should be a sample, and every five minutes there is one, all of them in breach.
#[test]
fn what_sluice_was_late_with_is_no_gap_in_a_breach_and_what_was_not_there_is() {
    let every = SignedDuration::from_mins(5);
    // How long before each sample it was due, and what is told of a breach that has to last ten minutes.
    for (late, rolls_back) in
        [(every, true), (every - SignedDuration::from_secs(90), true), (SignedDuration::ZERO, false)]
    {
        let mut life = levels("{severity: Critical, above: '10', for: 10m, action: ImmediateRollback}");
        for _ in 0..4 {
            life.until(life.now + every);
            let (at, subject) = (life.now, Subject::Trigger("errors".to_owned()));
            let reading = Reading::of(11.0, None);
            let given = Measurement { subject, cohort: None, at, due: at - late, reading };
            life.facts.metrics = Metrics::Measured(vec![given]);
            life.settle();
        }
        assert_eq!(life.status.rollback.is_some(), rolls_back, "late by {late}");
    }
}
