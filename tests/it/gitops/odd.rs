//! Objects that no version of Sluice writes: Argo CD gets a status of each, and never that all is well.

use serde_json::{Value, json};

use super::{argocd, ask, flux, live};
use crate::flag_sets::create;
use crate::support::raw::object;
use crate::support::{Space, is_ready};

/// A ready rollout, as it is stored.
async fn ready(space: &str) -> Value {
    let space = Space::shared(space).await;
    let spec = "{cohorts: [{name: all}], phases: [{name: ga, ramp: {percents: [50, 100], every: 168h}}]}";
    create(&space, &[object("FeatureRollout", "one", spec)]).await;
    space.until("one", "ready", is_ready).await;
    live(&space, "FeatureRollout", "one").await
}

/// The object with something else at some places.
fn with(object: &Value, changes: &[(&str, Value)]) -> Value {
    let mut object = object.clone();
    for (pointer, value) in changes {
        *object.pointer_mut(pointer).unwrap() = value.clone();
    }
    object
}

fn odd(good: &Value) -> Vec<Value> {
    let mut without_status = good.clone();
    without_status.as_object_mut().unwrap().remove("status");
    let conditions = |value| with(good, &[("/status/conditions", value)]);
    let mut all = vec![
        without_status,
        with(good, &[("/status", json!({"observedGeneration": -1}))]),
        with(good, &[("/status/observedGeneration", json!(0))]),
        with(good, &[("/status/observedGeneration", json!("1"))]),
        with(good, &[("/metadata/generation", json!(7))]),
        with(
            good,
            &[("/status/conditions/0/message", json!(7)), ("/status/conditions/0/status", json!("Unknown"))],
        ),
    ];
    for value in [json!(null), json!("done"), json!(7), json!(true), json!([]), json!({})] {
        all.push(with(good, &[("/status", value)]));
    }
    for value in [
        json!(null),
        json!("Ready"),
        json!(7),
        json!([]),
        json!({}),
        json!({"Ready": "True"}),
        json!([null, "Ready", 7, []]),
        json!([{}]),
        json!([{"type": 7, "status": "True"}]),
        json!([{"type": "Ready"}]),
        json!([{"type": "Ready", "status": true}]),
        json!([{"type": "Ready", "status": "Perhaps", "message": {"a": 1}}]),
        json!([{"type": "Other", "status": "True"}]),
    ] {
        all.push(conditions(value));
    }
    all
}

#[tokio::test]
async fn argo_cd_gets_a_status_of_whatever_an_object_looks_like() {
    let good = ready("gitops-odd").await;
    let all = odd(&good);
    for (object, health) in all.iter().zip(argocd(&all).await) {
        assert_eq!(
            (health.status.as_str(), health.error.as_str()),
            ("Progressing", ""),
            "{:#}",
            object["status"]
        );
        assert!(!health.message.is_empty(), "it says why: {:#}", object["status"]);
    }
    // Flux may say that it cannot tell, which fails a sync, or take an object without conditions for one that has none.
    for (object, health) in all.iter().zip(flux(None, &all).await) {
        assert!(!health.status.is_empty(), "{:#}", object["status"]);
    }
    for file in ["deploy/flux/until-complete.yaml", "deploy/flux/fail-on-rollback.yaml"] {
        let mut bare = good.clone();
        bare["status"].as_object_mut().unwrap().remove("conditions");
        let of_bare = flux(Some(file), &[bare]).await.remove(0);
        assert_eq!((of_bare.status.as_str(), of_bare.error.as_str()), ("InProgress", ""), "{file}");
    }
}

#[tokio::test]
async fn the_message_of_a_condition_that_is_no_text_does_not_hide_the_condition() {
    let good = ready("gitops-odd-words").await;
    let strange: Vec<Value> = [json!(7), json!(null), json!({"a": 1}), json!([])]
        .into_iter()
        .map(|message| with(&good, &[("/status/conditions/0/message", message)]))
        .collect();
    for health in argocd(&strange).await {
        assert_eq!((health.status.as_str(), health.message.as_str()), ("Healthy", "Ready"));
    }
}

#[tokio::test]
async fn argo_cd_can_ask_for_the_actions_of_whatever_an_object_looks_like() {
    let good = ready("gitops-odd-actions").await;
    let mut all = odd(&good);
    for field in ["pauses", "cohorts", "waitingFor", "position", "rollback", "uid"] {
        for value in [json!(null), json!(7), json!("x"), json!([]), json!([7, "x", null]), json!({"a": [1]})]
        {
            let mut object = good.clone();
            object["status"][field] = value;
            all.push(object);
        }
    }
    for value in [json!(null), json!(7), json!([]), json!([7]), json!([{}])] {
        all.push(with(&good, &[("/spec/phases", value)]));
    }
    let offered = ask(&["argocd", "actions", super::ARGOCD_CM], &all).await.unwrap();
    for (object, offered) in all.iter().zip(offered) {
        let names: Vec<&str> =
            offered.as_array().unwrap().iter().map(|action| action["name"].as_str().unwrap()).collect();
        assert_eq!(names, super::actions::NAMES, "{object:#}");
    }
}
