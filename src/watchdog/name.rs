//! What the parts of the process are called.

use std::fmt;

macro_rules! parts {
    ($($(#[$doc:meta])* $part:ident => $words:literal,)*) => {
        /// What a part is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum What {
            $($(#[$doc])* $part,)*
        }

        impl What {
            /// Every one.
            pub const ALL: &'static [What] = &[$(What::$part),*];

            /// As it is written.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(What::$part => $words,)*
                }
            }
        }
    };
}

parts! {
    /// Lists and watches a kind.
    Watch => "the watch",
    /// Starts the watches, in their order.
    Watches => "the start of the watches",
    /// Stands for election.
    Election => "the election",
    /// Says when a process that stands by could take over.
    Candidate => "the wait of a candidate",
    /// Keeps nothing of rollouts that are gone while the process stands by.
    Tidying => "the tidying of a candidate",
    /// Gives out what is to be worked on.
    Queue => "the queue",
    /// Work on one object.
    Work => "the work",
    /// Gives out actions.
    Actions => "the work on actions",
    /// The actions of one rollout.
    ActionsOf => "the actions",
    /// Writes one file.
    Writer => "the writer",
    /// Annotates the pods of one file.
    Nudge => "the nudge",
    /// Gives out events.
    Events => "the publishing of events",
    /// One event.
    Event => "an event",
    /// Says which measurements are due.
    Checks => "the schedule of checks",
    /// One measurement.
    Check => "a check",
    /// Hands histories over to the channels.
    Channels => "the telling of channels",
    /// One channel.
    Channel => "the channel",
    /// Counts, and deletes what nobody needs.
    Housekeeping => "the housekeeping",
    /// Looks whether the keys of files have changed.
    SigningKeys => "the look at the signing keys",
}

/// What a part is called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    pub(super) what: What,
    of: Option<String>,
    /// Whether it is one object's alone.
    pub(super) is_of_one: bool,
}

impl Name {
    /// A part that there is one of.
    pub const fn of_process(what: What) -> Name {
        Name { what, of: None, is_of_one: false }
    }

    /// A part that there is one of for each of a few things, such as kinds, and that everybody is concerned by.
    pub fn of_all(what: What, of: impl fmt::Display) -> Name {
        Name { what, of: Some(of.to_string()), is_of_one: false }
    }

    /// A part that one object has, which nobody else is concerned by.
    pub fn of_object(what: What, of: impl fmt::Display) -> Name {
        Name { what, of: Some(of.to_string()), is_of_one: true }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.of {
            None => f.write_str(self.what.as_str()),
            Some(of) => write!(f, "{} of {of}", self.what.as_str()),
        }
    }
}
