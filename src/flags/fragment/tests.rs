use super::super::fixtures::{everyone, feature, identity, percent, segments, status};
use super::*;
use crate::api::featurerollout::VariantNames;
use crate::api::status::{Check, Pending, Position, RaiseCause};
use crate::api::{MicroTime, RollbackStatus};

fn position(step: Option<&str>) -> Position {
    let at: MicroTime = serde_json::from_value(json!("2025-09-08T09:00:00.000000Z")).unwrap();
    Position {
        phase: "ga".into(),
        number: 2,
        of: 5,
        step: step.map(str::to_owned),
        content: "c".into(),
        entered_at: at,
        hold_from: at,
    }
}

/// The condition for one segment.
fn segment(name: &str) -> Value {
    json!({"some": [{"merge": [{"var": "segment"}]}, {"===": [{"var": ""}, name]}]})
}

#[test]
fn renders_literals_weights_and_the_guard() {
    let audience = segments(&["early", "regular", "new"]);
    let status = status(&audience, &[100_000, 500, 0], 7);
    let fragment = fragment(&feature("dreams"), &identity("dreams", "u1"), &status, &audience);
    assert_eq!(
        fragment.body,
        json!({
            "state": "ENABLED",
            "variants": {"enabled": true, "disabled": false},
            "defaultVariant": "disabled",
            "targeting": {"if": [
                segment("early"), "enabled",
                segment("regular"),
                {"if": [
                    {"!!": [{"var": "targetingKey"}]},
                    {"fractional": [
                        {"cat": ["dreams", ":", {"var": "targetingKey"}]},
                        ["enabled", 500], ["disabled", 99_500],
                    ]},
                    "disabled",
                ]},
                segment("new"), "disabled",
                "disabled",
            ]},
            "metadata": {
                "managedBy": "sluice.dev", "rollout": "maya/dreams", "uid": "u1", "revision": 7, "attempt": 1,
                "phase": "", "step": "", "served": "early=100%,regular=0.5%,new=0%",
                "audience": "maya-users-0123456789",
            },
        })
    );
}

#[test]
fn a_variant_names_its_users_cohort_where_that_is_asked_for() {
    let audience = segments(&["early", "regular"]);
    let status = status(&audience, &[100_000, 500], 7);
    let plain = feature("dreams");
    let feature = Feature { variant_names: VariantNames::WithCohort, ..plain.clone() };
    let body = fragment(&feature, &identity("dreams", "u1"), &status, &audience).body;
    assert_eq!(
        body["variants"],
        json!({
            "enabled": true, "disabled": false, "enabled@early": true, "disabled@early": false,
            "enabled@regular": true, "disabled@regular": false,
        })
    );
    assert_eq!(body["defaultVariant"], json!("disabled"));
    let split = json!([["enabled@regular", 500], ["disabled@regular", 99_500]]);
    let rule = body["targeting"]["if"].as_array().unwrap();
    assert_eq!((&rule[1], &rule[4]), (&json!("enabled@early"), &json!("disabled")));
    assert_eq!(rule[3]["if"][1]["fractional"].as_array().unwrap()[1..], split.as_array().unwrap()[..]);
    assert_eq!(rule[3]["if"][2], json!("disabled@regular"));
    // Only names differ, so that nobody gets another value when it is switched on.
    let text = canonical::text(&body["targeting"]).replace("@early", "").replace("@regular", "");
    let before = fragment(&plain, &identity("dreams", "u1"), &status, &audience).body;
    assert_eq!(text, canonical::text(&before["targeting"]));
}

#[test]
fn metadata_reads_back() {
    let audience = segments(&["early", "regular"]);
    let mut status = status(&audience, &[99_999, 1], 3);
    status.position = Some(position(None));
    let fragment = fragment(&feature("dreams"), &identity("d", "u1"), &status, &audience);
    assert_eq!(
        live(&fragment.body),
        Some(LiveFlag {
            namespace: "maya".into(),
            rollout: "d".into(),
            uid: "u1".into(),
            revision: 3,
            attempt: 1,
            phase: "ga".into(),
            step: "2".into(),
            served: vec![("early".into(), percent(99_999)), ("regular".into(), percent(1))],
            pending: Vec::new(),
            audience: audience.name,
            rollback: None,
        })
    );
}

/// A status that is lost must not take a rollback with it, nor a raise that was promised.
#[test]
fn a_rollback_in_force_and_what_is_pending_read_back() {
    let audience = segments(&["early", "regular"]);
    let mut status = status(&audience, &[50_000, 0], 3);
    let at: MicroTime = serde_json::from_value(json!("2025-09-08T09:05:00.000123Z")).unwrap();
    status.rollback = Some(RollbackStatus {
        mode: RollbackMode::Gradual,
        at,
        by: "ada of the night shift".to_owned(),
        trigger: None,
        severity: None,
        message: "it hurts".to_owned(),
        escalations: Vec::new(),
        phase: None,
        cohorts: vec!["early".to_owned(), "regular".to_owned()],
        ladder: Vec::new(),
        every: None,
        ended_at: None,
        verified_at: None,
        acknowledged_at: None,
    });
    status.cohorts[1].pending = Some(Pending {
        percent: percent(10_000),
        check: Check::CohortDelay,
        due: at,
        cause: RaiseCause::Step,
    });
    let fragment = fragment(&feature("dreams"), &identity("d", "u1"), &status, &audience);
    let found = live(&fragment.body).unwrap();
    let rollback = found.rollback.unwrap();
    assert_eq!((rollback.mode, rollback.at), (RollbackMode::Gradual, at));
    assert_eq!(rollback.by, "ada of the night shift");
    assert_eq!(rollback.cohorts, ["early", "regular"]);
    assert_eq!(found.pending, [("regular".to_owned(), percent(10_000))]);
}

#[test]
fn a_revision_that_cannot_be_counted_on_from_is_none() {
    let audience = everyone();
    let mut body =
        fragment(&feature("a"), &identity("a", "u"), &status(&audience, &[500], 7), &audience).body;
    for (revision, is_one) in [(0, true), (crate::api::crds::LARGEST, true), (-1, false), (i64::MAX, false)] {
        body["metadata"]["revision"] = json!(revision);
        assert_eq!(live(&body).is_some(), is_one, "{revision}");
    }
}

#[test]
fn a_flag_that_no_rollout_wrote_has_no_live_state() {
    let audience = everyone();
    let status = status(&audience, &[0], 1);
    let body = fragment(&feature("x"), &identity("x", "u"), &status, &audience).body;
    for key in [MANAGED_BY, "rollout", "uid", "revision", "served"] {
        let mut damaged = body.clone();
        damaged["metadata"].as_object_mut().unwrap().remove(key);
        assert_eq!(live(&damaged), None, "{key}");
    }
    assert_eq!(live(&json!({"state": "ENABLED"})), None);
}

#[test]
fn the_digest_follows_everything_but_the_revision() {
    let audience = everyone();
    let render = |served, revision, step: Option<&str>| {
        let mut status = status(&audience, &[served], revision);
        status.position = step.map(|step| position(Some(step)));
        digest(&fragment(&feature("x"), &identity("x", "u"), &status, &audience))
    };
    let first = render(5_000, 1, None);
    assert_eq!(first.len(), 16);
    assert_eq!(first, render(5_000, 2, None));
    assert_ne!(first, render(5_001, 1, None));
    assert_ne!(first, render(5_000, 1, Some("half")));
}

#[test]
fn a_cohort_unknown_to_status_gets_control() {
    let audience = segments(&["early", "late"]);
    let status = status(&audience, &[100_000], 1);
    let body = fragment(&feature("x"), &identity("x", "u"), &status, &audience).body;
    assert_eq!(body["targeting"]["if"][3], json!("disabled"));
    assert_eq!(body["metadata"]["served"], json!("early=100%,late=0%"));
}

#[test]
fn what_serves_control_keeps_its_shape_and_says_so() {
    let audience = segments(&["early", "regular", "new"]);
    let fragment_of = |served: &[u32], revision| {
        let status = status(&audience, served, revision);
        fragment(&feature("dreams"), &identity("dreams", "u1"), &status, &audience).body
    };
    let lowered = at_control(&fragment_of(&[100_000, 500, 0], 7)).unwrap();
    assert_eq!(lowered, fragment_of(&[0, 0, 0], 8), "as its rollout would have rendered it");
    assert_eq!(at_control(&lowered), None);
    // What a person has put in the place of the conditions serves nobody either.
    let mut edited = fragment_of(&[100_000, 500, 0], 7);
    edited["targeting"] = json!({"fractional": [["enabled", 100]]});
    assert_eq!(at_control(&edited).unwrap()["targeting"], json!({}));
    edited["metadata"]["managedBy"] = json!("me");
    assert_eq!(at_control(&edited), None, "a static flag is its owner's");
}
