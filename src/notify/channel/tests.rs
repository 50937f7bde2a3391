use rstest::rstest;

use super::*;

fn resolved(spec: &str, secrets: &[(&str, &str)]) -> Result<Channel, Vec<String>> {
    let spec: NotificationChannelSpec = serde_saphyr::from_str(spec).unwrap();
    let found: BTreeMap<Wanted, Secret> = secrets
        .iter()
        .map(|(key, value)| {
            let wanted = Wanted::Secret { name: "s".to_owned(), key: (*key).to_owned() };
            (wanted, Secret::new(value.as_bytes().to_vec()))
        })
        .collect();
    resolve(&spec, &found, Vec::new())
}

#[rstest]
#[case("{slack: {channel: C1, tokenSecretRef: {name: s, key: k}}}", "xoxb-1\n")]
#[case("{slackWebhook: {urlSecretRef: {name: s, key: k}}}", "https://hooks.example/x")]
#[case("{teams: {urlSecretRef: {name: s, key: k}}}", "https://hooks.example/x?sig=1")]
#[case("{webhook: {urlSecretRef: {name: s, key: k}}}", "http://hooks.example/x")]
#[case(
    "{webhook: {url: 'http://a.example', signingSecretRefs: [{name: s, key: k}]}}",
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
)]
#[case("{pagerDuty: {routingKeySecretRef: {name: s, key: k}}}", "R0123")]
fn channels_with_their_secrets(#[case] spec: &str, #[case] secret: &str) {
    resolved(spec, &[("k", secret)]).unwrap();
    let missing = resolved(spec, &[]).unwrap_err();
    assert!(missing.len() == 1 && missing[0].contains("Secret \"s\" has no key \"k\""), "{missing:?}");
}

#[rstest]
#[case("{}", "k", "exactly one of")]
#[case("{teams: {urlSecretRef: {name: s, key: k}}}", "not a url", "spec.teams.urlSecretRef: it is no URL")]
#[case("{teams: {urlSecretRef: {name: s, key: k}}}", "ftp://x", "http or https")]
#[case("{slack: {channel: C1, tokenSecretRef: {name: s, key: k}}}", "a b", "no key has")]
#[case(
    "{webhook: {url: 'http://a.example', signingSecretRefs: [{name: s, key: k}]}}",
    "short",
    "24 to 64 bytes"
)]
#[case("{pagerDuty: {routingKeySecretRef: {name: s, key: k}}, timeout: 31s}", "R", "spec.timeout")]
#[case(
    "{pagerDuty: {routingKeySecretRef: {name: s, key: k}}, allowAddresses: ['x/1']}",
    "R",
    "spec.allowAddresses[0]"
)]
fn what_is_wrong_is_said_without_the_secret(#[case] spec: &str, #[case] secret: &str, #[case] says: &str) {
    let problems = resolved(spec, &[("k", secret)]).unwrap_err().join("; ");
    assert!(problems.contains(says) && !problems.contains("not a url"), "{problems}");
}

fn mail(more: &str) -> Result<Channel, Vec<String>> {
    let spec =
        format!("{{email: {{server: mail.example, from: 'S <s@a.example>', to: [b@a.example]{more}}}}}");
    resolved(&spec, &[("username", "u"), ("password", "p")])
}

#[rstest]
#[case("", 587)]
#[case(", security: Tls", 465)]
#[case(", security: Plain", 25)]
#[case(", port: 2525", 2525)]
fn where_letters_go(#[case] more: &str, #[case] port: u16) {
    let Endpoint::Email(mail) = mail(more).unwrap().endpoint else { panic!() };
    assert_eq!((mail.port, mail.to.len(), mail.credentials), (port, 1, None));
}

#[rstest]
#[case(", authSecretRef: {name: s}, security: Plain", "without TLS nobody is told a password")]
#[case(", authSecretRef: {name: other}", "Secret \"other\" has no key \"username\"")]
fn letters_that_cannot_be_sent(#[case] more: &str, #[case] says: &str) {
    let problems = mail(more).unwrap_err().join("; ");
    assert!(problems.contains(says), "{problems}");
}

#[test]
fn a_password_is_read_and_not_shown() {
    let channel = mail(", authSecretRef: {name: s}").unwrap();
    assert!(format!("{channel:?}").contains("Secret(…)"), "{channel:?}");
}

#[rstest]
#[case("name: d, kind: Status, schedule: '0 0 30 2 *'", "spec.digests[0].schedule: it never comes")]
#[case("name: d, kind: Status, schedule: '* * * * *'", "every quarter of an hour")]
#[case("name: d, kind: Status, schedule: 'often'", "spec.digests[0].schedule")]
#[case("name: d, kind: Status, schedule: '0 9 * * *', timeZone: Mars/Olympus", "spec.digests[0].timeZone")]
fn digests_that_never_or_always_come_are_refused(#[case] digest: &str, #[case] says: &str) {
    let spec = format!("{{webhook: {{url: 'http://a.example'}}, digests: [{{{digest}}}]}}");
    let problems = resolved(&spec, &[]).unwrap_err().join("; ");
    assert!(problems.contains(says), "{problems}");
}
