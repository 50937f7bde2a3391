//! Versions of apps and systems, by the rules of Semantic Versioning.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// Largest number in a version: some evaluator reads no larger one.
const LARGEST: u64 = 2_147_483_647;
/// Largest number in a version that others are compared with: the next one is a number that every evaluator reads.
const LARGEST_BOUND: u64 = 999_999_999;

/// A version such as `5.3.0` or `5.3.0-rc.1`. `v5.3`, `5.3` and `5.3.0+124` are read as `5.3.0`: a leading `v` and build
/// metadata mean nothing, and parts that are missing are 0. A pre-release needs all three parts before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    core: [u64; 3],
    pre_release: Vec<Identifier>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Identifier {
    /// Numbers come before words.
    Number(u64),
    Word(String),
}

impl Version {
    /// The lowest version of the same major number, a pre-release.
    pub fn lowest_of_major(&self) -> Version {
        Version::lowest([self.core[0], 0, 0])
    }

    /// The lowest version of the next major number, a pre-release.
    pub fn lowest_of_next_major(&self) -> Version {
        Version::lowest([self.core[0] + 1, 0, 0])
    }

    /// The lowest version of the same major and minor number, a pre-release.
    pub fn lowest_of_minor(&self) -> Version {
        Version::lowest([self.core[0], self.core[1], 0])
    }

    /// The lowest version of the next minor number, a pre-release.
    pub fn lowest_of_next_minor(&self) -> Version {
        Version::lowest([self.core[0], self.core[1] + 1, 0])
    }

    /// The lowest version above this one.
    pub fn next(&self) -> Version {
        let [major, minor, patch] = self.core;
        if self.pre_release.is_empty() {
            return Version::lowest([major, minor, patch + 1]);
        }
        let mut next = self.clone();
        next.pre_release.push(Identifier::Number(0));
        next
    }

    fn lowest(core: [u64; 3]) -> Version {
        Version { core, pre_release: vec![Identifier::Number(0)] }
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Version) -> Ordering {
        let released = |version: &Version| version.pre_release.is_empty();
        self.core
            .cmp(&other.core)
            .then_with(|| released(self).cmp(&released(other)))
            .then_with(|| self.pre_release.cmp(&other.pre_release))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Version) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.core;
        write!(f, "{major}.{minor}.{patch}")?;
        for (index, identifier) in self.pre_release.iter().enumerate() {
            f.write_str(if index == 0 { "-" } else { "." })?;
            match identifier {
                Identifier::Number(number) => write!(f, "{number}")?,
                Identifier::Word(word) => f.write_str(word)?,
            }
        }
        Ok(())
    }
}

/// The text is no version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoVersion;

impl FromStr for Version {
    type Err = NoVersion;

    fn from_str(text: &str) -> Result<Version, NoVersion> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let (text, build) = split(text, '+');
        let (core, pre_release) = split(text, '-');
        let mut parts = core.split('.');
        let mut version = Version { core: [0; 3], pre_release: Vec::new() };
        let mut given = 0;
        for part in &mut version.core {
            let Some(text) = parts.next() else { break };
            *part = number(text).ok_or(NoVersion)?;
            given += 1;
        }
        let is_whole = given == 3 || (pre_release.is_none() && build.is_none());
        if parts.next().is_some() || given == 0 || !is_whole {
            return Err(NoVersion);
        }
        if build.is_some_and(|build| !build.split('.').all(is_identifier)) {
            return Err(NoVersion);
        }
        for text in pre_release.into_iter().flat_map(|text| text.split('.')) {
            version.pre_release.push(identifier(text).ok_or(NoVersion)?);
        }
        Ok(version)
    }
}

fn split(text: &str, separator: char) -> (&str, Option<&str>) {
    match text.split_once(separator) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

/// A number without leading zeros.
fn number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    let number = plain.then(|| text.parse().ok())?;
    number.filter(|number| *number <= LARGEST)
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn identifier(text: &str) -> Option<Identifier> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return number(text).map(Identifier::Number);
    }
    is_identifier(text).then(|| Identifier::Word(text.to_owned()))
}

/// A comparison with a version, such as `>= 5.3.0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// How.
    pub operator: VersionOperator,
    /// With what.
    pub version: Version,
}

/// How versions are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionOperator {
    /// `=`: neither lower nor higher.
    Equal,
    /// `!=`: lower or higher.
    NotEqual,
    /// `>`: higher.
    Above,
    /// `>=`: not lower.
    AtLeast,
    /// `<`: lower.
    Below,
    /// `<=`: not higher.
    AtMost,
    /// `^`: of the same major number.
    SameMajor,
    /// `~`: of the same major and minor number.
    SameMinor,
}

/// How operators are written, longest first, so that `>=` is not read as `>`.
const OPERATORS: [(&str, VersionOperator); 8] = [
    (">=", VersionOperator::AtLeast),
    ("<=", VersionOperator::AtMost),
    ("!=", VersionOperator::NotEqual),
    ("=", VersionOperator::Equal),
    (">", VersionOperator::Above),
    ("<", VersionOperator::Below),
    ("~", VersionOperator::SameMinor),
    ("^", VersionOperator::SameMajor),
];

impl Comparison {
    /// Whether a version passes.
    pub fn accepts(&self, found: &Version) -> bool {
        let bound = &self.version;
        match self.operator {
            VersionOperator::Equal => found == bound,
            VersionOperator::NotEqual => found != bound,
            VersionOperator::Above => found > bound,
            VersionOperator::AtLeast => found >= bound,
            VersionOperator::Below => found < bound,
            VersionOperator::AtMost => found <= bound,
            VersionOperator::SameMajor => found.core[0] == bound.core[0],
            VersionOperator::SameMinor => found.core[..2] == bound.core[..2],
        }
    }
}

/// The comparisons in a text such as `>= 5.2.0 < 6`, all of which a version has to pass.
///
/// # Errors
/// What is wrong with the text, and what would be right.
pub fn comparisons(text: &str) -> Result<Vec<Comparison>, String> {
    let mut found = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (operator, after) = OPERATORS
            .iter()
            .find_map(|(text, operator)| rest.strip_prefix(text).map(|after| (*operator, after.trim_start())))
            .ok_or_else(|| misread(text))?;
        let end = after.find(char::is_whitespace).unwrap_or(after.len());
        let (version, after) = after.split_at_checked(end).ok_or_else(|| misread(text))?;
        let version: Version = version.parse().map_err(|NoVersion| misread(text))?;
        if version.core.iter().any(|number| *number > LARGEST_BOUND) {
            return Err(format!("{text:?} has a number above {LARGEST_BOUND}"));
        }
        found.push(Comparison { operator, version });
        rest = after.trim_start();
    }
    if found.is_empty() { Err(misread(text)) } else { Ok(found) }
}

fn misread(text: &str) -> String {
    let operators: Vec<&str> = OPERATORS.iter().map(|(text, _)| *text).collect();
    format!(
        "{text:?} is no comparison of versions: write one of {} and a version, such as \">= 2.1.0\", or several for a \
         range, such as \">= 2.1.0 < 3\"",
        operators.join(" ")
    )
}

#[cfg(test)]
mod tests;
