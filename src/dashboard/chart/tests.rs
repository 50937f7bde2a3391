use super::*;

fn t(text: &str) -> MicroTime {
    text.parse().unwrap()
}

fn picture() -> Picture {
    let percent = |whole| Percent::from_whole(whole).unwrap();
    Picture {
        series: vec![Series {
            name: "a".to_owned(),
            points: vec![
                (t("2025-09-01T00:00:00Z"), percent(0)),
                (t("2025-09-03T00:00:00Z"), percent(50)),
                (t("2025-09-07T00:00:00Z"), percent(100)),
            ],
        }],
        bands: vec![Band {
            from: t("2025-09-05T00:00:00Z"),
            to: t("2025-09-06T00:00:00Z"),
            name: Some("<script>alert(1)</script>".to_owned()),
        }],
        events: vec![Event {
            at: t("2025-09-03T00:00:00Z"),
            mark: Mark::Rollback,
            text: "\"><img src=x onerror=alert(1)>".to_owned(),
        }],
        now: t("2025-09-05T00:00:00Z"),
        from: t("2025-09-01T00:00:00Z"),
        to: t("2025-09-09T00:00:00Z"),
        zone: TimeZone::UTC,
        title: "a & b".to_owned(),
        id: "one".to_owned(),
    }
}

#[test]
fn what_was_and_what_comes_are_two_lines_that_meet_now() {
    let drawn = svg(&picture(), WIDE);
    // 906 units for eight days from 44 on; 226 units for 100 % from 26 down.
    assert!(drawn.contains(r#"class="s0 was" d="M44 252H270.5V139H497""#), "{drawn}");
    assert!(drawn.contains(r#"class="s0 will" d="M497 139H723.5V26H950""#), "{drawn}");
}

#[test]
fn whatever_people_wrote_is_text() {
    for size in [WIDE, NARROW] {
        let drawn = svg(&picture(), size);
        assert!(!drawn.contains("<script") && !drawn.contains("<img"), "{drawn}");
        assert!(drawn.contains("&lt;script&gt;alert(1)") && drawn.contains("a &amp; b"));
        assert!(!drawn.contains("style="), "the policy of the content allows none");
    }
}
