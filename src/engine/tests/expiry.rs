//! Until when an action may be read for the first time.

use jiff::SignedDuration;
use rstest::rstest;
use serde_json::{Value, json};

use super::actions::state;
use super::support::{Life, action, request};
use crate::api::rolloutaction::{Answer, RolloutActionSpec};
use crate::engine::{Ground, act, answered};

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

/// Whoever can have actions carried out that no answer reaches would have them carried out again and again.
#[test]
fn an_action_without_an_answer_is_never_forgotten_before_it_has_expired() {
    let mut life = state("holding");
    let set = |percent: String| {
        action(json!({"action": "SetPercent", "setPercent": {"a": percent}, "expiresAfter": "90000h"}))
    };
    // Up to where the step asks for an approval.
    let raise = |i: usize| set(format!("19.{:03}%", 101 + 2 * i));
    let ask = |life: &Life, uid: &str, spec: &RolloutActionSpec| {
        act(Ground::Plan(&life.plan, &life.facts), &life.status, &request(uid, spec, life.now), life.now)
    };
    for i in 0..48 {
        let outcome = ask(&life, &format!("u-{i}"), &raise(i));
        assert_eq!(outcome.answer, Answer::Applied, "{}", outcome.message);
        life.status = outcome.status;
    }
    // One more of them would take the place of the first.
    for more in [raise(48), action(json!({"action": "Resume"}))] {
        let outcome = ask(&life, "more", &more);
        assert_eq!((outcome.answer, &outcome.status), (Answer::Rejected, &life.status));
        assert!(outcome.message.contains("have no answer yet"), "{}", outcome.message);
    }
    // What stops or lowers is done, and nothing of before is read as new.
    let stops = [("lower", set("1%".to_owned())), ("rollback", action(json!({"action": "Rollback"})))];
    for (uid, stop) in stops {
        let outcome = ask(&life, uid, &stop);
        assert_eq!(outcome.answer, Answer::Applied, "{}", outcome.message);
        life.status = outcome.status;
        for i in 0..48 {
            let again = ask(&life, &format!("u-{i}"), &raise(i));
            assert_eq!((again.answer, &again.status), (Answer::Applied, &life.status));
        }
    }
    assert!(life.status.cohorts.iter().all(|cohort| cohort.decided().is_zero()));
    // Each stop is on record as long as there is room. A percentage that finds none would be a raise once somebody has lowered more.
    for i in 0..14 {
        life.status = ask(&life, &format!("pause-{i}"), &action(json!({"action": "Pause"}))).status;
    }
    assert_eq!(life.status.actions.len(), 64);
    let lower = ask(&life, "lower more", &set("0%".to_owned()));
    assert_eq!((lower.answer, &lower.status), (Answer::Rejected, &life.status), "{}", lower.message);
    assert!(lower.message.contains("have no answer yet"), "{}", lower.message);
    let pause = ask(&life, "pause", &action(json!({"action": "Pause"})));
    assert_eq!((pause.answer, pause.status.actions.len()), (Answer::Applied, 64));
    // An answer that is given makes room.
    (0..17).for_each(|i| answered(&mut life.status, &format!("u-{i}")));
    let retry = ask(&life, "retry", &action(json!({"action": "Retry"})));
    assert_eq!(retry.answer, Answer::Applied, "{}", retry.message);
}
