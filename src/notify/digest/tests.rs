use serde_json::json;

use super::*;

fn rollout(name: &str, spec: serde_json::Value, status: serde_json::Value) -> FeatureRollout {
    let mut full =
        json!({"uid": name, "state": "Holding", "served": "everyone=50%", "phase": "ga", "step": "1/2"});
    full.as_object_mut().unwrap().extend(status.as_object().unwrap().clone());
    let mut whole = json!({"cohorts": [{"name": "everyone"}], "phases": []});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    serde_json::from_value(json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "FeatureRollout",
        "metadata": {"name": name, "namespace": "maya", "uid": name}, "spec": whole, "status": full,
    }))
    .unwrap()
}

fn at(text: &str) -> MicroTime {
    text.parse().unwrap()
}

/// A rollout that no policy binds.
fn alone(rollout: &FeatureRollout) -> Told<'_> {
    Told { rollout, monitoring: &rollout.spec.monitoring, division: None }
}

/// A digest of this kind on the eighth, the one before it being of the first.
fn message(kind: DigestKind, told: &[Told<'_>], zone: &str) -> Option<Message> {
    let digest = json!({"name": "daily", "schedule": "0 10 * * *", "timeZone": zone, "kind": kind.as_str()});
    let digest: crate::api::notificationchannel::Digest = serde_json::from_value(digest).unwrap();
    let schedule = crate::notify::schedule::Schedule::new(&digest.schedule, Some(zone)).unwrap();
    of(&Planned { digest, schedule }, told, at("2026-03-01T00:00:00Z"), at("2026-03-08T17:00:00Z"))
}

fn said(kind: DigestKind, rollouts: &[FeatureRollout], zone: &str) -> Option<String> {
    let told: Vec<Told<'_>> = rollouts.iter().map(alone).collect();
    let message = message(kind, &told, zone)?;
    Some(format!("{}\n{}", message.title, message.text))
}

#[test]
fn a_status_digest_says_first_what_somebody_should_see_to() {
    let monitoring = json!({"monitoring": [
        {"name": "high", "until": "168h", "interval": "1h", "reviewEvery": "24h"},
        {"name": "standard", "interval": "24h", "reviewEvery": "168h"}]});
    let rollouts = [
        rollout(
            "zebra",
            json!({}),
            json!({"waitingFor": {"check": "Hold", "message": "the hold is not over",
            "until": "2026-03-09T16:00:00Z"}}),
        ),
        rollout(
            "backed",
            json!({}),
            json!({"state": "RolledBack", "served": "everyone=0%", "rollback": {
            "mode": "Immediate", "at": "2026-03-08T00:00:00Z", "by": "trigger/errors", "message": "errors 12 > 10",
            "cohorts": ["everyone"]}}),
        ),
        rollout(
            "asks",
            json!({}),
            json!({"waitingFor": {"check": "Approval", "message": "step full waits for approval"}}),
        ),
        rollout(
            "fresh",
            monitoring.clone(),
            json!({"completedAt": "2026-03-07T17:00:00Z", "state": "Completed"}),
        ),
        rollout(
            "seen",
            monitoring.clone(),
            json!({"completedAt": "2026-03-05T00:00:00Z", "state": "Completed",
            "acknowledgedAt": "2026-03-08T01:00:00Z"}),
        ),
        rollout("old", monitoring, json!({"completedAt": "2026-01-01T00:00:00Z", "state": "Completed"})),
    ];
    let text = said(DigestKind::Status, &rollouts, "America/Los_Angeles").unwrap();
    assert_eq!(
        text,
        "Rollouts on 2026-03-08
Needs attention
- maya/asks: step full waits for approval
- maya/backed: rolled back, not verified: errors 12 > 10

Reviews that are due
- maya/fresh: since Sun 2026-03-08 10:00 PDT (every 24h in the period high)
- maya/old: since Wed 2026-01-07 16:00 PST (every 168h in the period standard)

Waits
- maya/zebra: the hold is not over (Mon 2026-03-09 09:00 PDT)

What is served
- maya/asks: Holding, ga 1/2: everyone=50%
- maya/backed: RolledBack, ga 1/2: everyone=0%
- maya/fresh: Completed, ga 1/2: everyone=50%
- maya/old: Completed, ga 1/2: everyone=50%
- maya/seen: Completed, ga 1/2: everyone=50%
- maya/zebra: Holding, ga 1/2: everyone=50%"
    );
}

#[test]
fn highlights_are_what_was_completed_since_and_nothing_is_not_sent() {
    let done = |name: &str, at: &str| {
        rollout(name, json!({"feature": {"title": format!("The {name}")}}), json!({"completedAt": at}))
    };
    let all = [
        done("before", "2026-03-01T00:00:00Z"),
        done("now", "2026-03-08T17:00:00Z"),
        done("later", "2026-03-08T17:00:01Z"),
    ];
    let text = said(DigestKind::Highlights, &all, "UTC").unwrap();
    assert_eq!(text, "Completed since 2026-03-01\nCompleted\n- maya/now: The now; Sun 2026-03-08 17:00 UTC");
    assert_eq!(said(DigestKind::Highlights, &all[..1], "UTC"), None);
    assert!(said(DigestKind::Status, &[], "UTC").unwrap().contains("There are no rollouts."));
}

#[test]
fn highlights_are_told_in_the_words_of_the_changelog() {
    let spec = |announcement: serde_json::Value| json!({"feature": {"title": "Dreams"}, "announcement": announcement});
    let done = json!({"completedAt": "2026-03-08T17:00:00Z"});
    let link = "https://example.com/dreams";
    let all = [
        rollout(
            "linked",
            spec(json!({"title": "Dreams is here", "body": "Long.", "link": link})),
            done.clone(),
        ),
        rollout("plain", spec(json!({"title": "Dreams is here"})), done),
    ];
    let text = said(DigestKind::Highlights, &all, "UTC").unwrap();
    assert!(
        text.contains(
            "- maya/linked: Dreams is here (https://example.com/dreams); Sun 2026-03-08 17:00 UTC\n"
        ),
        "{text}"
    );
    assert!(text.ends_with("- maya/plain: Dreams is here; Sun 2026-03-08 17:00 UTC"), "{text}");
}

#[test]
fn a_digest_is_bounded_and_says_how_much_more_there_is() {
    let many: Vec<FeatureRollout> = (0..200)
        .map(|i| rollout(&format!("r{i:03}"), json!({}), json!({"served": "x".repeat(1000)})))
        .collect();
    let text = said(DigestKind::Status, &many, "UTC").unwrap();
    assert!(text.len() < 3000, "{}", text.len());
    let many: Vec<Told<'_>> = many.iter().map(alone).collect();
    let message = message(DigestKind::Status, &many, "UTC");
    let Details::Sections(sections) = message.unwrap().details else { panic!("it has none") };
    assert_eq!(sections[0].rows.len(), MOST_ROWS + 1);
    assert_eq!(sections[0].rows.last().unwrap().name, "and 150 more");
}

/// The playbook says its cadence once, in a policy: nobody was reminded of a review there.
#[test]
fn a_review_is_due_by_the_care_that_binds_whoever_says_it() {
    let done =
        rollout("dreams", json!({}), json!({"completedAt": "2026-03-07T12:00:00Z", "state": "Completed"}));
    let standard: crate::api::RolloutPolicySpec = serde_json::from_value(json!({
        "monitoring": [{"name": "high", "interval": "1h", "reviewEvery": "24h"}]}))
    .unwrap();
    let cluster: crate::api::RolloutPolicySpec = serde_json::from_value(json!({
        "monitoring": [{"name": "lax", "interval": "1h", "reviewEvery": "999h"}]}))
    .unwrap();
    let own: FeatureRollout = rollout(
        "own",
        json!({"monitoring": [{"name": "mine", "interval": "1h", "reviewEvery": "2h"}]}),
        json!({"completedAt": "2026-03-07T12:00:00Z", "state": "Completed"}),
    );
    let bound = |rollout, policies: &[&'static str]| {
        let specs = policies.iter().map(|name| if *name == "standard" { &standard } else { &cluster });
        let monitoring = crate::plan::policy::monitoring(rollout, specs);
        let told = Told { rollout, monitoring, division: None };
        message(DigestKind::Status, &[told], "UTC").unwrap().text
    };
    let reviews = |text: String| {
        text.lines().skip_while(|line| *line != "Reviews that are due").nth(1).map(str::to_owned)
    };
    assert_eq!(
        reviews(bound(&done, &["standard", "cluster"])).as_deref(),
        Some("- maya/dreams: since Sun 2026-03-08 12:00 UTC (every 24h in the period high)")
    );
    assert_eq!(reviews(bound(&done, &["cluster", "standard"])), None, "the nearest decides");
    assert_eq!(reviews(bound(&done, &[])), None);
    assert_eq!(
        reviews(bound(&own, &["standard"])).as_deref(),
        Some("- maya/own: since Sat 2026-03-07 14:00 UTC (every 2h in the period mine)")
    );
}
