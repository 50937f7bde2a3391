use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

#[test]
fn versions_are_ordered_as_semantic_versioning_says() {
    let ordered = [
        "0.0.0-0",
        "0.0.0",
        "1.0.0-0",
        "1.0.0-2",
        "1.0.0-10",
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0.0-beta",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
        "1.0.0-rc.1",
        "1.0.0",
        "1.0.1-0",
        "1.0.1",
        "1.2.0",
        "1.10.0",
        "2.0.0",
    ];
    for pair in ordered.windows(2) {
        assert!(version(pair[0]) < version(pair[1]), "{pair:?}");
    }
}

#[rstest]
#[case("5.3.0", "5.3.0")]
#[case("v5.3.0", "5.3.0")]
#[case("5.3", "5.3.0")]
#[case("v5", "5.0.0")]
#[case("5.3.0+124", "5.3.0")]
#[case("5.3.0-rc.1+build-7.x", "5.3.0-rc.1")]
#[case("2147483647.0.0", "2147483647.0.0")]
fn what_is_a_version(#[case] text: &str, #[case] plain: &str) {
    assert_eq!(version(text), version(plain));
    assert_eq!(version(text).to_string(), plain);
}

#[rstest]
fn what_is_no_version(
    #[values(
        "",
        "v",
        "vv5.3.0",
        "V5.3.0",
        " 5.3.0",
        "5.3.0 ",
        "5.3.0\n",
        "05.3.0",
        "5.03",
        "5.",
        ".5",
        "5..3",
        "5.3.0.1",
        "5.3-rc.1",
        "5+1",
        "5.3.0-",
        "5.3.0+",
        "5.3.0-01",
        "5.3.0-rc..1",
        "5.3.0-é",
        "5.3.0-a_b",
        "-5.3.0",
        "5.x",
        "2147483648.0.0",
        "5.3.0+1+2",
        "1e3.0.0"
    )]
    text: &str,
) {
    assert_eq!(text.parse::<Version>(), Err(NoVersion));
}

#[rstest]
#[case(">= 5.2.0 < 6", &["5.2.0", "5.9", "6.0.0-rc.1"], &["5.1.9", "6.0.0", "5.2.0-rc.1"])]
#[case(">=5.2.0   <6.0.0", &["5.2.0"], &["6"])]
#[case("~ 17.4", &["17.4", "17.4.9", "17.4.0-rc.1"], &["17.5", "16.4"])]
#[case("^ v2.1.0", &["2.0.0", "2.99", "2.0.0-rc.1"], &["3.0.0-rc.1", "1.9.9"])]
#[case("!= 5.3", &["5.3.1", "5.3.0-rc.1"], &["5.3.0", "v5.3.0+7"])]
#[case("> 5.3.0", &["5.3.1-0"], &["5.3.0+1"])]
fn comparisons_accept(#[case] text: &str, #[case] accepted: &[&str], #[case] refused: &[&str]) {
    let comparisons = comparisons(text).unwrap();
    let passes = |text: &&str| comparisons.iter().all(|comparison| comparison.accepts(&version(text)));
    assert!(accepted.iter().all(passes), "{accepted:?}");
    assert!(!refused.iter().any(passes), "{refused:?}");
}

#[rstest]
fn what_is_no_comparison(
    #[values(
        "",
        "5.3.0",
        "== 5.3.0",
        ">= 5.x",
        ">=",
        ">= 5.2.0, < 6.0.0",
        ">= 5.2.0 6.0.0",
        "> = 5.2.0",
        "in 5"
    )]
    text: &str,
) {
    assert!(comparisons(text).unwrap_err().contains("no comparison of versions"));
}

fn any_version() -> impl Strategy<Value = Version> {
    let identifier =
        prop_oneof![(0u64..3).prop_map(Identifier::Number), "[a-b-]{1,2}".prop_map(Identifier::Word)];
    ([0u64..3, 0u64..3, 0u64..3], prop::collection::vec(identifier, 0..3))
        .prop_map(|(core, pre_release)| Version { core, pre_release })
}

proptest! {
    #[test]
    fn a_version_reads_back(version in any_version()) {
        prop_assert_eq!(version.to_string().parse(), Ok(version));
    }

    #[test]
    fn nothing_lies_between_a_version_and_the_next(a in any_version(), b in any_version()) {
        prop_assert!(a < a.next());
        prop_assert_eq!(b > a, b >= a.next());
    }

    #[test]
    fn major_and_minor_numbers_are_intervals(a in any_version(), b in any_version()) {
        let accepts = |operator| Comparison { operator, version: a.clone() }.accepts(&b);
        let within = |low: Version, high: Version| low <= b && b < high;
        let major = within(a.lowest_of_major(), a.lowest_of_next_major());
        let minor = within(a.lowest_of_minor(), a.lowest_of_next_minor());
        prop_assert_eq!(accepts(VersionOperator::SameMajor), major);
        prop_assert_eq!(accepts(VersionOperator::SameMinor), minor);
    }
}
