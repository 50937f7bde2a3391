//! What a metric said once: a finite number, nothing, or an error of the provider.

use std::fmt;

/// A number that can be compared: neither NaN nor infinite.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Finite(f64);

impl Finite {
    /// The number, unless it is NaN or infinite.
    pub fn new(value: f64) -> Option<Finite> {
        value.is_finite().then_some(Finite(value))
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl fmt::Display for Finite {
    /// At most six digits after the point, without trailing zeros: messages must not change with the last bit.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:.6}", self.0);
        let short = text.trim_end_matches('0').trim_end_matches('.');
        f.pad(if short == "-0" { "0" } else { short })
    }
}

/// What one query said. Only a [`Reading::Value`] can ever count as good.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// A finite number.
    Value {
        /// The number.
        value: Finite,
        /// From how many samples it was computed, where the template counts them.
        samples: Option<u64>,
    },
    /// The provider answered, but not with one finite, recent number; why, in words that name no content of its answer.
    NoData(String),
    /// The provider did not answer, or not in its own language; why, in words that name no content of its answer.
    Error(String),
}

impl Reading {
    /// A number as a reading: NaN and the infinities are no data.
    pub fn of(value: f64, samples: Option<u64>) -> Reading {
        match Finite::new(value) {
            Some(value) => Reading::Value { value, samples },
            None if value.is_nan() => Reading::NoData("the value is NaN".to_owned()),
            None => Reading::NoData("the value is infinite".to_owned()),
        }
    }
}
