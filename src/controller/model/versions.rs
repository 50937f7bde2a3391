//! The versions of an object that somebody still knows.

/// An object's versions, the newest first, as far back as anybody still knows them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Versions<T>(Vec<T>);

impl<T: Copy> Versions<T> {
    pub(super) fn new(first: T) -> Versions<T> {
        Versions(vec![first])
    }

    pub(super) fn current(&self) -> T {
        self.0[0]
    }

    /// The one that so many have come after.
    pub(super) fn at(&self, age: u8) -> T {
        self.0[usize::from(age).min(self.0.len() - 1)]
    }

    pub(super) fn all(&self) -> impl Iterator<Item = T> {
        self.0.iter().copied()
    }

    pub(super) fn push(&mut self, next: T) {
        self.0.insert(0, next);
    }

    pub(super) fn forget_before(&mut self, oldest: u8) {
        self.0.truncate(usize::from(oldest) + 1);
    }

    pub(super) fn map(&mut self, change: impl FnMut(&mut T)) {
        self.0.iter_mut().for_each(change);
    }
}
