//! The error because of which a source is left alone, as people are told of it.

use super::failure::Failure;

/// Errors in a row that must be the same before they are told instead of another: what a status says is a write each time.
const IN_A_ROW: u32 = 3;

/// The error that a source fails with, in words.
#[derive(Debug, Default)]
pub(super) struct Cause {
    told: Option<&'static str>,
    last: Option<&'static str>,
    times: u32,
}

impl Cause {
    /// Takes note of one more error.
    pub fn note(&mut self, failure: Failure) {
        let words = failure.words();
        self.times = if self.last == Some(words) { self.times.saturating_add(1) } else { 1 };
        self.last = Some(words);
        if self.told.is_none() || self.times >= IN_A_ROW {
            self.told = self.last;
        }
    }

    /// The words; `None` where there was no error.
    pub fn told(&self) -> Option<&'static str> {
        self.told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_that_alternate_are_told_as_the_first_and_one_that_stays_as_itself() {
        let mut cause = Cause::default();
        assert_eq!(cause.told(), None);
        for _ in 0..20 {
            for failure in [Failure::Refused, Failure::Refused, Failure::Status(401)] {
                cause.note(failure);
                assert_eq!(cause.told(), Some(Failure::Refused.words()));
            }
        }
        cause.note(Failure::Status(401));
        cause.note(Failure::Status(401));
        assert_eq!(cause.told(), Some(Failure::Status(401).words()), "three in a row with the one before");
    }
}
