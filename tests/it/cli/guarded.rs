//! The example that `docs/rollouts.md` goes through: what the page shows is what the files say, and does what the page says.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::sluice;

/// The objects of a text with several, by kind and name.
fn objects(yaml: &str) -> BTreeMap<(String, String), Value> {
    let documents = yaml.split("\n---\n").map(|text| serde_saphyr::from_str::<Value>(text).unwrap());
    let named = |object: Value| {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        ((text(&object["kind"]), text(&object["metadata"]["name"])), object)
    };
    documents.map(named).collect()
}

#[test]
fn the_page_shows_what_the_files_say() {
    let page = std::fs::read_to_string("docs/rollouts.md").unwrap();
    let files = ["10-metrics", "20-guardrails", "30-rollouts"];
    let files = files.map(|file| std::fs::read_to_string(format!("examples/guarded/{file}.yaml")).unwrap());
    let files: BTreeMap<_, _> = files.iter().flat_map(|text| objects(text)).collect();
    let shown: BTreeMap<_, _> = page
        .split("```yaml\n")
        .skip(1)
        .flat_map(|block| objects(block.split("```").next().unwrap()))
        .collect();
    assert_eq!(shown.len(), 4, "{:?}", shown.keys());
    for (name, object) in shown {
        assert_eq!(files.get(&name), Some(&object), "{name:?}");
    }
    let samples = std::fs::read_to_string("examples/guarded/day-three.jsonl").unwrap();
    assert!(page.contains(&format!("$ cat examples/guarded/day-three.jsonl\n{samples}$ sluice simulate")));
}

/// Nobody loses anything by the schedule, and what the page asks for is so: windows, and the approval at the end.
#[test]
fn the_plan_lowers_nobody_and_keeps_to_the_windows() {
    let ran = sluice(&["plan", "examples/guarded", "--now", "2026-12-14T08:00:00Z"]);
    assert_eq!((ran.code, ran.out.contains('▼')), (0, false), "{}{}", ran.out, ran.err);
    let steps: Vec<&str> = ran.out.lines().filter(|line| line.contains(" Step ")).collect();
    assert!(steps.len() > 10 && steps.iter().all(|line| line.contains(" 10:00 CET")), "{}", ran.out);
    assert!(
        steps.iter().all(|line| !line.starts_with("2026-12-2") && !line.starts_with("2027-01-0[123]")),
        "{}",
        ran.out
    );
    assert_eq!(
        steps.iter().filter(|line| line.contains("◆ full/all needs an approval")).count(),
        3,
        "{}",
        ran.out
    );
}

#[test]
fn twelve_per_cent_of_errors_take_it_back_where_they_are() {
    let samples = "examples/guarded/day-three.jsonl";
    let args =
        ["simulate", "examples/guarded", "--now", "2026-03-02T08:00:00Z", "--samples", samples, "-o", "json"];
    let ran = sluice(&args).json();
    let rollouts = ran["rollouts"].as_array().unwrap();
    let pay = rollouts.iter().find(|rollout| rollout["name"] == json!("quick-pay")).unwrap();
    let last = pay["entries"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["at"], &last["cause"], &last["cohorts"]),
        (
            &json!("2026-03-05T09:05:00Z"),
            &json!("Trigger"),
            &json!({"staff": "100%", "premium-de": "0%", "everyone": "0%"})
        )
    );
}
