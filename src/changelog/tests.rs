use rstest::rstest;
use serde_json::{Value, json};

use super::*;

fn at(text: &str) -> MicroTime {
    text.parse().unwrap()
}

fn day(day: u32) -> MicroTime {
    at(&format!("2026-03-{day:02}T09:00:00Z"))
}

fn told(name: &str, standing: Standing) -> Told {
    let announcement = Announcement { title: format!("{name} is here"), ..Announcement::default() };
    Told { id: urn(name, 1), rollout: name.to_owned(), flag: name.to_owned(), announcement, standing }
}

fn titles(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.title.as_str()).collect()
}

fn heading() -> Heading {
    Heading {
        id: "urn:uuid:9e1c3a70-0000-4000-8000-000000000000".to_owned(),
        title: "Changelog of maya".to_owned(),
        author: "maya".to_owned(),
        link: Some("https://example.com/?a=1&b=2".to_owned()),
        since: day(1),
    }
}

/// What is written and read again.
fn stored(entries: &[Entry]) -> Vec<Entry> {
    let [_, json, _] = texts(&heading(), entries);
    read(&json, usize::MAX)
}

#[test]
fn what_is_completed_gets_one_entry_the_newest_first_however_often_it_is_told() {
    let [a, b] = [("a", 3), ("b", 5)].map(|(name, on)| told(name, Standing::Completed(day(on))));
    let first = grow(Vec::new(), &[a.clone(), told("c", Standing::UnderWay)], day(3), 50);
    assert_eq!(titles(&first), ["a is here"]);
    let second = grow(stored(&first), &[b.clone(), a.clone()], day(5), 50);
    assert_eq!(titles(&second), ["b is here", "a is here"]);
    assert_eq!(grow(stored(&second), &[a.clone(), b.clone()], day(9), 50), second, "nothing is said twice");
    assert_eq!(grow(stored(&second), &[], day(9), 50), second, "those that are gone keep theirs");
    assert_eq!(grow(Vec::new(), &[a.clone(), b], day(9), 50), second, "what is lost is told again");
    assert_eq!(titles(&grow(second, &[a], day(9), 1)), ["b is here"], "the oldest goes");
}

#[test]
fn an_entry_follows_its_words_and_says_when() {
    let before = told("a", Standing::Completed(day(3)));
    let mut after = before.clone();
    after.announcement.body = Some("For everybody.".to_owned());
    let first = grow(Vec::new(), std::slice::from_ref(&before), day(3), 50);
    let second = grow(first, &[after], day(7), 50);
    assert_eq!(second[0].body.as_deref(), Some("For everybody."));
    assert_eq!((second[0].published_at, second[0].updated_at), (day(3), day(7)));
    assert_eq!(second[0].id, before.id);
}

#[test]
fn what_a_rollback_took_from_everybody_stays_and_says_so_until_it_is_completed_again() {
    let entry = |standing| told("a", standing);
    let never = grow(Vec::new(), &[entry(Standing::TakenBack(day(2)))], day(2), 50);
    assert_eq!(never, vec![], "nobody was ever told of it");
    let first = grow(never, &[entry(Standing::Completed(day(3)))], day(3), 50);
    let taken = grow(first, &[entry(Standing::TakenBack(day(4)))], day(5), 50);
    assert_eq!((taken[0].withdrawn_at, taken[0].updated_at), (Some(day(4)), day(5)));
    let [markdown, _, atom] = texts(&heading(), &taken);
    for text in [markdown, atom] {
        assert!(text.contains("Taken back on 2026-03-04."), "{text}");
    }
    let retried = grow(stored(&taken), &[entry(Standing::UnderWay)], day(6), 50);
    assert_eq!(retried, taken, "a retry under way brings nothing back");
    let again = grow(retried, &[entry(Standing::Completed(day(8)))], day(8), 50);
    assert_eq!((again.len(), again[0].withdrawn_at, again[0].published_at), (1, None, day(3)));
    let mut next = entry(Standing::Completed(day(9)));
    next.id = urn("a", 2);
    next.announcement.title = "a is back".to_owned();
    assert_eq!(titles(&grow(again, &[next], day(9), 50)), ["a is back", "a is here"], "another attempt");
    let same = Told { id: urn("a", 2), ..entry(Standing::Completed(day(9))) };
    let back = grow(taken, &[same], day(9), 50);
    assert_eq!(
        (titles(&back), back[0].withdrawn_at),
        (vec!["a is here"], None),
        "in the same words it is back"
    );
}

#[test]
fn an_entry_that_somebody_has_copied_is_there_once() {
    let entries = grow(Vec::new(), &[told("a", Standing::Completed(day(3)))], day(3), 50);
    let copied = json!({"entries": [entries[0], {"publishedAt": "2026-03-09T09:00:00Z"}, entries[0]]});
    assert_eq!(read(&copied.to_string(), usize::MAX), entries);
}

#[test]
fn a_rollout_that_was_restored_says_nothing_new() {
    let before = told("a", Standing::Completed(day(3)));
    let first = grow(Vec::new(), std::slice::from_ref(&before), day(3), 50);
    let restored = Told { id: urn("another uid", 1), standing: Standing::Completed(day(6)), ..before };
    assert_eq!(grow(first.clone(), &[restored], day(6), 50), first);
}

#[test]
fn a_rollout_tells_what_its_users_see() {
    let rollout = |announcement: Value, status: Value| {
        let mut full = json!({"uid": "u", "attempt": 2, "cohorts": [{"name": "all", "served": 0, "decided": 0, "asked": 0}]});
        full.as_object_mut().unwrap().extend(status.as_object().unwrap().clone());
        let value = json!({
            "apiVersion": "sluice.dev/v1alpha1", "kind": "FeatureRollout",
            "metadata": {"name": "a", "namespace": "maya", "uid": "u"},
            "spec": {"cohorts": [{"name": "all"}], "phases": [], "announcement": announcement},
            "status": full,
        });
        Told::of(&serde_json::from_value(value).unwrap())
    };
    let words = json!({"title": "a"});
    let rollback = json!({"mode": "Immediate", "at": "2026-03-04T09:00:00Z", "by": "p", "message": "m", "cohorts": ["all"]});
    let standing = |status| rollout(words.clone(), status).map(|told| (told.id, told.standing));
    let id = urn("u", 2);
    assert_eq!(standing(json!({})), Some((id.clone(), Standing::UnderWay)));
    let completed = json!({"completedAt": "2026-03-03T09:00:00Z"});
    assert_eq!(standing(completed.clone()), Some((id.clone(), Standing::Completed(day(3)))));
    assert_eq!(standing(json!({"rollback": rollback})), Some((id.clone(), Standing::TakenBack(day(4)))));
    let partly = json!([{"name": "all", "served": "50%", "decided": "50%", "asked": 0}]);
    let ladder = json!({"rollback": rollback, "cohorts": partly});
    assert_eq!(standing(ladder), Some((id, Standing::UnderWay)), "some have it still");
    assert_eq!(standing(json!({"uid": "of a backup"})), None);
    assert_eq!(rollout(json!(null), completed.clone()), None);
    assert_eq!(rollout(json!({"title": "a\nb"}), completed), None, "what cannot be shown is not");
}

const HOSTILE: [&str; 8] = [
    "<script>alert(1)</script> ]]> &amp; & \"'",
    "# heading\n- item\n1. one\n===\n---\n> quote",
    "[x](javascript:y) ![i](z) `code` **b** _i_ ~s~ |t|",
    "@channel @everyone",
    "\u{1b}[2J\u{0} \u{202e}txet\u{200b}",
    "\u{fffe}\u{ffff}",
    "</content></entry></feed>",
    "*/ {{ x }} $(y) %s \\",
];

#[test]
fn no_words_break_out_of_any_of_the_texts() {
    let entries: Vec<Entry> = HOSTILE
        .iter()
        .map(|words| {
            let mut told = told("a", Standing::Completed(day(3)));
            told.announcement.title = words.to_string().replace('\n', " ");
            told.announcement.body = Some((*words).to_owned());
            told.entry(day(3))
        })
        .collect();
    let [markdown, json, atom] = texts(&heading(), &entries);
    let said: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(said["entries"].as_array().unwrap().len(), HOSTILE.len());
    for (i, words) in HOSTILE.iter().enumerate() {
        assert_eq!(said["entries"][i]["body"], *words, "programs get them as they were written");
    }
    let tags = |name: &str| atom.matches(&format!("<{name}")).count();
    assert_eq!((tags("entry>"), tags("content "), tags("feed "), tags("script")), (8, 8, 1, 0), "{atom}");
    assert_eq!(atom.matches("</feed>").count(), 1);
    assert!(!atom.contains("]]>"), "{atom}");
    for text in [&markdown, &json, &atom] {
        assert!(!text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{text:?}");
    }
    assert!(!atom.contains(['\u{fffe}', '\u{ffff}']));
    for called in [
        "@channel",
        "@everyone",
        "<script",
        "[x](",
        "![i](",
        "\n- item",
        "\n1. one",
        "\n===",
        "\n---",
        "\n# heading",
    ] {
        assert!(!markdown.contains(called), "{called} in {markdown}");
    }
    assert_eq!(markdown.lines().filter(|line| line.starts_with('#')).count(), 1 + HOSTILE.len());
}

#[test]
fn a_feed_has_what_rfc_4287_asks_for() {
    let mut told = told("dreams", Standing::Completed(day(3)));
    told.announcement.body = Some("Write down a dream.\n\nIt is yours.".to_owned());
    told.announcement.link = Some("https://example.com/?x=1&y=2".to_owned());
    let entries = grow(Vec::new(), &[told], day(3), 50);
    let [markdown, json, atom] = texts(&heading(), &entries);
    assert_eq!(
        atom,
        format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>
<feed xmlns=\"http://www.w3.org/2005/Atom\">
<id>urn:uuid:9e1c3a70-0000-4000-8000-000000000000</id>
<title>Changelog of maya</title>
<updated>2026-03-03T09:00:00Z</updated>
<author><name>maya</name></author>
<generator>Sluice</generator>
<link rel=\"alternate\" href=\"https://example.com/?a=1&amp;b=2\"/>
<entry>
<id>{0}</id>
<title>dreams is here</title>
<published>2026-03-03T09:00:00Z</published>
<updated>2026-03-03T09:00:00Z</updated>
<link rel=\"alternate\" href=\"https://example.com/?x=1&amp;y=2\"/>
<content type=\"text\">Write down a dream.\n\nIt is yours.</content>
</entry>
</feed>
",
            entries[0].id
        )
    );
    assert_eq!(
        markdown,
        "# Changelog of maya\n\n## 2026-03-03: dreams is here\n\nWrite down a dream.\n\nIt is yours.\n
[Read more](<https://example.com/?x=1&y=2>)\n"
    );
    assert_eq!(read(&json, usize::MAX), entries);
    let [markdown, json, atom] = texts(&heading(), &[]);
    assert!(atom.contains("<updated>2026-03-01T09:00:00Z</updated>") && atom.ends_with("</feed>\n"));
    assert!(markdown.ends_with("\nNothing yet.\n"));
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["entries"], json!([]));
}

#[test]
fn the_texts_are_bounded_and_the_oldest_gives_way() {
    let entries: Vec<Entry> = (0..200)
        .map(|i| {
            let mut told = told(&format!("r{i:03}"), Standing::Completed(day(3)));
            told.announcement.body = Some("\u{1b}".repeat(2000));
            told.entry(day(3))
        })
        .collect();
    let texts = texts(&heading(), &entries);
    assert!(texts.iter().map(String::len).sum::<usize>() < 600 * 1024);
    let kept = read(&texts[1], usize::MAX);
    assert!(kept.len() > 5 && kept.len() < 200 && kept == entries[..kept.len()], "{}", kept.len());
    let heads = texts[0].lines().filter(|line| line.starts_with("## ")).count();
    assert_eq!((heads, texts[2].matches("<entry>").count()), (kept.len(), kept.len()));
}

#[rstest]
#[case::no_json("{")]
#[case::another_shape("[1, 2]")]
#[case::entries_of_another_shape("{\"entries\": [1, {\"id\": 2}]}")]
#[case::a_link_that_runs(
    "{\"entries\": [{\"id\": \"urn:uuid:9e1c3a70-0000-4000-8000-000000000000\", \"rollout\": \"a\", \"flag\": \"a\", \"title\": \"a\", \"link\": \"javascript:x\", \"publishedAt\": \"2026-03-03T09:00:00Z\", \"updatedAt\": \"2026-03-03T09:00:00Z\"}]}"
)]
#[case::an_id_that_is_none(
    "{\"entries\": [{\"id\": \"urn:uuid:<x>c3a70-0000-4000-8000-000000000000\", \"rollout\": \"a\", \"flag\": \"a\", \"title\": \"a\", \"publishedAt\": \"2026-03-03T09:00:00Z\", \"updatedAt\": \"2026-03-03T09:00:00Z\"}]}"
)]
fn what_somebody_wrote_there_that_is_no_entry_is_passed_over(#[case] text: &str) {
    assert_eq!(read(text, usize::MAX), vec![]);
}

#[test]
fn what_is_nested_deep_beside_entries_keeps_none_of_them_from_being_read_and_no_more_are_than_asked_for() {
    let entries: Vec<Entry> =
        (0..5).map(|i| told(&format!("r{i}"), Standing::Completed(day(3))).entry(day(3))).collect();
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let written: Vec<String> = entries.iter().map(|entry| serde_json::to_string(entry).unwrap()).collect();
    let json =
        format!("{{\"x\": {deep}, \"entries\": [{deep}, {}, {{\"id\": {deep}}}]}}", written.join(", "));
    assert_eq!(read(&json, usize::MAX), entries);
    assert_eq!(read(&json, 2), entries[..2]);
}
