use jiff::tz::TimeZone;

use super::*;
use crate::chart::timeline::Mark;

fn t(day: u32) -> MicroTime {
    format!("2025-09-{day:02}T00:00:00Z").parse().unwrap()
}

fn bar(from: u32, to: Option<u32>, percent: u32) -> Bar {
    let share = Percent::from_whole(percent).unwrap();
    Bar {
        from: t(from),
        to: to.map(t),
        fill: Fill::Share(share),
        label: share.to_string(),
        tip: String::new(),
    }
}

fn stretch(from: u32, to: u32, label: &str) -> Stretch {
    Stretch { from: t(from), to: t(to), label: label.to_owned() }
}

fn example() -> Timeline {
    let mark = |day, kind| Mark { at: t(day), kind, tip: String::new() };
    Timeline {
        title: "Plan".to_owned(),
        subtitle: String::new(),
        // Two columns a day.
        axis: TimeAxis::new(t(1), t(29), TimeZone::UTC),
        weeks_from: Some(t(1)),
        now: None,
        groups: vec![Group {
            label: "shop/search".to_owned(),
            phases: vec![stretch(2, 12, "beta"), stretch(12, 26, "ga")],
            freezes: vec![stretch(20, 22, "move")],
            lanes: vec![Lane {
                label: "all".to_owned(),
                bars: vec![
                    bar(2, Some(7), 5),
                    bar(7, Some(12), 50),
                    bar(12, Some(23), 25),
                    bar(23, None, 100),
                ],
            }],
            marks: vec![
                mark(12, MarkKind::Lowered),
                mark(23, MarkKind::Approval),
                mark(26, MarkKind::Completed),
                mark(20, MarkKind::Waited(t(22))),
            ],
            ..Group::default()
        }],
    }
}

#[test]
fn a_bar_shows_its_percentages_and_what_happens_below() {
    let text = text(&example(), 70, false);
    let expected = "             │1 Sep        │8 Sep        │15 Sep       │22 Sep       │29 Sep";
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with(expected.get(..50).unwrap_or_default()), "{text}");
    assert_eq!(lines[1], "             │week 1       │week 2       │week 3       │week 4");
    assert_eq!(lines[2], "shop/search    5%░░░░░░░░50%▒▒▒▒▒▒▒25%░░░░░░░░░░░░░░░░░░░100%████████");
    assert_eq!(lines[3], "               beta                ▼ ga            ~~~~× ◆     ✓");
    assert_eq!(
        lines[5],
        "░ to 25%  ▒ to 50%  ▓ below 100%  █ 100%  ~ waits for a window or a freeze  ✓ completed  ◆ needs an approval  ▼ lowers  × freeze"
    );
    assert_eq!(lines.len(), 6, "{text}");
}

#[test]
fn every_line_fits_and_nothing_hidden_gets_through() {
    let mut timeline = example();
    timeline.groups[0].label = "evil\u{1b}[2J\n".to_owned();
    timeline.groups[0].phases[0].label = "x\u{202e}y".to_owned();
    for columns in [0, 60, 80, 120, 500] {
        let text = text(&timeline, columns, false);
        let most = columns.clamp(NARROWEST, WIDEST);
        for row in text.lines().take(4) {
            assert!(row.chars().count() <= most, "{columns}: {row}");
        }
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
    }
}

#[test]
fn colours_are_only_what_is_added() {
    let timeline = example();
    let mut plain = text(&timeline, 90, true);
    for look in [Look::Faint, Look::Accent, Look::Strong, Look::Good, Look::Bad, Look::Warn, Look::Gate] {
        plain = plain.replace(look.escape(), "");
    }
    assert_eq!(plain.replace("\u{1b}[0m", ""), text(&timeline, 90, false));
}
