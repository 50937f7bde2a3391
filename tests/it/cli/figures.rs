//! The real plan, copied by hand, line by line: each of its figures, tasks, milestones and risks is in the example, or the page says
//! that it is not.

use serde_json::Value;
use sluice::cli::files::Input;

use super::sluice;

/// The files of the example, as one text each.
fn example() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir("examples/playbook").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            files.push((name, std::fs::read_to_string(path).unwrap()));
        }
    }
    files.sort();
    files
}

/// The objects of a kind in the example.
fn objects(kind: &str) -> Vec<Value> {
    let mut input = Input::default();
    for (name, text) in example() {
        input.add(&name, &text);
    }
    input.objects.into_iter().map(|object| object.value).filter(|value| value["kind"] == kind).collect()
}

fn playbook() -> Value {
    objects("Playbook").remove(0)["spec"].clone()
}

fn page() -> String {
    std::fs::read_to_string("docs/playbook.md").unwrap()
}

/// Where a figure is.
enum At {
    /// Written like this in a file of the example.
    File(&'static str, &'static str),
    /// Written like this somewhere in the example.
    Example(&'static str),
    /// Told of in a row of the page that says "not covered".
    NotCovered(&'static str),
}

use At::{Example, File, NotCovered};

const COHORTS: &str = "10-cohorts.yaml";
const BOOK: &str = "15-playbook.yaml";
const DREAMS: &str = "30-dreams.yaml";
const WHISPERS: &str = "40-whispers.yaml";
const VOICE: &str = "50-voice.yaml";
const ADMIN: &str = "60-admin.yaml";

/// Every figure of the plan, in its order, in the plan's words.
const FIGURES: &[(&str, At)] = &[
    ("Generated: 2025-08-23", NotCovered("2025-08-23")),
    ("Phase 1: Foundation (Weeks 1-2)", File(BOOK, "weeks: {from: 1, to: 2}")),
    ("Phase 2: User Experience (Weeks 3-4)", File(BOOK, "weeks: {from: 3, to: 4}")),
    (
        "Dreams, Week 3: all beta users",
        File(DREAMS, "week: 3, cohorts: {internal: 100, early-adopters: 100}"),
    ),
    ("Dreams, Week 4: 50% GA", File(DREAMS, "week: 4, cohorts: {regular: 50, casual: 50, new: 50}")),
    ("Dreams, Week 5: 100% GA", File(DREAMS, "week: 5, cohorts: {regular: 100, casual: 100, new: 100}")),
    ("Whispers, Week 3: internal testing", File(WHISPERS, "week: 3, cohorts: {internal: 100}")),
    ("Whispers, Week 4: 25% beta", File(WHISPERS, "week: 4, cohorts: {early-adopters: 25}")),
    ("Whispers, Week 5: 75% beta", File(WHISPERS, "week: 5, cohorts: {early-adopters: 75}")),
    ("Whispers, Week 6: 100% beta", File(WHISPERS, "week: 6, cohorts: {early-adopters: 100}")),
    ("Phase 3: Advanced Features (Weeks 5-8)", File(BOOK, "weeks: {from: 5, to: 8}")),
    (
        "Voice, Week 5: English (100%)",
        File(
            VOICE,
            "week: 5, cohorts: {internal: 100, early-adopters: 100, regular: 100, casual: 100, new: 100}",
        ),
    ),
    (
        "Voice, Week 6: ambient (beta only)",
        File(VOICE, "week: 6, cohorts: {internal: 100, early-adopters: 100}"),
    ),
    (
        "Voice, Week 7: Spanish (10%)",
        File(VOICE, "week: 7, cohorts: {internal: 10, early-adopters: 10, regular: 10, casual: 10, new: 10}"),
    ),
    (
        "Voice, Week 8: multilingual (50%)",
        File(VOICE, "week: 8, cohorts: {internal: 50, early-adopters: 50, regular: 50, casual: 50, new: 50}"),
    ),
    ("Admin, Week 5: role system", File(ADMIN, "week: 5, cohorts: {internal: 100}")),
    ("Admin, Week 6: real-time testing", File(ADMIN, "week: 6, cohorts: {internal: 100}")),
    ("Admin, Week 7: mobile beta", File(ADMIN, "week: 7, cohorts: {internal: 100, early-adopters: 100}")),
    (
        "Admin, Week 8: full GA",
        File(
            ADMIN,
            "week: 8, cohorts: {internal: 100, early-adopters: 100, regular: 100, casual: 100, new: 100}",
        ),
    ),
    ("Phase 4: Scale & Analytics (Weeks 9-12)", File(BOOK, "weeks: {from: 9, to: 12}")),
    ("Segment A (10%)", File(COHORTS, "share: 10,")),
    ("Segment B (60%)", File(COHORTS, "share: 60,")),
    ("Segment B: 1-week delay", File(COHORTS, "delay: 168h")),
    ("Segment C (25%)", File(COHORTS, "share: 25,")),
    ("Segment C: 2-week delay", File(COHORTS, "delay: 336h")),
    ("Segment D (5%)", File(COHORTS, "share: 5,")),
    ("Segment D: first 30 days", File(COHORTS, "First 30 days")),
    (
        "dreams.advanced: A 100, B 75, C 0, D 0",
        File(DREAMS, "cohorts: {early-adopters: 100, regular: 75, casual: 0, new: 0}"),
    ),
    (
        "whispers.voiceCapture: A 100, B 25, C 0, D 0",
        File(WHISPERS, "cohorts: {early-adopters: 100, regular: 25, casual: 0, new: 0}"),
    ),
    ("Emergency rollback within 5 minutes", NotCovered("within 5 minutes")),
    ("Gradual increase: 5% → 10% → 25% → 50% → 100%", File(DREAMS, "percents: [5, 10, 25, 50, 100]")),
    ("p50: 200 (50th percentile)", Example("above: \"200\"")),
    ("p50 (50th percentile)", Example("quantile: \"0.5\"")),
    ("p95: 800 (95th percentile)", Example("above: \"800\"")),
    ("p95 (95th percentile)", Example("quantile: \"0.95\"")),
    ("p99: 2000 (99th percentile)", Example("above: \"2000\"")),
    ("p99 (99th percentile)", Example("quantile: \"0.99\"")),
    ("error rate warning: 1.0", Example("severity: Warning, above: \"1\"")),
    ("error rate critical: 5.0", Example("severity: Critical, above: \"5\"")),
    ("first interaction within 24 hours", Example("atMost: \"24\"")),
    ("TTV under 10 minutes", Example("below: \"10\"")),
    ("7-day retention", Example("seven_day_retention")),
    ("retention above 60%", Example("above: \"60\"")),
    ("2+ features within 30 days", Example("two_features_within_30_days")),
    ("2+ features above 40%", File(BOOK, "above: \"40\"")),
    ("tickets per 1000 active users", File(BOOK, "support_tickets_per_1000_users")),
    ("under 5 tickets", File(BOOK, "below: \"5\"")),
    ("under 2 critical bugs per release", Example("critical_bugs}}, below: \"2\"")),
    ("NPS above 50", File(BOOK, "above: \"50\"")),
    ("rollback, error rate 10", Example("above: \"10\", for: 300s")),
    ("rollback, response time 5000, window 600", Example("above: \"5000\", for: 600s")),
    ("rollback, crash rate 1, window 300", Example("above: \"1\", for: 300s")),
    ("immediate (< 5 minutes): flag to 0%", NotCovered("within 5 minutes")),
    ("gradual (30 minutes): 100% → 50% → 25% → 0%", Example("ladder: [50, 25, 0]")),
    ("gradual: each step for 10 minutes", Example("every: 10m")),
    ("partial (1 hour)", NotCovered("partial, 1 hour")),
    ("Dreams: 70% log 1+ dream", File(DREAMS, "atLeast: \"70\"")),
    ("Dreams: 3+ dreams per week", File(DREAMS, "atLeast: \"3\"")),
    ("Dreams: <2% weave failures", File(DREAMS, "below: \"2\"")),
    ("Dreams: >4.2/5 rating", File(DREAMS, "above: \"4.2\"")),
    ("Whispers: 40% opt in", File(WHISPERS, "atLeast: \"40\"")),
    ("Whispers: 8+ captures a day", File(WHISPERS, "atLeast: \"8\"")),
    ("Whispers: >70% click-through", File(WHISPERS, "above: \"70\"")),
    ("Whispers: <200ms at p95", File(WHISPERS, "quantile: \"0.95\"}}, below: \"200\"")),
    ("Voice: 30% of conversations", File(VOICE, "atLeast: \"30\"")),
    ("Voice: <5% transcription errors", File(VOICE, "below: \"5\"")),
    ("Voice: <3s", File(VOICE, "below: \"3000\"")),
    ("Voice: >4.0/5", File(VOICE, "above: \"4.0\"")),
    ("Admin: 99.9%", File(ADMIN, "atLeast: \"99.9\"")),
    ("Admin: <500ms", File(ADMIN, "below: \"500\"")),
    ("Admin: 80% of actions", File(ADMIN, "atLeast: \"80\"")),
    ("Admin: zero incidents", File(ADMIN, "atMost: \"0\"")),
    (
        "week 1: hourly, < 15 minutes, daily reviews",
        Example("until: 168h, interval: 1h, respondWithin: 15m, reviewEvery: 24h"),
    ),
    (
        "weeks 2-4: 4x daily, < 1 hour, every 2-3 days",
        Example("until: 672h, interval: 6h, respondWithin: 1h, reviewEvery: 72h"),
    ),
    ("month 2+: daily, 4 hours, weekly", Example("interval: 24h, respondWithin: 4h, reviewEvery: 168h")),
    ("User Churn: rollback plan within 24 hours", File(BOOK, "within 24 hours")),
    ("summary, Week 7-8: Analytics + Performance", NotCovered("Week 7-8: Analytics + Performance")),
    ("milestone, Week 2", File(BOOK, "week: 2, when: {tasks:")),
    ("milestone, Week 4", File(BOOK, "week: 4, when: {rollout: {name: dreams,")),
    ("milestone, Week 6", File(BOOK, "week: 6, when: {rollout: {name: whispers,")),
    ("milestone, Week 8", File(BOOK, "week: 8, when: {rollout: {name: admin-panel,")),
    ("milestone, Week 12", File(BOOK, "week: 12, when: {phase: scale-analytics}")),
];

#[test]
fn every_figure_of_the_plan_is_in_the_example_or_said_to_be_missing() {
    let files = example();
    let page = page();
    let not_covered: Vec<&str> =
        page.lines().filter(|line| line.starts_with('|') && line.contains("not covered")).collect();
    let lost: Vec<&str> = FIGURES
        .iter()
        .filter(|(_, at)| match at {
            File(name, text) => !files.iter().any(|(file, all)| file == name && all.contains(text)),
            Example(text) => !files.iter().any(|(_, all)| all.contains(text)),
            NotCovered(text) => !not_covered.iter().any(|row| row.contains(text)),
        })
        .map(|(figure, _)| *figure)
        .collect();
    assert!(lost.is_empty(), "{lost:#?}");
    assert!(FIGURES.len() > 75);
}

/// Phase, section, tasks.
type Section = (&'static str, &'static str, &'static [&'static str]);
const TASKS: [Section; 9] = [
    (
        "foundation",
        "1.1 Security Hardening",
        &[
            "Fix RLS policies on all tables",
            "Add foreign key constraints",
            "Implement rate limiting on all endpoints",
            "Add XSS protection to user content display",
        ],
    ),
    (
        "foundation",
        "1.2 Data Consolidation",
        &[
            "Audit duplicate user tables",
            "Migrate data to user_profiles as single source of truth",
            "Consolidate telemetry into unified pipeline",
            "Add missing database indexes",
        ],
    ),
    (
        "foundation",
        "1.3 Error Handling",
        &[
            "Add error boundaries to all major components",
            "Standardize API response format",
            "Implement proper logging with request tracing",
            "Set up basic monitoring alerts",
        ],
    ),
    (
        "user-experience",
        "2.1 Dreams System GA Prep",
        &[
            "Add empty states and onboarding",
            "Implement offline capture with sync",
            "Add export functionality (JSON/PDF)",
            "Mobile-optimized entry flow",
            "Performance optimization for large datasets",
        ],
    ),
    (
        "user-experience",
        "2.2 Whispers/ADHD Mode Enhancement",
        &[
            "Voice capture integration",
            "Whisper history view with search",
            "Cross-device sync indicators",
            "Bulk memory management",
            "Tuning interface improvements",
        ],
    ),
    (
        "advanced-features",
        "3.1 Maya Voice Enhancements",
        &[
            "Ambient listening mode (opt-in)",
            "Multilingual support (Spanish, French)",
            "Emotion detection and tone adjustment",
            "Voice training for personalization",
        ],
    ),
    (
        "advanced-features",
        "3.2 Admin Panel GA",
        &[
            "Role-based access controls",
            "Real-time WebSocket updates",
            "Export functionality for all views",
            "Mobile admin interface",
            "Audit trail for all changes",
        ],
    ),
    (
        "scale-analytics",
        "4.1 Performance & Scale",
        &[
            "Implement Redis caching layer",
            "Database connection pooling",
            "CDN for static assets",
            "Background job processing",
            "Load testing and optimization",
        ],
    ),
    (
        "scale-analytics",
        "4.2 Advanced Analytics",
        &[
            "User behavior tracking",
            "A/B testing framework",
            "Predictive models for engagement",
            "Business intelligence dashboard",
        ],
    ),
];

const GOALS: [(&str, &str); 4] = [
    ("Phase 1: Foundation", "Stabilize core systems and fix critical gaps"),
    ("Phase 2: User Experience", "Polish existing features for broader rollout"),
    ("Phase 3: Advanced Features", "Release new capabilities and scale systems"),
    ("Phase 4: Scale & Analytics", "Prepare for growth and advanced insights"),
];

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value[field].as_str().unwrap_or_default()
}

fn list<'v>(value: &'v Value, field: &str) -> &'v [Value] {
    value[field].as_array().map_or(&[], Vec::as_slice)
}

#[test]
fn every_phase_section_and_task_of_the_plan_is_in_the_example() {
    let spec = playbook();
    let phases = list(&spec, "phases");
    let goals: Vec<(&str, &str)> =
        phases.iter().map(|phase| (text(phase, "title"), text(phase, "goal"))).collect();
    assert_eq!(goals, GOALS);
    let mut found = Vec::new();
    for phase in phases {
        for section in list(phase, "sections") {
            let tasks: Vec<&str> = list(section, "tasks").iter().map(|task| text(task, "title")).collect();
            found.push((text(phase, "name"), text(section, "title"), tasks));
        }
    }
    let expected: Vec<_> =
        TASKS.iter().map(|(phase, title, tasks)| (*phase, *title, tasks.to_vec())).collect();
    assert_eq!(found, expected);
    assert_eq!(TASKS.iter().map(|(_, _, tasks)| tasks.len()).sum::<usize>(), 40);
}

const MILESTONES: [(&str, i64); 5] = [
    ("Security audit complete", 2),
    ("Dreams GA launch", 4),
    ("Whispers beta expansion", 6),
    ("Admin panel GA", 8),
    ("Full platform stability", 12),
];

const RISKS: [(&str, &str, &str); 12] = [
    ("Technical", "Database Performance", "Pre-scale with read replicas"),
    ("Technical", "API Rate Limits", "Implement circuit breakers"),
    ("Technical", "Third-party Dependencies", "Fallback providers ready"),
    ("Technical", "Memory Leaks", "Continuous profiling enabled"),
    ("Business", "User Churn", "Rollback plan ready within 24 hours"),
    ("Business", "Support Overload", "Pre-written help docs and FAQs"),
    ("Business", "Competitive Response", "Legal review of IP protection"),
    ("Business", "Regulatory Compliance", "GDPR/privacy audit completed"),
    ("Communication", "Feature Confusion", "Clear in-app onboarding flows"),
    ("Communication", "Expectation Mismatch", "Beta labels on experimental features"),
    ("Communication", "Feedback Overflow", "Dedicated feedback collection system"),
    ("Communication", "Community Management", "Moderation team briefed"),
];

#[test]
fn every_milestone_and_risk_of_the_plan_is_in_the_example() {
    let spec = playbook();
    let milestones = list(&spec, "milestones");
    let found: Vec<(&str, i64)> =
        milestones.iter().map(|m| (text(m, "title"), m["week"].as_i64().unwrap())).collect();
    assert_eq!(found, MILESTONES);
    let risks = list(&spec, "risks");
    let found: Vec<(&str, &str, &str)> = risks
        .iter()
        .map(|risk| (text(risk, "kind"), text(risk, "title"), text(risk, "mitigation")))
        .collect();
    assert_eq!(found, RISKS);
}

#[test]
fn the_targets_of_the_product_are_the_playbooks() {
    let spec = playbook();
    let found: Vec<(&str, &str, &str)> = list(&spec, "criteria")
        .iter()
        .map(|criterion| (text(criterion, "name"), text(criterion, "above"), text(criterion, "below")))
        .collect();
    assert_eq!(found, [("cross-feature", "40", ""), ("support-tickets", "", "5"), ("nps", "50", "")]);
}

/// Which phase each rollout joins, and what that phase requires.
#[test]
fn the_order_of_the_phases_holds_rollouts_back() {
    let joined: Vec<(String, String)> = objects("FeatureRollout")
        .iter()
        .map(|rollout| {
            let joins = &rollout["spec"]["playbookRef"];
            assert_eq!(joins["name"], "maya-2025");
            (text(joins, "phase").to_owned(), text(&rollout["metadata"], "name").to_owned())
        })
        .collect();
    let of = |phase: &str| joined.iter().filter(|(of, _)| of == phase).count();
    assert_eq!((of("user-experience"), of("advanced-features"), joined.len()), (4, 8, 12));
    let spec = playbook();
    let requires: Vec<String> =
        list(&spec, "phases").iter().map(|phase| phase["requires"].to_string()).collect();
    assert_eq!(
        requires,
        [
            "null",
            r#"[{"milestone":"security-audit"}]"#,
            r#"[{"rollout":{"name":"dreams","phase":"ga"}}]"#,
            r#"[{"milestone":"admin-panel-ga"}]"#,
        ]
    );
}

/// At the end of a week: the milestones that are reached, and how the phases stand.
const WEEKS: [(u32, &[&str], [&str; 4]); 4] = [
    (1, &["security-audit"], ["Open", "Ahead", "Ahead", "Ahead"]),
    (4, &["security-audit", "dreams-ga"], ["Open", "Open", "Ahead", "Ahead"]),
    (6, &["security-audit", "dreams-ga", "whispers-beta"], ["Open", "Open", "Open", "Ahead"]),
    (
        9,
        &["security-audit", "dreams-ga", "whispers-beta", "admin-panel-ga"],
        ["Open", "Open", "Open", "Open"],
    ),
];

#[test]
fn the_plan_is_told_by_week() {
    for (week, reached, phases) in WEEKS {
        // The Saturday of the week.
        let at = format!(
            "2025-{}T00:00:00Z",
            ["09-13", "10-04", "10-18", "11-08"][[1, 4, 6, 9].iter().position(|w| *w == week).unwrap()]
        );
        let ran = sluice(&["playbook", "maya-2025", "-f", "examples/playbook", "--at", &at, "-o", "json"]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        let json = ran.json();
        let status = &json["status"];
        assert_eq!(status["week"], format!("{week}/12"), "{at}");
        let found: Vec<&str> = list(status, "milestones")
            .iter()
            .filter(|milestone| milestone["state"] == "Reached")
            .map(|milestone| text(milestone, "name"))
            .collect();
        assert_eq!(found, reached, "week {week}");
        let states: Vec<&str> = list(status, "phases").iter().map(|phase| text(phase, "state")).collect();
        assert_eq!(states, phases, "week {week}");
        let late = list(status, "phases").iter().filter(|phase| phase["late"] == true).count();
        assert_eq!(
            late,
            usize::from(week > 2) + usize::from(week > 4) + usize::from(week > 8),
            "week {week}"
        );
    }
}

/// Step by step as of the Tuesday of week 5: what the steps give, and how they stand.
#[test]
fn each_step_is_told_with_its_week_and_state_in_every_form() {
    let as_of = |form: &str| {
        let at = "2025-10-07T16:00:00Z";
        let ran = sluice(&["playbook", "maya-2025", "-f", "examples/playbook", "--at", at, "-o", form]);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""));
        ran
    };
    let json = as_of("json").json();
    let steps = |name: &str| -> Vec<String> {
        let rollout = list(&json, "rollouts").iter().find(|rollout| rollout["name"] == name).unwrap();
        let told = |step: &Value| {
            format!("{} {} {} {}", step["week"], text(step, "step"), text(step, "gives"), text(step, "state"))
        };
        list(rollout, "steps").iter().map(told).collect()
    };
    assert_eq!(steps("dreams"), ["3 beta/all 10% done", "4 ga/half 55% done", "5 ga/full 100% done"]);
    assert_eq!(
        steps("whispers"),
        [
            "3 internal/staff  done",
            "4 beta/quarter 2.5% done",
            "5 beta/most 7.5% running",
            "6 beta/all 10% planned",
        ]
    );
    let page = as_of("markdown").out;
    assert!(
        page.contains("- [x] Fix RLS policies on all tables\n")
            && page.contains("- [ ] Database connection pooling\n")
    );
    assert!(page.contains("| whispers | 5 | beta/most | 7.5% | running |"), "{page}");
    let svg = as_of("svg").out;
    assert!(svg.starts_with("<svg") && svg.contains("Phase 2: User Experience"), "{svg}");
    let chart = as_of("table").out;
    assert!(chart.contains("Week 5/12, 6/52 done, 0 blocked, 2 overdue"), "{chart}");
    assert!(
        chart.contains("phase   user-experience   4\n") && chart.contains("whispers-beta (week 6)\n"),
        "{chart}"
    );
}

#[test]
fn a_playbook_that_is_wrong_is_told_of_by_file_line_and_field() {
    let dir = tempfile::tempdir().unwrap();
    let yaml = "apiVersion: sluice.dev/v1alpha1
kind: Playbook
metadata: {name: plan}
spec:
  startDate: '2025-09-08'
  phases:
  - {name: one, weeks: {from: 1, to: 2}, requires: [{milestone: done}, {rollout: {name: nobody, condition: Completed}}]}
  - {name: two, weeks: {from: 1, to: 2}, requires: [{task: none}]}
  milestones: [{name: done, week: 2, when: {phase: one}}]
---
apiVersion: sluice.dev/v1alpha1
kind: FeatureRollout
metadata: {name: r}
spec:
  playbookRef: {name: plan, phase: three}
  cohorts: [{name: all}]
  phases: [{name: ga, steps: [{week: 2, cohorts: {all: 5}}]}]
";
    let file = super::write(dir.path(), "plan.yaml", yaml);
    let lint = |text: &str| {
        std::fs::write(&file, text).unwrap();
        sluice(&["lint", "-f", &file]).out
    };
    let said = lint(yaml);
    assert!(
        said.contains(
            ":8: error: Playbook default/plan spec.phases[1].requires[0].task: \"none\": is the id of no task"
        ) || said.contains("spec.phases[1].requires[0].task"),
        "{said}"
    );
    assert!(
        said.contains(
            "spec.playbookRef.phase: \"three\": playbook plan has no such phase: its phases are one, two"
        ),
        "{said}"
    );
    let said = lint(&yaml.replace(", requires: [{task: none}]", "").replace("phase: three", "phase: two"));
    assert!(
        said.contains("spec.phases[0].requires: waits for itself: phase one → milestone done → phase one"),
        "{said}"
    );
    assert!(
        said.contains("warning") && said.contains("\"nobody\": there is no such rollout in the files"),
        "{said}"
    );
    let said = lint(&yaml.replace("name: plan, phase: three", "name: plans, phase: one"));
    assert!(said.contains("spec.playbookRef.name: \"plans\": there is no Playbook of this name"), "{said}");
}

#[test]
fn every_test_and_file_of_the_page_is_there() {
    let page = page();
    let sources: Vec<String> = ["tests/it", "src"].iter().flat_map(|folder| sources_in(folder)).collect();
    let mut rows = 0;
    for line in page.lines().filter(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").collect();
        let Some(last) = cells.last().filter(|_| cells.len() == 3) else { continue };
        rows += 1;
        for name in last.split('`').skip(1).step_by(2).filter(|name| !name.contains('/')) {
            let declared = format!("fn {name}(");
            assert!(sources.iter().any(|text| text.contains(&declared)), "{name}, which {line}");
        }
        for file in cells[1].split('`').skip(1).step_by(2).filter(|name| name.ends_with(".yaml")) {
            assert!(std::path::Path::new("examples/playbook").join(file).is_file(), "{file}");
        }
        let covered = !line.contains("not covered");
        assert!(
            !covered || last.contains('`') || line.contains("---") || last.contains("shown by"),
            "{line}"
        );
    }
    assert!(rows > 40, "{rows}");
}

fn sources_in(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources_in(path.to_str().unwrap()));
        } else {
            found.push(std::fs::read_to_string(path).unwrap_or_default());
        }
    }
    found
}

/// Lines of comment and of separators say nothing to a cluster.
#[test]
fn the_whole_example_has_fewer_than_450_lines() {
    let files = std::fs::read_dir("examples/playbook").unwrap().map(|entry| entry.unwrap().path());
    let yaml = files.filter(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    let texts: Vec<String> = yaml.map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let says = |line: &&str| !line.trim_start().starts_with('#') && *line != "---" && !line.trim().is_empty();
    let lines = texts.iter().flat_map(|text| text.lines()).filter(says).count();
    assert!((300..450).contains(&lines), "{lines}");
    let longest = texts.iter().flat_map(|text| text.lines()).map(str::len).max();
    assert!(longest < Some(180), "and none is made longer than one reads: {longest:?}");
}

/// "Weekly health reports" for B, "monthly summaries" for C; the early adopters are looked at every day.
#[test]
fn the_segments_are_reported_on_as_often_as_the_plan_says() {
    let text = std::fs::read_to_string("examples/playbook/10-cohorts.yaml").unwrap();
    let set: sluice::api::CohortSet = serde_saphyr::from_str(&text).unwrap();
    let reports: Vec<(String, Option<&str>)> = set
        .spec
        .cohorts
        .iter()
        .map(|cohort| {
            let report = cohort.monitoring.as_ref().and_then(|monitoring| monitoring.report);
            (cohort.name.clone(), report.map(|report| report.as_str()))
        })
        .collect();
    let expected = [
        ("internal", None),
        ("early-adopters", Some("Daily")),
        ("regular", Some("Weekly")),
        ("casual", Some("Monthly")),
        ("new", None),
    ];
    assert_eq!(reports, expected.map(|(name, report)| (name.to_owned(), report)));
    let channels = std::fs::read_to_string("examples/playbook/35-channels.yaml").unwrap();
    let daily = channels.lines().find(|line| line.contains("kind: Cohorts")).unwrap();
    assert!(daily.contains("schedule: \"0 9 * * *\"") && daily.contains("America/Los_Angeles"), "{daily}");
}
