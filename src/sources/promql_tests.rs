use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::sources::args::{Value, value};

fn values(list: &[(&str, ArgType, &str)]) -> Values {
    list.iter().map(|(name, type_, text)| ((*name).to_owned(), value(*type_, text).unwrap())).collect()
}

fn with(query: &str, list: &[(&str, ArgType, &str)]) -> Result<String, String> {
    finish(query, &values(list), Some(("namespace", "maya")))
}

#[rstest]
#[case("up", r#"up{namespace="maya"}"#)]
#[case("up{}", r#"up{namespace="maya"}"#)]
#[case("{job='x'}", r#"{job="x",namespace="maya"}"#)]
#[case("rate(up[5m])", r#"rate(up{namespace="maya"}[5m])"#)]
#[case("up offset 5m @ 7", r#"up{namespace="maya"} @ 7.000 offset 5m"#)]
#[case("max_over_time(rate(up[5m])[1h:1m])", r#"max_over_time(rate(up{namespace="maya"}[5m])[1h:1m])"#)]
#[case("a / on (x) group_left (y) b", r#"a{namespace="maya"} / on (x) group_left (y) b{namespace="maya"}"#)]
#[case(
    "a and b or c unless d",
    r#"a{namespace="maya"} and b{namespace="maya"} or c{namespace="maya"} unless d{namespace="maya"}"#
)]
#[case("sum by (x) (a)", r#"sum by (x) (a{namespace="maya"})"#)]
#[case("sum(a) by ()", r#"sum(a{namespace="maya"})"#)]
#[case("topk(scalar(a), b)", r#"topk(scalar(a{namespace="maya"}), b{namespace="maya"})"#)]
#[case("quantile(scalar(max(a)), -b)", r#"quantile(scalar(max(a{namespace="maya"})), -b{namespace="maya"})"#)]
#[case("absent(a{x='1'})", r#"absent(a{namespace="maya",x="1"})"#)]
#[case(
    "label_replace(a, 'x', '$1', 'y', '(.*)')",
    r#"label_replace(a{namespace="maya"}, "x", "$1", "y", "(.*)")"#
)]
#[case("vector(scalar(a) > bool 2)", r#"vector(scalar(a{namespace="maya"}) > bool 2)"#)]
#[case(r#"up{namespace="maya"}"#, r#"up{namespace="maya"}"#)]
#[case(r#"up{namespace=~".*"}"#, r#"up{namespace="maya",namespace=~".*"}"#)]
#[case(r#"up{namespace="other"}"#, r#"up{namespace="maya",namespace="other"}"#)]
#[case(r#"{"a.b", x="1"}"#, r#"{__name__="a.b",namespace="maya",x="1"}"#)]
#[case("sum(a) # {x}", r#"sum(a{namespace="maya"})"#)]
#[case("1 + 2", "1 + 2")]
#[case(
    r"sum(rate(hits_total{route=~`/v\d+/.*`}[5m]))",
    r#"sum(rate(hits_total{namespace="maya",route=~"/v\\d+/.*"}[5m]))"#
)]
#[case(
    r"sum(rate(hits_total{host=~`api\.example\.com`}[5m]))",
    r#"sum(rate(hits_total{host=~"api\\.example\\.com",namespace="maya"}[5m]))"#
)]
#[case(r"a{path=`C:\new`}", r#"a{namespace="maya",path="C:\\new"}"#)]
#[case(r#"a{ua=~`.*"bot".*`}"#, r#"a{namespace="maya",ua=~".*\"bot\".*"}"#)]
#[case(
    r"label_replace(up, 'a', '$1', 'b', `(\w+)-.*`)",
    r#"label_replace(up{namespace="maya"}, "a", "$1", "b", "(\\w+)-.*")"#
)]
#[case("sum(hits_total) / 1_000", r#"sum(hits_total{namespace="maya"}) / 1000"#)]
#[case("holt_winters(lat[1h], 0.5, 0.5)", r#"holt_winters(lat{namespace="maya"}[1h], 0.5, 0.5)"#)]
#[case(
    "double_exponential_smoothing(lat[1h], 0.5, 0.5)",
    r#"double_exponential_smoothing(lat{namespace="maya"}[1h], 0.5, 0.5)"#
)]
fn the_matcher_is_forced_on_every_selector(#[case] query: &str, #[case] expected: &str) {
    assert_eq!(with(query, &[]).unwrap(), expected);
}

#[rstest]
#[case("up{a=\"b\" or c=\"d\"}", "alternatives")]
#[case("info(up, {x=\"y\"})", "info")]
#[case("rate(up)", "expected type")]
#[case("holt_winters(a[1h], 0.5, 0.5) + double_exponential_smoothing(a[1h], 0.5, 0.5)", "both names")]
#[case("up[5m]", "number or an instant vector")]
#[case("\"text\"", "number or an instant vector")]
#[case("up{", "")]
#[case("", "")]
#[case("nothing_like_this(up)", "")]
#[case("up{x=\"{{missing}}\"}", "there is no such argument")]
#[case("up{x=\"{{s\"}", "{{ has no }}")]
#[case("up{x=\"{{s s}}\"}", "name of an argument")]
#[case("{{s}}", "may stand only")]
#[case("up{{{s}}=\"x\"}", "name of an argument")]
#[case("up{x={{s}}}", "may stand only")]
#[case("sum by ({{s}}) (up)", "may stand only")]
#[case("label_replace(up, '{{s}}', '$1', 'y', 'z')", "may stand only")]
#[case("up{'{{s}}'='x'}", "may stand only")]
#[case("up{{i}}", "may stand only")]
#[case("rate(up[{{i}}x])", "")]
fn what_is_refused(#[case] query: &str, #[case] says: &str) {
    let args = [("s", ArgType::String, "text"), ("i", ArgType::Integer, "5")];
    let error = with(query, &args).unwrap_err();
    assert!(error.contains(says), "{error}");
}

#[rstest]
#[case("up{x=\"{{s}}\"}", r#"up{namespace="maya",x="a\"b.c"}"#)]
#[case("up{x='pre-{{ s }}-post'}", r#"up{namespace="maya",x="pre-a\"b.c-post"}"#)]
#[case("up{x!=`{{s}}{{s}}`}", r#"up{namespace="maya",x!="a\"b.ca\"b.c"}"#)]
#[case(r"up{x=~`{{s}}\.example`}", r#"up{namespace="maya",x=~"a\"b\\.c\\.example"}"#)]
#[case("up{x=~\"{{s}}.*|{{i}}\"}", r#"up{namespace="maya",x=~"a\"b\\.c.*|\\-5"}"#)]
#[case("up{x!~\"{{s}}\"}", r#"up{namespace="maya",x!~"a\"b\\.c"}"#)]
#[case("topk({{i}}, up) > {{d}}", r#"topk((-5), up{namespace="maya"}) > 0.95"#)]
#[case("rate(up[{{t}}] offset {{t}})", r#"rate(up{namespace="maya"}[1h30m] offset 1h30m)"#)]
#[case("{'{{s}}'}", r#"{__name__="a\"b.c",namespace="maya"}"#)]
#[case(
    "histogram_quantile({{d}}, sum by (le) (rate(took_bucket{s='{{s}}'}[{{t}}]))) * 1000",
    r#"histogram_quantile(0.95, sum by (le) (rate(took_bucket{namespace="maya",s="a\"b.c"}[1h30m]))) * 1000"#
)]
#[case("up - {{i}}", r#"up{namespace="maya"} - (-5)"#)]
#[case("up # \"\n > {{d}}", r#"up{namespace="maya"} > 0.95"#)]
fn where_arguments_may_stand(#[case] query: &str, #[case] expected: &str) {
    let args = [
        ("s", ArgType::String, "a\"b.c"),
        ("i", ArgType::Integer, "-5"),
        ("d", ArgType::Decimal, "0.95"),
        ("t", ArgType::Duration, "90m"),
    ];
    assert_eq!(with(query, &args).unwrap(), expected);
}

#[test]
fn a_deep_query_is_refused_and_the_deepest_allowed_one_is_finished() {
    let deep = |n: usize| format!("{}up{}", "(".repeat(n), ")".repeat(n));
    assert!(with(&deep(nesting::HEAVIEST), &[]).unwrap_err().contains("more than"));
    assert!(with(&deep(nesting::HEAVIEST - 1), &[]).is_ok());
    let chain = |n: usize| vec!["a"; n].join(" or ");
    assert!(with(&chain(4000), &[]).unwrap_err().contains("more than"));
    assert!(with(&chain(nesting::HEAVIEST / 2), &[]).is_ok());
    assert!(with(&format!("{}1", "-".repeat(4000)), &[]).unwrap_err().contains("more than"));
    let nested = |n: usize| format!("{}up{}", "abs(".repeat(n), ")".repeat(n));
    assert!(with(&nested(nesting::HEAVIEST / 2 - 1), &[]).is_ok());
}

/// A finished query with its strings and numbers left out.
fn shape(query: &str) -> String {
    let mut out = String::new();
    let mut chars = query.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                while let Some(c) = chars.next().filter(|c| *c != '"') {
                    if c == '\\' {
                        chars.next();
                    }
                }
                out.push('S');
            }
            '0'..='9' => out.push('0'),
            _ => out.push(c),
        }
    }
    while out.contains("00") {
        out = out.replace("00", "0");
    }
    out
}

const TEMPLATE: &str = r#"
    100 * sum by (cohort) (rate(errors{service="{{s}}", path=~"/{{s}}/.*", other!~'x{{s}}'}[{{t}}]))
    / sum by (cohort) (rate(requests{service=`{{s}}`}[{{t}}])) > {{n}}
"#;

/// Texts that mean something to PromQL, to Go's strings and to regular expressions.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\""),
        Just("'"),
        Just("`"),
        Just("\\"),
        Just("}"),
        Just("{"),
        Just("{{s}}"),
        Just("}}"),
        Just("\"} or secret{a=\""),
        Just(","),
        Just(".*"),
        Just("|"),
        Just("["),
        Just("]"),
        Just("(?i)"),
        Just("$1"),
        Just("#"),
        Just("argument"),
        Just("argument_s_argument"),
        Just("\\x41"),
        Just("\u{2028}"),
        Just("\u{202e}"),
        Just("é"),
        Just("\\é"),
        Just("a"),
    ];
    prop_oneof![proptest::collection::vec(piece, 1..12).prop_map(|pieces| pieces.concat()), "\\PC{1,40}",]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_changes_what_is_asked(text in text(), seconds in 1_i64..100_000, number in 0_i64..1_000_000) {
        let args = |text: &str, duration: &str, number: &str| values(&[
            ("s", ArgType::String, text), ("t", ArgType::Duration, duration), ("n", ArgType::Integer, number),
        ]);
        let duration = crate::api::Duration::from_secs(300).to_string();
        let plain = finish(TEMPLATE, &args("x", &duration, "1"), Some(("namespace", "maya"))).unwrap();
        let finished = finish(TEMPLATE, &args(&text, &duration, &number.to_string()), Some(("namespace", "maya"))).unwrap();
        prop_assert_eq!(shape(&plain), shape(&finished), "{}", finished);
        let other = finish(TEMPLATE, &args(&text, &format!("{seconds}s"), "1"), Some(("namespace", "maya")));
        prop_assert!(other.is_ok());

        // What each matcher matches is the text and nothing else.
        let tree = parse(&finished).unwrap();
        let Expr::Binary(comparison) = &tree else { panic!("{tree}") };
        let Expr::Binary(division) = &*comparison.lhs else { panic!("{tree}") };
        let Expr::Aggregate(sum) = &*division.rhs else { panic!("{tree}") };
        let Expr::Call(rate) = &*sum.expr else { panic!("{tree}") };
        let Expr::MatrixSelector(requests) = &*rate.args.args[0] else { panic!("{tree}") };
        prop_assert_eq!(&requests.vs.matchers.find_matchers("service")[0].value, &text);
        let Expr::Binary(product) = &*division.lhs else { panic!("{tree}") };
        let Expr::Aggregate(sum) = &*product.rhs else { panic!("{tree}") };
        let Expr::Call(rate) = &*sum.expr else { panic!("{tree}") };
        let Expr::MatrixSelector(errors) = &*rate.args.args[0] else { panic!("{tree}") };
        let path = &errors.vs.matchers.find_matchers("path")[0];
        let whole = format!("/{}/any", text);
        prop_assert!(path.is_match(&whole), "{path} {whole}");
        prop_assert!(!path.is_match("/other-than-that/any") || text == "other-than-that");
        for selector in [&requests.vs, &errors.vs] {
            prop_assert_eq!(&selector.matchers.find_matchers("namespace")[0].value, "maya");
        }
    }

    #[test]
    fn no_query_panics(query in "[a-z{}()\\[\\]\"'`\\\\=~!,.:0-9@ x\u{e9}-]{0,60}") {
        let _ = with(&query, &[]);
        let _ = with(&format!("up{{x=\"{query}\"}}"), &[]);
        let _ = with(&format!("rate(up[{query}])"), &[]);
        let _ = with(&format!("up offset {query}"), &[]);
    }
}

#[rstest]
#[case(ArgType::Integer, "1 or up")]
#[case(ArgType::Integer, "")]
#[case(ArgType::Integer, "--1")]
#[case(ArgType::Integer, "1e9")]
#[case(ArgType::Integer, "1234567890123456")]
#[case(ArgType::Decimal, "1.")]
#[case(ArgType::Decimal, ".5")]
#[case(ArgType::Decimal, "0x1F")]
#[case(ArgType::Decimal, "NaN")]
#[case(ArgType::Duration, "1d")]
#[case(ArgType::Duration, "5m] or up[5m")]
#[case(ArgType::String, "")]
#[case(ArgType::String, "a\nb")]
#[case(ArgType::String, "a\0b")]
fn arguments_are_what_their_type_says(#[case] type_: ArgType, #[case] text: &str) {
    assert!(value(type_, text).is_err());
}

#[test]
fn the_longest_text_is_256_characters_whatever_they_are() {
    assert!(value(ArgType::String, &"é".repeat(256)).is_ok());
    assert!(value(ArgType::String, &"é".repeat(257)).is_err());
    assert_eq!(
        value(ArgType::Duration, "90m").unwrap(),
        Value { type_: ArgType::Duration, text: "1h30m".to_owned() }
    );
}

#[rstest]
#[case(r#"up{x=~"\\w{1000}"}"#)]
#[case(r#"up{x=~"(\\w{100}){100}"}"#)]
#[case(r#"up{x!~`(a{2,100}){4}{4}{4}{100}`}"#)]
#[case("up{x=~ # why\n `a{100}{100}{100}`}")]
#[case("up{x=~ # why\r `a{100}{100}{100}`}")]
#[case("up{x='~',y=~'\\x61{100}{100}{100}'}")]
#[case(r#"up{x=~"a{bbb}\x61{100}{100}{100}"}"#)]
fn a_regular_expression_that_takes_long_to_read_is_refused_unread(#[case] query: &str) {
    assert!(with(query, &[]).unwrap_err().contains("too large"));
}

#[test]
fn regular_expressions_share_their_room_and_other_texts_are_none() {
    let many = format!("up{{{}}}", vec![r#"x=~"\\w{50}""#; 100].join(","));
    assert!(with(&many, &[]).unwrap_err().contains("too large"));
    assert!(with(r#"up{x=~"[a-z]{2,63}-\\d{3}|\\w+|/api/v{1}/.*"}"#, &[]).is_ok());
    assert!(with(r#"up{x="a{100}{100}{100}", y!="((("}"#, &[]).is_ok(), "they are not compiled");
    let literal = [("s", ArgType::String, r"\w\w\w\w{1000}{1000}")];
    assert!(with("up{x=~'{{s}}'}", &literal).is_ok(), "an argument is no expression");
}

/// A query of ten lines that does not parse was "invalid promql query", and nothing more.
#[rstest]
#[case("sum(\n  rate(x[5m]\n)\n/ sum(y)", "line 1, column 4, at \"(\": unclosed left parenthesis")]
#[case("sum(x)\n/ sum by (a)\n", "line 2, column 13: the query ends too early: ")]
#[case("sum(rate(x[5m]))\n  / * sum(y)", "line 2, column 5, at \"*\": ")]
#[case("sum(x{a=\"b\"} == == y)", "line 1, column 17, at \"==\": ")]
#[case("sum(x))", "line 1, column 7, at \")\": ")]
#[case("x{a=\"b", "line 1, column 5, at ")]
#[case("sum(\n  x{a=\"{{service}}\"} // y\n)", "line 2, column 23, at \"/\": ")]
#[case("# first\n100 * (x / ) + y", "line 2, column 12, at \")\": ")]
fn what_does_not_parse_has_its_place(#[case] query: &str, #[case] begin: &str) {
    let error = with(query, &[("service", ArgType::String, "a-service-of-a-long-name")]).unwrap_err();
    assert!(error.starts_with(begin), "{query}: {error}");
}
