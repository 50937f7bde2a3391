//! What stops and lowers waits for none of what does not, and what it overtakes does not undo it.

use kube::api::ListParams;
use sluice::api::MicroTime;

use super::*;

/// When an action was answered.
fn answered_at(action: &RolloutAction) -> MicroTime {
    action.status.as_ref().and_then(|status| status.answered_at).unwrap()
}

#[tokio::test]
async fn a_rollback_overtakes_all_that_waits_and_is_not_undone_by_it() {
    let space = bare_space("act-overtaking").await;
    let controller = Running::in_space(&space).await;
    space.apply::<FeatureRollout>(HALF).await.unwrap();
    until_served(&space, "half", "100%", "50%").await;
    applied(&space, "half", "pause", json!({"action": "Pause"})).await;
    controller.stop().await;

    // While nobody looks they pile up, the rollback last.
    let api = space.api::<RolloutAction>();
    let create = async |name: &str, more: Value| {
        api.create(&PostParams::default(), &action("half", name, more)).await.unwrap();
    };
    create("resume", json!({"action": "Resume"})).await;
    create("raise", json!({"action": "SetPercent", "setPercent": {"everyone": 60}})).await;
    for i in 0..60 {
        create(&format!("ack-{i}"), json!({"action": "Acknowledge"})).await;
        if i % 6 == 0 {
            create(&format!("pause-{i}"), json!({"action": "Pause", "reason": format!("number {i}")})).await;
        }
    }
    create("rollback", json!({"action": "Rollback", "reason": "crashes"})).await;

    let controller = Running::in_space(&space).await;
    eventually("all are answered", async || {
        let all = api.list(&ListParams::default()).await.unwrap().items;
        all.iter().all(|action| action.status.as_ref().is_some_and(|status| status.answer.is_some()))
    })
    .await;
    let all = api.list(&ListParams::default()).await.unwrap().items;
    let of = |name: &str| all.iter().find(|action| action.name_any() == name).unwrap();
    let rollback = of("rollback");
    assert_eq!(rollback.status.as_ref().unwrap().answer, Some(Answer::Applied));
    let before = all.iter().filter(|action| answered_at(action) < answered_at(rollback));
    let before: Vec<String> = before.map(|action| action.name_any()).collect();
    assert_eq!(before, ["pause"], "what was answered before the controller went");
    for name in ["resume", "raise"] {
        let status = of(name).status.clone().unwrap();
        assert_eq!(status.answer, Some(Answer::Rejected), "{name}: {status:?}");
        assert!(status.message.unwrap().contains("created after it and carried out first"), "{name}");
    }

    let status = until_served(&space, "half", "0%", "0%").await;
    assert!(status.rollback.is_some() && status.last_stop.is_some());
    let reasons: Vec<&str> = status.history.iter().map(|entry| entry.reason.as_str()).collect();
    assert!(reasons.contains(&"RolledBack") && reasons.contains(&"StepEntered"), "{reasons:?}");
    assert_eq!(reasons.iter().filter(|reason| **reason == "Acknowledged").count(), 1, "{reasons:?}");
    controller.stop().await;
}
