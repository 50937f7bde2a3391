use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use serde_json::json;
use sha2::Sha256;

use super::*;
use crate::api::notificationchannel::NotificationChannelSpec;
use crate::api::{Reason, Severity};
use crate::notify::message::{example, message};

fn spec() -> NotificationChannelSpec {
    serde_saphyr::from_str("{link: 'https://x.example/{{ name }}?a|b'}").unwrap()
}

fn entry(reason: Reason, severity: Severity) -> OutboxEntry {
    OutboxEntry { reason, severity, ..example() }
}

fn evil() -> OutboxEntry {
    let mut entry = entry(Reason::RolledBack, Severity::Critical);
    entry.message = "<!channel> @channel [x](https://evil.example) *b*\n\u{1b}[0m".to_owned();
    entry.rollout.title = Some("<!here> @here &".to_owned());
    entry
}

fn sent(endpoint: &Endpoint, entry: &OutboxEntry, thread: Option<&Thread>) -> Vec<(Request, Value)> {
    let requests = requests(endpoint, entry, &message(&spec(), entry), thread, now());
    requests
        .into_iter()
        .map(|request| {
            assert!(has_sendable_headers(&request));
            assert!(request.body.len() < 20_000, "{}", request.body.len());
            let body = serde_json::from_slice(&request.body).unwrap();
            (request, body)
        })
        .collect()
}

fn now() -> MicroTime {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn url() -> Url {
    "https://hooks.example/x".parse().unwrap()
}

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}

/// Every text of a kind anywhere in a body.
fn texts<'v>(value: &'v Value, field: &str, found: &mut Vec<&'v str>) {
    match value {
        Value::Object(map) => {
            for (name, below) in map {
                if name == field
                    && let Some(text) = below.as_str()
                {
                    found.push(text);
                }
                texts(below, field, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| texts(item, field, found)),
        _ => {}
    }
}

#[test]
fn slack_reads_no_markup_in_what_others_wrote() {
    let all = sent(&Endpoint::SlackWebhook(url()), &evil(), None);
    let [(request, body)] = &all[..] else { panic!() };
    assert_eq!(request.url, url());
    let text = body["text"].as_str().unwrap();
    assert!(text.starts_with("&lt;!here&gt; ＠here &amp;: rolled back"), "{text}");
    assert_eq!((&body["link_names"], &body["parse"]), (&json!(false), &json!("none")));
    let blocks = body["blocks"].as_array().unwrap();
    assert!(blocks.len() >= 4 && blocks[0]["type"] == "header", "{blocks:#?}");
    let mut found = Vec::new();
    texts(&body["blocks"], "text", &mut found);
    assert!(found.iter().any(|text| text.contains("＠channel") && text.contains("\\u{1b}")), "{found:#?}");
    for block in blocks {
        // Markup is read in the link alone, which is ours.
        let is_markup = block.to_string().contains("mrkdwn");
        assert_eq!(is_markup, block["type"] == "context", "{block:#}");
    }
    assert!(body.to_string().contains("<https://x.example/dreams?a%7Cb|Open the rollout>"), "{body:#}");
    assert!(!body.to_string().contains("@channel") && !body.to_string().contains("@here"));
}

#[test]
fn a_bot_makes_one_message_an_attempt_and_goes_on_in_its_thread() {
    let base = "https://slack.example/api/".parse().unwrap();
    let slack =
        Endpoint::Slack { base, channel: "#releases".to_owned(), authorization: secret("Bearer xoxb-1") };
    let first = sent(&slack, &example(), None);
    let [(request, body)] = &first[..] else { panic!() };
    assert_eq!(request.url.as_str(), "https://slack.example/api/chat.postMessage");
    assert_eq!((request.step, &body["channel"], body.get("ts")), (Step::Begin, &json!("#releases"), None));
    assert_eq!(request.headers, [(AUTHORIZATION, secret("Bearer xoxb-1"))]);
    let thread = Thread { uid: "u".to_owned(), attempt: 1, channel: "C9".to_owned(), ts: "1.2".to_owned() };
    let later = sent(&slack, &example(), Some(&thread));
    let [(edit, edited), (add, added)] = &later[..] else { panic!() };
    assert_eq!((edit.step, edit.url.path()), (Step::Edit, "/api/chat.update"));
    assert_eq!((&edited["channel"], &edited["ts"]), (&json!("C9"), &json!("1.2")));
    assert_eq!((add.step, add.url.path()), (Step::Whole, "/api/chat.postMessage"));
    assert_eq!((&added["channel"], &added["thread_ts"]), (&json!("C9"), &json!("1.2")));
}

#[test]
fn a_card_of_teams_is_of_a_version_that_it_shows_and_reads_no_markdown() {
    let all = sent(&Endpoint::Teams(url()), &evil(), None);
    let [(_, body)] = &all[..] else { panic!() };
    let attachment = &body["attachments"][0];
    assert_eq!(
        (&body["type"], &attachment["contentType"]),
        (&json!("message"), &json!("application/vnd.microsoft.card.adaptive"))
    );
    let card = &attachment["content"];
    assert_eq!((&card["type"], &card["version"]), (&json!("AdaptiveCard"), &json!("1.4")));
    for block in card["body"].as_array().unwrap() {
        assert_eq!(block["type"], "RichTextBlock", "a TextBlock would read Markdown: {block:#}");
    }
    assert!(card["body"].to_string().contains("[x](https://evil.example) *b*"));
    assert_eq!(card["actions"][0]["url"], "https://x.example/dreams?a|b");
    assert!(!body.to_string().contains("@channel"));
}

#[test]
fn a_webhook_gets_a_cloud_event_that_can_be_verified() {
    let key = [7u8; 24];
    let keys = vec![Secret::new(key.to_vec()), Secret::new(vec![8; 24])];
    let all = sent(&Endpoint::Webhook { url: url(), keys }, &evil(), None);
    let [(request, body)] = &all[..] else { panic!() };
    let header = |name: &str| {
        let found = request.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| String::from_utf8(value.bytes().to_vec()).unwrap()).unwrap_or_default()
    };
    assert_eq!(header("content-type"), "application/cloudevents+json; charset=utf-8");
    assert_eq!(header("webhook-id"), "00000000-0000-0000-0000-000000000000/1");
    assert_eq!(header("webhook-timestamp"), now().as_second().to_string());
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(format!("{}.{}.", header("webhook-id"), header("webhook-timestamp")).as_bytes());
    mac.update(&request.body);
    let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    let signatures = header("webhook-signature");
    assert_eq!(signatures.split(' ').next(), Some(expected.as_str()));
    assert_eq!(signatures.split(' ').count(), 2, "one for each key");
    assert_eq!(body["id"], header("webhook-id"));
    assert_eq!(
        (&body["specversion"], &body["type"]),
        (&json!("1.0"), &json!("dev.sluice.rollout.v1alpha1.RolledBack"))
    );
    assert_eq!(body["source"], "/apis/sluice.dev/v1alpha1/namespaces/maya/featurerollouts/dreams");
    assert_eq!((&body["data"]["severity"], &body["data"]["seq"]), (&json!("Critical"), &json!(1)));
    assert!(body["time"].as_str().unwrap().ends_with('Z'));

    let unsigned = sent(&Endpoint::Webhook { url: url(), keys: Vec::new() }, &evil(), None);
    assert!(unsigned[0].0.headers.iter().all(|(name, _)| name != "webhook-signature"));
}

#[test]
fn an_incident_of_pagerduty_is_triggered_acknowledged_and_resolved_by_one_key() {
    let pager = Endpoint::PagerDuty { url: url(), routing_key: secret("R1") };
    let mut acknowledged = entry(Reason::Acknowledged, Severity::Info);
    acknowledged.rollout.is_rolled_back = true;
    let actions: Vec<Value> = [
        entry(Reason::RolledBack, Severity::Critical),
        acknowledged,
        entry(Reason::RollbackVerified, Severity::Info),
    ]
    .iter()
    .flat_map(|entry| sent(&pager, entry, None))
    .map(|(_, body)| body)
    .collect();
    let named: Vec<&str> = actions.iter().map(|body| body["event_action"].as_str().unwrap()).collect();
    assert_eq!(named, ["trigger", "acknowledge", "resolve"]);
    for body in &actions {
        assert_eq!(body["dedup_key"], "sluice/00000000-0000-0000-0000-000000000000");
        assert_eq!(body["routing_key"], "R1");
    }
    let payload = &actions[0]["payload"];
    assert_eq!((&payload["severity"], &payload["source"]), (&json!("critical"), &json!("maya/dreams")));
    assert_eq!(payload["summary"], "Dreams: rolled back: step 1 of ga");
    assert!(sent(&pager, &entry(Reason::StepEntered, Severity::Info), None).is_empty());
}

#[test]
fn an_alert_fires_under_the_labels_that_resolve_it() {
    let url = "http://alerts.example/api/v2/alerts".parse().unwrap();
    let manager = Endpoint::Alertmanager { url, authorization: Some(secret("Basic eA==")) };
    let fired = sent(&manager, &entry(Reason::RolledBack, Severity::Critical), None);
    let (request, alerts) = &fired[0];
    assert_eq!(request.headers, [(AUTHORIZATION, secret("Basic eA=="))]);
    let labels = json!({"alertname": "SluiceRollout", "namespace": "maya", "rollout": "dreams", "severity": "critical"});
    assert_eq!(alerts[0]["labels"], labels);
    assert_eq!(alerts.as_array().unwrap().len(), 1);
    assert_eq!(alerts[0]["endsAt"], "1970-01-02T00:00:00.000Z", "a day after it began");
    let over = sent(&manager, &entry(Reason::RollbackVerified, Severity::Info), None);
    let ends: Vec<&Value> = over[0].1.as_array().unwrap().iter().collect();
    assert_eq!(ends.len(), 2, "at every severity");
    assert!(ends.iter().any(|alert| alert["labels"] == labels));
    assert!(ends.iter().all(|alert| alert["endsAt"] == "1970-01-01T00:00:00.000Z"));
}

/// What these pass on ends in chats that others have connected with them.
#[test]
fn what_is_passed_on_to_chats_calls_nobody_there() {
    let manager = Endpoint::Alertmanager { url: url(), authorization: None };
    let pager = Endpoint::PagerDuty { url: url(), routing_key: secret("R1") };
    for endpoint in [manager, pager] {
        let body = sent(&endpoint, &evil(), None).remove(0).1.to_string();
        assert!(!body.contains("@channel") && !body.contains("@here"), "{body}");
        assert!(body.contains("＠channel") && body.contains("＠here"), "{body}");
    }
}
