//! Documents as kubectl reads them.

use super::*;
use rstest::rstest;
use serde_json::json;

// Worked out from the resolver of go-yaml v2, which kubectl reads with.
#[rstest]
#[case("on", json!(true))]
#[case("No", json!(false))]
#[case("n", json!(false))]
#[case("oN", json!("oN"))]
#[case("\"on\"", json!("on"))]
#[case("!!str on", json!("on"))]
#[case("~", json!(null))]
#[case("75", json!(75))]
#[case("75.0", json!(75))]
#[case("0.5", json!(0.5))]
#[case("010", json!(8))]
#[case("0x1F", json!(31))]
#[case("1_000", json!(1000))]
#[case("-5", json!(-5))]
#[case("09:00", json!("09:00"))]
#[case("0.5%", json!("0.5%"))]
#[case("2025-09-08T09:00:00Z", json!("2025-09-08T09:00:00Z"))]
#[case("168h", json!("168h"))]
#[case("1e3", json!(1000))]
#[case("e", json!("e"))]
#[case("-", json!([null]))]
fn reads_scalars_as_kubectl_does(#[case] text: &str, #[case] value: Value) {
    let documents = documents(&format!("a: {}", if text == "-" { "[~]" } else { text }));
    assert_eq!(documents[0].value, json!({ "a": value }));
}

#[test]
fn remembers_lines_across_documents_and_reads_on_after_a_broken_one() {
    let text = "# one\na:\n  - b: 1\n    c: 2\n---\n}\n--- # three\nd: [1,\n 2]\n";
    let documents = documents(text);
    assert_eq!(documents.len(), 3);
    assert_eq!(documents[0].lines["a"], 2);
    assert_eq!(documents[0].lines["a[0]"], 3);
    assert_eq!(documents[0].lines["a[0].c"], 4);
    assert_eq!(documents[1].problems[0].0, 6);
    assert_eq!(documents[2].lines["d"], 8);
    assert_eq!(documents[2].lines["d[1]"], 9);
}

#[test]
fn notes_bare_words_and_keys_that_stand_twice() {
    let documents = documents("name: on\nflag: true\nname: x\noff: 1\n");
    assert_eq!(documents[0].bare, [("name".to_owned(), "on".to_owned())].into());
    let problems: Vec<_> =
        documents[0].problems.iter().map(|(line, path, _)| (*line, path.as_str())).collect();
    assert_eq!(problems, [(3, "name"), (4, "off")]);
}

#[test]
fn merges_and_refuses_a_bomb() {
    let merged = documents("base: &b {x: 1, z: 2}\nmore: {<<: *b, x: 3}\n");
    assert_eq!(merged[0].value["more"], json!({"x": 3, "z": 2}));
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..9 {
        bomb.push_str(&format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(", ")));
    }
    assert!(!documents(&bomb)[0].problems.is_empty());
}

// kubectl reads JSON values one after the other, with or without anything between them.
#[rstest]
#[case::lines("{\"a\": 1}\n{\"a\": 2}\n", &[(1, 1), (2, 2)])]
#[case::nothing_between("{\"a\":1}{\"a\":2}", &[(1, 1), (1, 2)])]
#[case::pretty("{\n \"a\": 1\n}\n\n{\n \"a\": 2\n}\n", &[(2, 1), (6, 2)])]
#[case::among_yaml("a: 1\n---\n{\"a\": 2} {\"a\": 3}\n---\na: 4\n", &[(1, 1), (3, 2), (3, 3), (5, 4)])]
#[case::flow_yaml("{a: 1}\n", &[(1, 1)])]
fn concatenated_json_is_several_documents(#[case] text: &str, #[case] expected: &[(usize, i64)]) {
    let found: Vec<_> =
        documents(text).iter().map(|d| (d.lines["a"], d.value["a"].as_i64().unwrap())).collect();
    assert_eq!(found, expected);
}

#[test]
fn json_has_escapes_that_yaml_has_not() {
    let documents = documents("\n{\"a\": \"\\ud83d\\ude00 \\/\"}");
    assert_eq!(documents[0].value, json!({"a": "😀 /"}));
    assert_eq!(documents[0].problems, vec![]);
}
