//! Until when an action may be read for the first time.

use jiff::SignedDuration;
use rstest::rstest;
use serde_json::{Value, json};

use super::actions::state;
use super::support::{action, request};
use crate::api::rolloutaction::Answer;
use crate::engine::{Ground, act};

#[rstest]
#[case::pause(json!({"action": "Pause"}), 3600)]
#[case::lowered(json!({"action": "SetPercent", "setPercent": {"a": 5}}), 3600)]
#[case::promote(json!({"action": "Promote"}), 600)]
#[case::raised(json!({"action": "SetPercent", "setPercent": {"a": 20, "b": 0}}), 600)]
#[case::said_so(json!({"action": "Pause", "expiresAfter": "90s"}), 90)]
fn an_action_first_read_too_late_has_expired(#[case] fields: Value, #[case] after: i64) {
    let life = state("holding");
    let spec = action(fields);
    let judged = |age: SignedDuration| {
        let request = request("u", &spec, life.now - age);
        act(Ground::Plan(&life.plan, &life.facts), &life.status, &request, life.now)
    };
    assert_eq!(judged(SignedDuration::from_secs(after)).answer, Answer::Expired);
    assert_eq!(judged(SignedDuration::from_secs(after)).status, life.status);
    assert_eq!(
        judged(SignedDuration::from_secs(after) - SignedDuration::from_nanos(1000)).answer,
        Answer::Applied
    );
    // Where the schedule's clock runs a week a minute, whoever asks is not asked to be quicker than a blink.
    let fast = |age: SignedDuration| {
        let request = crate::engine::Request { speed: 10_080, ..request("u", &spec, life.now - age) };
        act(Ground::Plan(&life.plan, &life.facts), &life.status, &request, life.now)
    };
    assert_eq!(fast(SignedDuration::from_secs(after * 10_000)).answer, Answer::Applied);
    assert_eq!(fast(SignedDuration::from_secs(after * 10_080)).answer, Answer::Expired);
}
