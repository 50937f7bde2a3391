use std::collections::BTreeSet;

use rstest::rstest;

use super::*;
use crate::api::featurerollout::VariantNames;
use crate::flags::fixtures::{everyone, feature, identity, member, segments, status};
use crate::flags::fragment::{at_control, fragment, unconfirmed};
use crate::flags::merge::{Candidate, Live, Living, Merge, Merged, SetInfo, merge};
use crate::flags::{File, Fragment, compose, evaluate, parse, self_check};

fn announced(key: &str) -> Feature {
    let announcement = Announcement {
        title: "Dreams is here".to_owned(),
        body: Some("Write down a dream.".to_owned()),
        link: Some("https://example.com/dreams".to_owned()),
        banner: true,
    };
    Feature { announcement: Some(announcement), ..feature(key) }
}

fn shown() -> Value {
    json!({
        "title": "Dreams is here", "body": "Write down a dream.",
        "link": "https://example.com/dreams", "banner": true,
    })
}

fn rendered(feature: &Feature, audience: &Audience, served: &[u32]) -> Fragment {
    let status = status(audience, served, 3);
    let fragment = fragment(feature, &identity("r", "u"), &status, audience);
    assert_eq!(self_check(feature, &status, audience, &fragment), Ok(()));
    fragment
}

fn file(fragments: impl IntoIterator<Item = Fragment>) -> File {
    let members = fragments.into_iter().map(|fragment| (fragment.key, fragment.body));
    File { members: members.collect(), ..File::default() }
}

fn keys(file: &File) -> Vec<String> {
    file.flags().into_keys().map(Cow::into_owned).collect()
}

/// The file as an app reads it: no flag of it is taken for Sluice's own, so that each stands for itself.
fn as_read(file: &File) -> File {
    let text = compose(file).replace("\"managedBy\":\"sluice.dev\"", "\"managedBy\":\"nobody\"");
    let read = parse(&text).unwrap();
    assert!(read.members.is_empty());
    read
}

#[rstest]
#[case::plain(VariantNames::Plain)]
#[case::with_cohort(VariantNames::WithCohort)]
fn exactly_those_who_have_the_feature_are_told_of_it(#[case] variant_names: VariantNames) {
    let names = ["early", "regular", "new"];
    let audience = segments(&names);
    for served in [
        [0, 0, 0],
        [1, 0, 0],
        [100_000, 500, 0],
        [50_000, 25_000, 12_500],
        [99_999, 100_000, 1],
        [100_000, 100_000, 100_000],
    ] {
        let feature = Feature { variant_names, bucket_by: "org.id".to_owned(), ..announced("dreams") };
        let others = (0..4).map(|n| rendered(&announced(&format!("other-{n}")), &audience, &served));
        let file = as_read(&file(others.chain([rendered(&feature, &audience, &served)])));
        let mut told = 0;
        for user in 0..400 {
            let segment = names.get(user % 4).copied().unwrap_or("nobody's");
            let org = if user % 7 == 0 { json!({}) } else { json!({"id": format!("org-{user}")}) };
            let context = json!({"targetingKey": format!("u{user}"), "segment": segment, "org": org});
            let context = context.as_object().unwrap();
            let feature = evaluate(&file, "dreams", context, None).unwrap();
            let announcement = evaluate(&file, "dreams.announcement", context, None).unwrap();
            let expected = if feature.value == json!(true) { shown() } else { json!({}) };
            assert_eq!(announcement.value, expected, "{served:?} {context:?}");
            assert_eq!((announcement.variant, announcement.reason), (feature.variant, feature.reason));
            told += usize::from(expected != json!({}));
        }
        assert_eq!(told > 0, served.iter().any(|served| *served > 1), "{served:?}");
        assert!(told < 400, "whoever is in no cohort is told nothing");
    }
}

#[test]
fn a_file_with_announcements_comes_back_as_it_went_and_counts_them() {
    let audience = segments(&["early", "regular"]);
    let mut file = file(["a", "b", "c"].map(|key| rendered(&announced(key), &audience, &[100_000, 500])));
    file.members.insert("plain".to_owned(), member("plain", "u", 1, 500).body);
    assert_eq!(keys(&file), ["a", "a.announcement", "b", "b.announcement", "c", "c.announcement", "plain"]);
    assert_eq!(file.len(), 7);
    assert_eq!(parse(&compose(&file)), Ok(file.clone()));
    let value: Value = serde_json::from_str(&compose(&file)).unwrap();
    assert_eq!(
        value["flags"]["a.announcement"]["metadata"],
        json!({"managedBy": "sluice.dev", "announces": "a", "rollout": "maya/r", "uid": "u", "revision": 3})
    );
    assert!(value["flags"]["a"].get("announcement").is_none());
}

#[test]
fn a_rollout_without_an_announcement_has_no_byte_more() {
    let with = compose(&file([rendered(&announced("a"), &everyone(), &[500])]));
    let without = compose(&file([rendered(&feature("a"), &everyone(), &[500])]));
    let lines = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.trim_end_matches(',').to_owned()).collect()
    };
    let rest: Vec<String> =
        lines(&with).into_iter().filter(|line| !line.contains("announcement\":")).collect();
    assert_eq!(rest, lines(&without));
    assert!(!without.contains("announce"));
}

#[test]
fn what_takes_the_feature_takes_its_announcement() {
    let audience = segments(&["early", "regular"]);
    let body = rendered(&announced("a"), &audience, &[100_000, 100_000]).body;
    let user = json!({"targetingKey": "u", "segment": "early"});
    let values = |body: Value| {
        let file = File { members: [("a".to_owned(), body)].into(), ..File::default() };
        let value = |key| evaluate(&as_read(&file), key, user.as_object().unwrap(), None).unwrap().value;
        (value("a"), value("a.announcement"))
    };
    assert_eq!(values(body.clone()), (json!(true), shown()));
    assert_eq!(values(at_control(&body).unwrap()), (json!(false), json!({})));
    assert_eq!(values(unconfirmed(&body).unwrap()), (json!(false), json!({})));
    let revisions = |body: &Value| {
        let told = announcement_of("a", body).unwrap();
        (body["metadata"]["revision"].clone(), told["metadata"]["revision"].clone())
    };
    assert_eq!(revisions(&at_control(&body).unwrap()), (json!(4), json!(4)), "it is one change of both");
    assert!(!unconfirmed(&body).unwrap().to_string().contains("Dreams"), "nobody vouches for the words");
}

fn merged(live: &Live, set: Option<&SetInfo>, candidates: &[Candidate], living: &[&Fragment]) -> Merged {
    let living: BTreeSet<Living> = living
        .iter()
        .map(|fragment| Living {
            name: fragment.rollout.clone(),
            uid: fragment.uid.clone(),
            key: fragment.key.clone(),
        })
        .collect();
    merge(&Merge { live, last_good: None, at_control: None, set, candidates, living: Some(&living) })
}

#[test]
fn an_announcement_is_orphaned_pruned_and_removed_with_its_feature() {
    let fragment = rendered(&announced("a"), &everyone(), &[500]);
    let first = merged(&Live::Missing, None, &[Candidate::Put(fragment.clone())], &[&fragment]);
    assert_eq!(keys(&first.file), ["a", "a.announcement"]);
    let live = Live::Trusted(parse(&first.text).unwrap());

    let kept = merged(&live, None, &[], &[]);
    let orphans: Vec<String> = kept.orphans.unwrap().into_iter().map(|orphan| orphan.key).collect();
    assert_eq!((orphans, kept.text), (vec!["a".to_owned()], first.text), "frozen as they are");
    let set = SetInfo { prune: ["a".to_owned()].into(), ..SetInfo::default() };
    assert_eq!(keys(&merged(&live, Some(&set), &[], &[]).file), [""; 0]);
    let remove = Candidate::Remove { key: "a".to_owned(), uid: "u".to_owned(), revision: 4 };
    assert_eq!(keys(&merged(&live, None, &[remove], &[&fragment]).file), [""; 0]);
    let unannounced = rendered(&feature("a"), &everyone(), &[500]);
    let next = merged(&live, None, &[Candidate::Put(unannounced.clone())], &[&unannounced]);
    assert_eq!(keys(&next.file), ["a"], "it goes when the rollout has none any more");
}

#[test]
fn an_announcement_takes_nobodys_key() {
    let fragment = rendered(&announced("a"), &everyone(), &[100_000]);
    let variants = json!({"a": 1, "b": 2});
    let flag = json!({"state": "ENABLED", "variants": variants, "defaultVariant": "a"});
    let statics = [("a.announcement".to_owned(), flag.clone())];
    let set = SetInfo { statics: statics.clone().into(), ..SetInfo::default() };
    let next = merged(&Live::Missing, Some(&set), &[Candidate::Put(fragment.clone())], &[&fragment]);
    assert_eq!(next.file.flag("a.announcement").unwrap().into_owned(), flag);
    assert_eq!((keys(&next.file).len(), next.file.len(), next.refused), (2, 2, vec![]));
    assert!(!next.text.contains("Dreams"));

    let other = member("a.announcement", "other", 1, 500);
    let both = [Candidate::Put(fragment.clone()), Candidate::Put(other.clone())];
    let next = merged(&Live::Missing, None, &both, &[&fragment, &other]);
    assert_eq!(next.file.flag("a.announcement").unwrap().into_owned(), other.body);
    assert!(!next.text.contains("Dreams"));
}

#[test]
fn what_an_edit_left_of_an_announcement_is_nobodys() {
    let text = compose(&file([rendered(&announced("a"), &everyone(), &[500])]));
    let without = |gone: &str| {
        let mut value: Value = serde_json::from_str(&text).unwrap();
        value["flags"].as_object_mut().unwrap().remove(gone);
        parse(&value.to_string()).unwrap()
    };
    assert_eq!(keys(&without("a")), [""; 0]);
    assert_eq!(keys(&without("a.announcement")), ["a"]);
    let moved = text.replace("\"a.announcement\":", "\"b\":");
    assert_eq!(keys(&parse(&moved).unwrap()), ["a"], "under another key it announces nothing");
}

#[rstest]
#[case("/announcement/disabled", json!({"title": "x"}))]
#[case("/announcement/enabled", json!({}))]
#[case("/announcement/enabled/title", json!("Other words"))]
#[case("/announcement", json!({"enabled": {}}))]
#[case("/announcement", json!(null))]
fn a_slip_in_an_announcement_is_caught(#[case] place: &str, #[case] slip: Value) {
    let (feature, audience) = (announced("a"), everyone());
    let mut fragment = rendered(&feature, &audience, &[500]);
    *fragment.body.pointer_mut(place).unwrap() = slip;
    assert!(self_check(&feature, &status(&audience, &[500], 3), &audience, &fragment).is_err());
}
