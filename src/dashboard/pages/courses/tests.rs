use super::*;
use crate::plan::{GuardSpec, guard};

fn guarded() -> Guard {
    let spec: GuardSpec = serde_json::from_str(
        r#"{"triggers": [{"name": "errors", "metric": {"templateRef": {"name": "a"}}, "interval": "30s", "levels": [
              {"severity": "Warning", "above": "1", "action": "Pause"},
              {"severity": "Critical", "above": "10", "action": "ImmediateRollback"}]}],
            "criteria": [{"name": "adoption", "metric": {"templateRef": {"name": "b"}}, "atLeast": "70"}]}"#,
    )
    .unwrap();
    guard(&spec, &[], &mut Vec::new())
}

fn series(
    kind: MeasuredKind,
    name: &str,
    cohort: Option<&str>,
    readings: &[(u32, Option<f64>)],
) -> MeasuredSeries {
    MeasuredSeries {
        kind,
        name: name.to_owned(),
        cohort: cohort.map(str::to_owned),
        unit: Some("%".to_owned()),
        interval_seconds: 30,
        at: readings.iter().map(|(at, _)| *at).collect(),
        said: readings
            .iter()
            .map(|(_, value)| value.map_or(Said::Missing(Missing::NoData), Said::Value))
            .collect(),
        message: None,
    }
}

fn at(second: i64) -> MicroTime {
    MicroTime::from_second(second).unwrap()
}

fn told(value: &Value) -> String {
    serde_json::to_string(value).unwrap()
}

#[test]
fn each_course_has_its_bounds_and_verdict_in_words_and_its_values_in_a_table() {
    let readings = [(0, Some(0.5)), (30, Some(2.0)), (60, None), (90, Some(12.5))];
    let measured = Measured {
        series: vec![
            series(MeasuredKind::Trigger, "errors", None, &readings),
            series(MeasuredKind::Criterion, "adoption", None, &[(60, Some(64.0))]),
            series(MeasuredKind::Trigger, "of-nobody", None, &readings),
        ],
    };
    let courses = courses(&guarded(), &measured, "UTC", at(100));
    assert_eq!(courses.len(), 2, "what nothing is known of is not drawn");
    let errors = told(&courses[0]);
    for words in [
        "Critical: above 10% → ImmediateRollback",
        "Warning: above 1% → Pause",
        "in breach, Critical",
        "12.5%",
        "4 readings, 1 of them without a value. Values from 0.5% to 12.5%.",
        "no data",
    ] {
        assert!(errors.contains(words), "{words}: {errors}");
    }
    let adoption = told(&courses[1]);
    assert!(
        adoption.contains("misses the target") && adoption.contains("target: at least 70%"),
        "{adoption}"
    );
}

#[test]
fn a_summary_is_a_sentence_whatever_was_read() {
    let said = |readings: &[(u32, Option<f64>)]| {
        summary(&[&series(MeasuredKind::Trigger, "errors", None, readings)], "%")
    };
    assert_eq!(said(&[(0, None)]), "1 reading, without a value.");
    assert_eq!(said(&[(0, None), (30, None)]), "2 readings, without a value.");
    assert_eq!(said(&[(0, Some(0.0)), (30, Some(0.0))]), "2 readings. Always 0%.");
    assert_eq!(
        said(&[(0, Some(2.438_322)), (30, None), (60, Some(11.187_339))]),
        "3 readings, 1 of them without a value. Values from 2.44% to 11.19%."
    );
}

#[test]
fn missing_data_and_time_in_which_nobody_measured_are_told_apart() {
    let readings =
        [(0, Some(1.0)), (30, None), (60, None), (90, Some(1.0)), (300, Some(1.0)), (330, Some(1.0))];
    let (points, gaps) = split(&series(MeasuredKind::Trigger, "errors", None, &readings), at(500));
    let told: Vec<(i64, i64, &str)> =
        gaps.iter().map(|gap| (gap.from.as_second(), gap.to.as_second(), gap.label.as_str())).collect();
    assert_eq!(told, [(15, 75, "no data"), (105, 285, "not measured"), (345, 500, "not measured")]);
    let lifted: Vec<i64> =
        points.iter().filter(|(_, value)| value.is_none()).map(|(at, _)| at.as_second()).collect();
    assert_eq!(lifted, [30, 60, 105]);
    // Where nothing is measured as often as it is meant, as on a clock that runs fast, that is no gap.
    let seldom: Vec<(u32, Option<f64>)> = (0..20).map(|i| (i * 3_000, Some(1.0))).collect();
    assert_eq!(split(&series(MeasuredKind::Trigger, "errors", None, &seldom), at(58_000)).1, []);
}

#[test]
fn whatever_the_unit_of_a_template_is_it_stays_text_in_the_picture() {
    let mut hostile =
        series(MeasuredKind::Trigger, "errors", Some("</title><script>"), &[(0, Some(1.0)), (30, None)]);
    hostile.unit = Some("<img src=x onerror=1>".to_owned());
    let other = MeasuredSeries { cohort: Some("\"><svg>".to_owned()), ..hostile.clone() };
    let courses = courses(&guarded(), &Measured { series: vec![hostile, other] }, "UTC", at(40));
    let picture = courses[0].get_attr("picture").unwrap().to_string();
    assert!(picture.contains("&lt;img src=x") && picture.contains("&lt;script&gt;"), "{picture}");
    assert!(!picture.contains("<img") && !picture.contains("<script"), "{picture}");
    assert_eq!(picture.matches("<svg").count(), 1, "{picture}");
}

#[test]
fn cohorts_are_told_apart_by_name_colour_and_line() {
    let measured = Measured {
        series: ["early", "rest"]
            .map(|cohort| {
                series(MeasuredKind::Trigger, "errors", Some(cohort), &[(0, Some(1.0)), (30, None)])
            })
            .to_vec(),
    };
    let drawn = told(&courses(&guarded(), &measured, "UTC", at(40))[0]);
    for words in
        ["curve c0 d0", "curve c1 d1", "no data of early", "no data of rest", "\"early\"", "\"rest\""]
    {
        assert!(drawn.contains(words), "{words}: {drawn}");
    }
}
