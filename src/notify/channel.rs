//! A NotificationChannel with everything that is needed to send to it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use url::Url;

use crate::api::metricsource::KeyRef;
use crate::api::notificationchannel::{
    Alertmanager, MAX_TIMEOUT_SECONDS, NotificationChannelSpec, PagerDuty, Slack, Webhook,
};
use crate::sources::outbound::{self, Outbound};
use crate::sources::{Secret, Wanted};

/// Time that sending one message may take where nothing is said.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Where Slack is.
const SLACK: &str = "https://slack.com/api";
/// Where PagerDuty takes events.
const PAGERDUTY: &str = "https://events.pagerduty.com/v2/enqueue";
/// What begins a key of Standard Webhooks.
const KEY_PREFIX: &str = "whsec_";

/// Where messages go, with what opens it.
#[derive(Clone, Debug)]
pub enum Endpoint {
    /// Slack's Web API.
    Slack {
        /// Its URL.
        base: Url,
        /// The channel, by ID or name.
        channel: String,
        /// Value of the Authorization header.
        authorization: Secret,
    },
    /// An incoming webhook of Slack.
    SlackWebhook(Url),
    /// A workflow of Teams.
    Teams(Url),
    /// A program that takes CloudEvents.
    Webhook {
        /// Where it takes them.
        url: Url,
        /// Keys to sign with.
        keys: Vec<Secret>,
    },
    /// PagerDuty's Events API.
    PagerDuty {
        /// Where it takes them.
        url: Url,
        /// The integration key.
        routing_key: Secret,
    },
    /// Alertmanager's API for alerts.
    Alertmanager {
        /// Where it takes them.
        url: Url,
        /// Value of the Authorization header.
        authorization: Option<Secret>,
    },
}

/// A channel, ready to be sent to.
#[derive(Clone, Debug)]
pub struct Channel {
    /// Where messages go.
    pub endpoint: Endpoint,
    /// Within what bounds.
    pub outbound: Outbound,
}

/// What must be read before the channel can be resolved.
pub fn wanted(spec: &NotificationChannelSpec) -> Vec<Wanted> {
    let mut keys: Vec<&KeyRef> = Vec::new();
    keys.extend(spec.slack.iter().map(|slack| &slack.token_secret_ref));
    keys.extend(spec.slack_webhook.iter().chain(&spec.teams).map(|url| &url.url_secret_ref));
    if let Some(webhook) = &spec.webhook {
        keys.extend(&webhook.url_secret_ref);
        keys.extend(&webhook.signing_secret_refs);
    }
    keys.extend(spec.pager_duty.iter().map(|pager| &pager.routing_key_secret_ref));
    let mut wanted: Vec<Wanted> = keys.into_iter().map(secret).collect();
    let basic = spec.alertmanager.as_ref().and_then(|manager| manager.basic_auth_secret_ref.as_ref());
    wanted.extend(basic.iter().flat_map(|basic| outbound::wanted_basic(&basic.name)));
    wanted.extend(outbound::wanted_for(spec.tls.as_ref()));
    wanted
}

fn secret(key: &KeyRef) -> Wanted {
    Wanted::Secret { name: key.name.clone(), key: key.key.clone() }
}

/// Puts a channel and what it wants together.
///
/// # Errors
/// Everything that is wrong with it, each with the path of its field; never a secret.
pub fn resolve(
    spec: &NotificationChannelSpec,
    found: &BTreeMap<Wanted, Secret>,
    api_server: Vec<SocketAddr>,
) -> Result<Channel, Vec<String>> {
    let mut problems = Vec::new();
    let timeout = match spec.timeout.map(|timeout| Duration::try_from(timeout.signed())) {
        None => TIMEOUT,
        Some(Ok(timeout))
            if !timeout.is_zero() && timeout <= Duration::from_secs(MAX_TIMEOUT_SECONDS.unsigned_abs()) =>
        {
            timeout
        }
        Some(_) => {
            problems
                .push(format!("spec.timeout: it must be more than 0s and at most {MAX_TIMEOUT_SECONDS}s"));
            TIMEOUT
        }
    };
    let outbound = Outbound::new(spec.tls.as_ref(), found, &spec.allow_addresses, timeout, api_server);
    let endpoint = endpoint(&Read(found), spec);
    match (endpoint, outbound, problems.is_empty()) {
        (Ok(endpoint), Ok(outbound), true) => Ok(Channel { endpoint, outbound }),
        (endpoint, outbound, _) => {
            problems.extend(endpoint.err());
            problems.extend(outbound.err().into_iter().flatten());
            Err(problems)
        }
    }
}

fn endpoint(read: &Read, spec: &NotificationChannelSpec) -> Result<Endpoint, String> {
    let given = [
        spec.slack.as_ref().map(|slack| read.slack(slack)),
        spec.slack_webhook.as_ref().map(|url| {
            read.url("spec.slackWebhook.urlSecretRef", &url.url_secret_ref).map(Endpoint::SlackWebhook)
        }),
        spec.teams
            .as_ref()
            .map(|url| read.url("spec.teams.urlSecretRef", &url.url_secret_ref).map(Endpoint::Teams)),
        spec.webhook.as_ref().map(|webhook| read.webhook(webhook)),
        spec.pager_duty.as_ref().map(|pager| read.pager_duty(pager)),
        spec.alertmanager.as_ref().map(|manager| read.alertmanager(manager)),
    ];
    let mut given: Vec<_> = given.into_iter().flatten().collect();
    match (given.pop(), given.is_empty()) {
        (Some(endpoint), true) => endpoint,
        _ => Err("spec: give exactly one of slack, slackWebhook, teams, webhook, pagerDuty and alertmanager"
            .to_owned()),
    }
}

/// What was read of Secrets.
struct Read<'a>(&'a BTreeMap<Wanted, Secret>);

impl Read<'_> {
    fn slack(&self, slack: &Slack) -> Result<Endpoint, String> {
        let token = self.word("spec.slack.tokenSecretRef", &slack.token_secret_ref)?;
        Ok(Endpoint::Slack {
            base: plain("spec.slack.url", slack.url.as_deref().unwrap_or(SLACK))?,
            channel: slack.channel.clone(),
            authorization: Secret::new(format!("Bearer {}", &*token).into_bytes()),
        })
    }

    fn webhook(&self, webhook: &Webhook) -> Result<Endpoint, String> {
        let url = match (&webhook.url, &webhook.url_secret_ref) {
            (Some(url), None) => plain("spec.webhook.url", url)?,
            (None, Some(key)) => self.url("spec.webhook.urlSecretRef", key)?,
            _ => return Err("spec.webhook: give exactly one of url and urlSecretRef".to_owned()),
        };
        let keys = webhook.signing_secret_refs.iter().enumerate().map(|(i, key)| {
            let path = format!("spec.webhook.signingSecretRefs[{i}]");
            let key = self.word(&path, key)?;
            let bytes = STANDARD.decode(key.strip_prefix(KEY_PREFIX).unwrap_or(&key)).ok();
            match bytes.filter(|bytes| (24..=64).contains(&bytes.len())) {
                Some(bytes) => Ok(Secret::new(bytes)),
                None => Err(format!("{path}: it is not {KEY_PREFIX} and 24 to 64 bytes in base64")),
            }
        });
        Ok(Endpoint::Webhook { url, keys: keys.collect::<Result<_, String>>()? })
    }

    fn pager_duty(&self, pager: &PagerDuty) -> Result<Endpoint, String> {
        let key = self.word("spec.pagerDuty.routingKeySecretRef", &pager.routing_key_secret_ref)?;
        Ok(Endpoint::PagerDuty {
            url: plain("spec.pagerDuty.url", pager.url.as_deref().unwrap_or(PAGERDUTY))?,
            routing_key: Secret::new(key.as_bytes().to_vec()),
        })
    }

    fn alertmanager(&self, manager: &Alertmanager) -> Result<Endpoint, String> {
        let mut url = plain("spec.alertmanager.url", &manager.url)?;
        url.set_path(&format!("{}/api/v2/alerts", url.path().trim_end_matches('/')));
        let authorization = match &manager.basic_auth_secret_ref {
            None => None,
            Some(secret) => {
                let path = "spec.alertmanager.basicAuthSecretRef";
                let [name, password] = outbound::wanted_basic(&secret.name).map(|wanted| {
                    outbound::text(&wanted, self.0).map_err(|error| format!("{path}: {error}"))
                });
                Some(outbound::basic(&name?, &password?))
            }
        };
        Ok(Endpoint::Alertmanager { url, authorization })
    }

    /// A text that can stand in a header.
    fn word(&self, path: &str, key: &KeyRef) -> Result<zeroize::Zeroizing<String>, String> {
        let text = outbound::text(&secret(key), self.0).map_err(|error| format!("{path}: {error}"))?;
        match text.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(text),
            false => Err(format!("{path}: it has characters that no key has")),
        }
    }

    fn url(&self, path: &str, key: &KeyRef) -> Result<Url, String> {
        let text = outbound::text(&secret(key), self.0).map_err(|error| format!("{path}: {error}"))?;
        plain(path, &text)
    }
}

fn plain(path: &str, text: &str) -> Result<Url, String> {
    outbound::url(text).map_err(|error| format!("{path}: {error}"))
}

#[cfg(test)]
mod tests {
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
    #[case(
        "{teams: {urlSecretRef: {name: s, key: k}}}",
        "not a url",
        "spec.teams.urlSecretRef: it is no URL"
    )]
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
    fn what_is_wrong_is_said_without_the_secret(
        #[case] spec: &str,
        #[case] secret: &str,
        #[case] says: &str,
    ) {
        let problems = resolved(spec, &[("k", secret)]).unwrap_err().join("; ");
        assert!(problems.contains(says) && !problems.contains("not a url"), "{problems}");
    }
}
