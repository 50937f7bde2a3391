//! What the first Lease says of how many shards there are.

use std::fmt;

use super::shard::Shards;

/// The annotation of the first Lease that says it.
pub const ANNOTATION: &str = "sluice.dev/shards";

/// How many shards there are, and how many there are to be. Without a word there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// The number in force: whoever writes, writes as one of so many. Nothing where nobody knows.
    in_force: Option<Shards>,
    /// The number that follows once nobody writes as one of those in force.
    next: Option<Shards>,
}

impl Default for Note {
    fn default() -> Note {
        Note::settled(Shards::ONE)
    }
}

impl Note {
    /// Nobody knows as one of how many somebody may still write.
    pub const UNKNOWN: Note = Note { in_force: None, next: None };

    /// So many are in force, and nobody wants another number.
    pub const fn settled(shards: Shards) -> Note {
        Note { in_force: Some(shards), next: None }
    }

    /// The same, with another number that is to follow.
    pub fn then(self, next: Shards) -> Note {
        Note { next: Some(next), ..self }
    }

    /// The number in force.
    pub fn in_force(self) -> Option<Shards> {
        self.in_force
    }

    /// Whether whoever writes as one of so many is to end: another number is in force, or is to follow.
    pub fn ends(self, shards: Shards) -> bool {
        self.next.or(self.in_force).is_some_and(|wanted| wanted != shards)
    }

    /// What an annotation says. Of one that makes no sense nothing is known.
    pub fn read(text: Option<&str>) -> Note {
        let Some(text) = text else { return Note::default() };
        let number = |text: &str| Shards::new(text.parse().ok()?).ok();
        match text.split_once(" to ") {
            None => Note { in_force: number(text), next: None },
            Some((in_force, next)) => Note { in_force: number(in_force), next: number(next) },
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.in_force {
            Some(shards) => write!(f, "{}", shards.count())?,
            None => f.write_str("unknown")?,
        }
        match self.next {
            Some(next) => write!(f, " to {}", next.count()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_comes_back_from_its_text_and_nonsense_says_nothing() {
        let [two, three] = [2, 3].map(|count| Shards::new(count).unwrap());
        for note in [
            Note::default(),
            Note::settled(three),
            Note::settled(two).then(three),
            Note::UNKNOWN,
            Note::UNKNOWN.then(two),
        ] {
            assert_eq!(Note::read(Some(&note.to_string())), note);
        }
        assert_eq!(Note::settled(two).then(three).to_string(), "2 to 3");
        assert_eq!(Note::read(None), Note::settled(Shards::ONE));
        for odd in ["", "0", "17", "-1", "two", "99999999999"] {
            assert_eq!(Note::read(Some(odd)), Note::UNKNOWN, "{odd}");
        }
    }

    #[test]
    fn whoever_writes_as_one_of_another_number_ends_when_that_is_wanted() {
        let [two, three] = [2, 3].map(|count| Shards::new(count).unwrap());
        assert!(!Note::settled(two).ends(two) && Note::settled(three).ends(two));
        let change = Note::settled(two).then(three);
        assert!(change.ends(two) && !change.ends(three));
        assert!(!Note::UNKNOWN.ends(two), "nobody has asked for another number");
    }
}
