//! Why events are not published.

/// Why an event is not published, or not now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// Too many of its object wait.
    ObjectFull,
    /// Too many of its namespace wait.
    NamespaceFull,
    /// Too many wait in all, and others have fewer.
    Full,
    /// The API server will never take it.
    Refused,
}

impl Dropped {
    pub(super) const ALL: [Dropped; 4] =
        [Dropped::ObjectFull, Dropped::NamespaceFull, Dropped::Full, Dropped::Refused];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Dropped::ObjectFull => "ObjectFull",
            Dropped::NamespaceFull => "NamespaceFull",
            Dropped::Full => "Full",
            Dropped::Refused => "Refused",
        }
    }
}
