//! What users are told of a feature, as the commands that need no cluster see it.

use rstest::rstest;
use serde_json::{Value, json};

use super::{sluice, sluice_with};

fn evaluate(at: &str, flag: &str, segment: &str) -> Value {
    let context = json!({"targetingKey": "u1", "segment": segment}).to_string();
    sluice(&["evaluate", "-f", "examples/playbook", "--at", at, "--flag", flag, "--context", &context]).json()
}

/// In-app banners for major feature changes, and public release notes.
#[test]
fn the_major_features_are_announced_to_those_who_have_them() {
    // Early adopters have Dreams from week 3 on and everybody from week 5 on.
    for (at, segment, told) in [
        ("2025-09-22T15:00:00Z", "A", false),
        ("2025-09-22T17:00:00Z", "A", true),
        ("2025-09-22T17:00:00Z", "C", false),
        ("2025-10-06T17:00:00Z", "C", true),
    ] {
        let banner = evaluate(at, "dreams.announcement", segment);
        let feature = evaluate(at, "dreams", segment);
        assert_eq!(feature["value"], told, "{at} {segment}");
        assert_eq!(banner["value"]["banner"] == true, told, "{at} {segment}: {banner}");
        assert_eq!((&banner["cohort"], &banner["variant"]), (&feature["cohort"], &feature["variant"]));
    }
    for (feature, segment) in
        [("dreams", "A"), ("whispers", "A"), ("voice.english", "C"), ("admin.panel", "C")]
    {
        let banner = evaluate("2025-12-01T00:00:00Z", &format!("{feature}.announcement"), segment);
        let words = |field: &str| banner["value"][field].as_str().is_some_and(|words| !words.is_empty());
        assert!(words("title") && words("body"), "{banner}");
    }
    let flag_set = std::fs::read_to_string("examples/playbook/20-flagset.yaml").unwrap();
    assert!(flag_set.contains("changelog: {configMap: maya-changelog"), "{flag_set}");
}

const SET: &str = "apiVersion: sluice.dev/v1alpha1\nkind: FlagSet\nmetadata: {name: app}\nspec: ";

fn rollout(name: &str, more: &str) -> String {
    format!(
        "---\napiVersion: sluice.dev/v1alpha1\nkind: FeatureRollout\nmetadata: {{name: {name}}}
spec:\n  flagSetRef: {{name: app}}\n  cohorts: [{{name: all}}]\n  phases: [{{name: ga, ramp: {{percents: [100]}}}}]\n{more}"
    )
}

#[rstest]
#[case::texts(
    "{}\n",
    "  announcement: {title: \"a\\nb\", link: 'javascript:x'}\n",
    &["error: spec.announcement.link: ", "error: spec.announcement.title: "]
)]
#[case::no_title("{}\n", "  announcement: {body: x}\n", &["error: spec.announcement.title: is missing"])]
#[case::the_key_of_a_static_flag(
    "{flags: {a.announcement: {state: ENABLED, variants: {a: 1}, defaultVariant: a}}}\n",
    "  announcement: {title: a}\n",
    &["error: spec.announcement: its flag \"a.announcement\" is a static flag of FlagSet app already"]
)]
#[case::the_key_of_another_rollout(
    "{}\n",
    "  announcement: {title: a}\n---\napiVersion: sluice.dev/v1alpha1\nkind: FeatureRollout\nmetadata: {name: a.announcement}\nspec: {flagSetRef: {name: app}, cohorts: [{name: all}], phases: [{name: ga, ramp: {percents: [100]}}]}\n",
    &["error: spec.announcement: its flag \"a.announcement\" is the flag of rollout a.announcement already"]
)]
#[case::a_changelog_without_words("{changelog: {configMap: news}}\n", "", &["warning: spec.changelog: no rollout of the set"])]
#[case::a_changelog_over_the_flags(
    "{changelog: {configMap: app}}\n",
    "  announcement: {title: a}\n",
    &["error: spec.changelog.configMap: ConfigMap app is written by"]
)]
#[case::a_changelog_among_the_outputs(
    "{outputs: [{configMap: news}], changelog: {configMap: news, title: ''}}\n",
    "  announcement: {title: a}\n",
    &["error: spec.changelog", "error: spec.changelog.title: "]
)]
fn what_cannot_be_told_is_said_before_it_is_committed(
    #[case] set: &str,
    #[case] words: &str,
    #[case] expected: &[&str],
) {
    let ran = sluice_with(&["lint", "-f", "-"], &format!("{SET}{set}{}", rollout("a", words)));
    for expected in expected {
        assert!(ran.out.contains(expected), "{expected} in:\n{}", ran.out);
    }
    assert_eq!(ran.code, i32::from(expected[0].starts_with("error")), "{}", ran.out);
}

#[test]
fn what_is_told_rightly_has_no_problem_and_is_rendered() {
    let files = format!(
        "{SET}{{changelog: {{configMap: news}}}}\n{}",
        rollout("a", "  announcement: {title: a is here, link: 'https://example.com/?a=1'}\n")
    );
    let ran = sluice_with(&["lint", "-f", "-"], &files);
    assert_eq!((ran.code, ran.out.lines().count()), (0, 1), "{}", ran.out);
    let file = sluice_with(&["render", "-f", "-"], &files).json();
    let told = &file["flags"]["a.announcement"];
    assert_eq!(told["variants"]["enabled"]["title"], "a is here");
    assert_eq!(told["targeting"], file["flags"]["a"]["targeting"]);
}
