//! How large a status can become.

use super::*;

/// As many and as long names as the schema takes, and hundreds of rollouts.
#[test]
fn a_status_is_no_larger_than_16_kib_however_much_there_is_to_tell() {
    let long = |i: usize| format!("{}{i:03}", "x".repeat(37));
    let phases: Vec<String> = (0..16)
        .map(|i| format!("{{name: p{i:02}{}, weeks: {{from: 1, to: 520}}, requires: [{{rollout: {{name: none, condition: Completed}}}}]}}", "x".repeat(60)))
        .collect();
    let milestones: Vec<String> = (0..32)
        .map(|i| {
            format!("{{name: m{i:02}{}, week: 1, when: {{phase: p00{}}}}}", "x".repeat(60), "x".repeat(60))
        })
        .collect();
    let criteria: Vec<String> = (0..32)
        .map(|i| {
            format!(
                "{{name: {}, metric: {{templateRef: {{name: m}}}}, above: '123456789012345.123456789'}}",
                long(i)
            )
        })
        .collect();
    let book = book(&format!(
        "{{startDate: '2025-09-08', phases: [{}], milestones: [{}], criteria: [{}]}}",
        phases.join(","),
        milestones.join(","),
        criteria.join(",")
    ));
    let why = "é".repeat(500);
    let answer =
        |i| Answer { name: long(i), at: t("2025-09-08T00:00:00Z"), reading: Reading::NoData(why.clone()) };
    let criteria = verdicts(&book, &[], &(0..32).map(answer).collect::<Vec<_>>());
    let phase = format!("p00{}", "x".repeat(60));
    let rollouts: Vec<Seen> = (0..500)
        .map(|i| {
            let mut seen = rollout(&format!("r{i:03}{}", "x".repeat(200)), &phase, completed());
            let criterion = seen.criteria[0].clone();
            seen.criteria = (0..16).map(|i| Measured { name: long(i), ..criterion.clone() }).collect();
            seen.held = Some(("Gates".to_owned(), "ü".repeat(512)));
            seen
        })
        .collect();
    let world = Rollouts::new("maya", rollouts, Vec::new());
    let status =
        standing(&book, &world, &PlaybookStatus::default(), criteria, t("2026-09-08T00:00:00Z")).status;
    let size = serde_json::to_vec(&status).unwrap().len();
    assert!(size <= 16 * 1024, "{size}");
    let told = status.success.len() + usize::try_from(status.success_omitted).unwrap();
    // The phase of the rollouts is finished.
    assert_eq!((told, status.blocked_count), (500, 515));
}
