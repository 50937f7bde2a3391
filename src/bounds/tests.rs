//! Every reader of what tenants write, and everything that nests. A stack that runs over ends the whole program of tests.
//!
//! To look longer: `PROPTEST_CASES=100000 cargo test --lib no_random_text`.

use std::collections::BTreeMap;
use std::thread;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::api::{Decimal, Duration, FeatureRollout, MicroTime, Percent};
use crate::cli::files::yaml;
use crate::flags::fixtures::alone;
use crate::flags::{self, SetInfo, Verdict};
use crate::{plan, sources};

/// A quarter of what a thread of the controller has.
const STACK: usize = 512 << 10;

type Reader = fn(&str);

/// Every reader of text.
const READERS: [(&str, Reader); 15] = [
    ("promql", |text| template(&json!({"promql": text}))),
    ("sampleCount of promql", |text| template(&json!({"promql": "up", "sampleCount": text}))),
    ("regular expression", |text| {
        template(&json!({"promql": format!("up{{x=~`{}`}}", text.replace('`', ""))}))
    }),
    ("quoted in promql", |text| template(&json!({"promql": format!("up{{x={text:?}, y!~{text:?}}}")}))),
    ("jsonPath", |text| template(&json!({"jsonPath": text}))),
    ("sampleCount of jsonPath", |text| template(&json!({"jsonPath": "$", "sampleCount": text}))),
    ("filter of jsonPath", |text| template(&json!({"jsonPath": format!("$[?{text}]")}))),
    ("parameters", |text| template(&json!({"jsonPath": "$", "parameters": {"a": text}}))),
    ("condition", condition),
    ("flag", |text| json_text(text, flag)),
    ("targeting", |text| json_text(text, |value| flag(with_targeting(value)))),
    ("variant", |text| json_text(text, variant)),
    ("file", |text| drop(flags::parse(text))),
    ("yaml", |text| drop(yaml::documents(text))),
    ("words", words),
];

fn template(spec: &Value) {
    let mut spec = spec.clone();
    spec["sourceRef"] = json!({"name": "s"});
    let _ = sources::check(&serde_json::from_value(spec).unwrap());
}

fn condition(text: &str) {
    for operator in ["In", "Gt", "SemVer", "StartsWith"] {
        let expression = json!({"key": text, "operator": operator, "values": [text]});
        let matches = serde_json::from_value(json!({"expressions": [expression]})).unwrap();
        plan::matching::check_match("match", &matches, &mut Vec::new());
    }
}

fn words(text: &str) {
    let _ = (
        text.parse::<Duration>(),
        text.parse::<Percent>(),
        text.parse::<Decimal>(),
        text.parse::<MicroTime>(),
    );
    let _ = plan::calendar::zone(text);
}

fn json_text(text: &str, read: impl Fn(Value)) {
    if let Ok(value) = serde_json::from_str(text) {
        read(value);
    }
}

fn with_targeting(targeting: Value) -> Value {
    json!({"state": "ENABLED", "variants": {"a": true, "b": false}, "defaultVariant": "a", "targeting": targeting})
}

/// The whole way of a flag of a FlagSet: what is admitted is written, read back and evaluated.
fn flag(body: Value) {
    let statics = BTreeMap::from([("f".to_owned(), body)]);
    let set = SetInfo { statics, ..SetInfo::default() };
    let merged = alone(&set);
    let file = flags::parse(&merged.text).unwrap();
    assert_eq!(file.statics.len() + merged.refused.len(), 1);
    if !file.is_empty() {
        let _ = flags::evaluate(&file, "f", &Map::new(), None);
    }
    let _ = Verdict::of(&BTreeMap::new(), &set.statics);
}

fn variant(value: Value) {
    let spec = json!({
        "feature": {"variants": [{"name": "enabled", "value": value}, {"name": "disabled", "value": {}}]},
        "cohorts": [{"name": "all"}], "phases": [],
    });
    let _ = plan::feature_alone(&FeatureRollout::new("r", serde_json::from_value(spec).unwrap()));
}

/// What opens a level, what closes it, and what may stand innermost.
const NESTS: [(&str, &str, &str); 40] = [
    ("#\r(", ")", "up"),
    ("(", ")", "up"),
    ("(", "", ""),
    ("[", "]", "1"),
    ("[", "", ""),
    ("{", "}", "a"),
    ("{", "", ""),
    ("-", "", "1"),
    ("- ", "", "1"),
    ("+", "", "1"),
    ("!", "", "@.a"),
    ("!(", ")", "@.a"),
    ("! (", " )", "@.a"),
    ("-(", ")", "1"),
    ("(-", ")", "up"),
    ("abs(", ")", "up"),
    ("sum(", ")", "up"),
    ("sum by (a) (", ")", "up"),
    ("count(", ")", "@.a"),
    ("length(value(", "))", "@.a"),
    ("value($[?", "])", "@.a"),
    ("max_over_time(", "[5m:1m])", "up"),
    ("", "[5m:1m]", "up"),
    ("", " offset 5m", "up"),
    ("2^", "", "2"),
    ("a or ", "", "a"),
    ("a + on (b) ", "", "a"),
    ("@.a && ", "", "@.a"),
    ("(@.a || ", ")", "@.a"),
    ("[?@", "]", ".a"),
    ("[?(", ")]", "@.a"),
    ("$[?", "]", "@.a"),
    ("['a']", "", ""),
    ("(?:", ")", "a"),
    ("(?i)(", "){2}", "a"),
    ("[a&&", "]", "b"),
    ("{\"a\":", "}", "1"),
    ("{\"!\":[", "]}", "true"),
    ("? ", "", "a"),
    ("{{", "}}", "a"),
];

/// If it overflows, the thread's name is all that is said.
fn on_a_small_stack(name: &str, work: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(work).unwrap();
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn no_text_of_a_tenant_takes_the_stack() {
    for (name, reader) in READERS {
        for (open, close, core) in NESTS {
            on_a_small_stack(&format!("{name}: {open}{core}{close}"), move || {
                for levels in [16, 63, 199, 398, 20_000] {
                    reader(&format!("{}{core}{}", open.repeat(levels), close.repeat(levels)));
                }
            });
        }
    }
}

/// Values as deep as the API server's answers can be, and as deep as a FlagSet may have them.
#[test]
fn no_value_of_a_tenant_takes_the_stack() {
    on_a_small_stack("values", || {
        let nests: [fn(Value) -> Value; 7] = [
            |below| json!([below]),
            |below| json!({"!": below}),
            |below| json!({"!!": [below]}),
            |below| json!({"if": [true, below, {"and": [true, false]}]}),
            |below| json!({"fractional": [{"cat": ["a", below]}, ["a", 1], ["b", 1]]}),
            |below| json!({"fractional": [[below, 50], ["b", 50]]}),
            |below| json!({"in": [{"var": "a"}, ["b", below]]}),
        ];
        for nest in nests {
            for leaf in [json!(true), json!({"nope": 1}), json!({})] {
                for levels in [5, 10, 12, 18, 19, 20, 38, 39, 40, 41, 60] {
                    let value = (0..levels).fold(leaf.clone(), |below, _| nest(below));
                    flag(with_targeting(value.clone()));
                    flag(json!({"state": "ENABLED", "variants": {"a": {"a": value}}, "defaultVariant": "a"}));
                    variant(value);
                }
            }
        }
    });
}

/// A variant that fits by itself made a file that could not be read back.
#[test]
fn the_deepest_variant_is_read_back_out_of_its_file() {
    let nested = |levels| (0..levels).fold(json!(1), |below, _| json!({"a": below}));
    let rollout = |levels| {
        let spec = json!({
            "feature": {"variants": [{"name": "enabled", "value": nested(levels)}, {"name": "disabled", "value": {}}]},
            "cohorts": [{"name": "all"}], "phases": [],
        });
        FeatureRollout::new("r", serde_json::from_value(spec).unwrap())
    };
    let deepest = super::VALUE.depth;
    assert!(plan::feature_alone(&rollout(deepest)).is_some());
    assert!(plan::feature_alone(&rollout(deepest + 1)).is_none());
}

proptest! {
    #[test]
    fn no_random_text_takes_the_stack(
        picks in proptest::collection::vec((0..NESTS.len(), 0..3_usize), 1..200),
        times in 1..20_usize,
    ) {
        let piece = |(nest, part): &(usize, usize)| {
            let (open, close, core) = NESTS[*nest];
            [open, close, core][*part]
        };
        let text = picks.iter().map(piece).collect::<String>().repeat(times);
        for (name, reader) in READERS {
            let text = text.clone();
            on_a_small_stack(name, move || reader(&text));
        }
    }
}
