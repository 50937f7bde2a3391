//! Which shard a namespace belongs to. Everything of a namespace belongs together: its rollouts, their FlagSets and their files.

use std::fmt;

/// Most shards that there may be.
const MOST: u16 = 16;

/// How many shards there are, from 1 to 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shards(u16);

/// A number of shards that there cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the number of shards is from 1 to {MOST}")]
pub struct ShardsError;

impl Shards {
    /// Everything belongs together.
    pub const ONE: Shards = Shards(1);
    /// As many as there may be.
    pub const MOST: Shards = Shards(MOST);

    /// So many shards.
    ///
    /// # Errors
    /// When there cannot be so many.
    pub fn new(count: u16) -> Result<Shards, ShardsError> {
        if (1..=MOST).contains(&count) { Ok(Shards(count)) } else { Err(ShardsError) }
    }

    /// How many.
    pub fn count(self) -> u16 {
        self.0
    }

    /// Each of them.
    pub fn each(self) -> impl Iterator<Item = Shard> {
        (0..self.0).map(move |index| Shard { index, shards: self })
    }

    /// The one that a namespace belongs to.
    ///
    /// The hash is that of Kubernetes' sharded lists (KEP-5866). What is taken of it is the remainder and not a range, as a
    /// range goes by the highest bits, and the last letters of a name hardly reach those: `team-1` to `team-9` would all belong
    /// to one shard.
    pub fn of(self, namespace: &str) -> Shard {
        let index = u16::try_from(fnv1a(namespace) % u64::from(self.0)).unwrap_or(0);
        Shard { index, shards: self }
    }
}

/// One of so many shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: u16,
    shards: Shards,
}

impl Shard {
    /// The only one.
    pub const WHOLE: Shard = Shard { index: 0, shards: Shards::ONE };

    /// Its number, from 0 on.
    pub fn index(self) -> u16 {
        self.index
    }

    /// Of how many it is one.
    pub fn shards(self) -> Shards {
        self.shards
    }

    /// Whether it is the only one.
    pub fn is_whole(self) -> bool {
        self.shards == Shards::ONE
    }

    /// Whether a namespace belongs to it.
    pub fn owns(self, namespace: &str) -> bool {
        self.is_whole() || self.shards.of(namespace) == self
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shard {} of {}", self.index, self.shards.0)
    }
}

/// Name of the Lease of the shard with this number, where that of the first is `first`. The names do not tell how many shards
/// there are: who writes as one of another number has to take the same Leases.
pub fn lease_name(first: &str, index: u16) -> String {
    if index == 0 { first.to_owned() } else { format!("{first}-{index}") }
}

/// FNV-1a with 64 bits.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(fnv1a(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a("foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn there_are_from_one_to_sixteen() {
        assert!(Shards::new(0).is_err() && Shards::new(17).is_err());
        assert_eq!(Shards::new(1), Ok(Shards::ONE));
        assert_eq!(Shards::new(16), Ok(Shards::MOST));
    }

    #[test]
    fn names_that_differ_in_their_last_letters_are_spread() {
        for count in [2, 3, 4, 8] {
            let shards = Shards::new(count).unwrap();
            let mut sizes = vec![0; usize::from(count)];
            for i in 0..200 {
                sizes[usize::from(shards.of(&format!("team-{i}")).index())] += 1;
            }
            let fair = 200 / usize::from(count);
            assert!(sizes.iter().all(|size| (fair * 2 / 3..=fair * 3 / 2).contains(size)), "{sizes:?}");
        }
    }

    #[test]
    fn the_first_lease_is_the_same_however_many_there_are() {
        let names: Vec<String> =
            Shards::new(3).unwrap().each().map(|shard| lease_name("lease", shard.index())).collect();
        assert_eq!(names, ["lease", "lease-1", "lease-2"]);
    }

    proptest! {
        #[test]
        fn every_namespace_belongs_to_one_shard(namespace in "[a-z0-9-]{1,63}", count in 1..=MOST) {
            let shards = Shards::new(count).unwrap();
            let owners: Vec<Shard> = shards.each().filter(|shard| shard.owns(&namespace)).collect();
            prop_assert_eq!(owners, vec![shards.of(&namespace)]);
        }
    }
}
