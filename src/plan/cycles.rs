//! Rollouts that wait for each other in a circle.

use std::collections::BTreeSet;

/// The circle of dependencies that `start` is part of, beginning and ending with it; `None` when there is none.
///
/// `edges` gives the names that a rollout depends on; an unknown name has none.
pub fn dependency_cycle(start: &str, edges: impl Fn(&str) -> Vec<String>) -> Option<Vec<String>> {
    let mut seen = BTreeSet::new();
    let mut paths = vec![vec![start.to_owned()]];
    while let Some(path) = paths.pop() {
        let Some(last) = path.last() else { continue };
        for next in edges(last) {
            let mut longer = path.clone();
            longer.push(next.clone());
            if next == start {
                return Some(longer);
            }
            if seen.insert(next) {
                paths.push(longer);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(name: &str) -> Vec<String> {
        let to: &[&str] = match name {
            "a" => &["b"],
            "b" => &["c", "d"],
            "c" => &["a"],
            "outside" => &["a"],
            "self" => &["self"],
            _ => &[],
        };
        to.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn finds_the_circle_and_only_for_its_members() {
        assert_eq!(dependency_cycle("a", edges).unwrap(), ["a", "b", "c", "a"]);
        assert_eq!(dependency_cycle("self", edges).unwrap(), ["self", "self"]);
        assert_eq!(dependency_cycle("outside", edges), None);
        assert_eq!(dependency_cycle("d", edges), None);
    }
}
