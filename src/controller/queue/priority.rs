//! What goes before what.

/// How soon a key should be worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Acknowledgements and reports.
    Report,
    /// Everything that may change what is served.
    Decide,
    /// What may take something away at once, before the other decisions.
    Urgent,
}

impl Priority {
    /// The order in which keys are taken.
    pub(super) const FIRST_TO_LAST: [Priority; 3] = [Priority::Urgent, Priority::Decide, Priority::Report];

    /// Whether it may change what is served.
    pub(super) fn decides(self) -> bool {
        self != Priority::Report
    }
}
