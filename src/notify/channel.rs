//! A NotificationChannel with everything that is needed to send to it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lettre::message::Mailbox;
use url::Url;

use super::schedule::Schedule;
use crate::api::metricsource::KeyRef;
use crate::api::notificationchannel::{
    Alertmanager, Digest, Email, MAX_TIMEOUT_SECONDS, MailSecurity, NotificationChannelSpec, PagerDuty,
    Slack, Webhook,
};
use crate::sources::outbound::{self, Outbound};
use crate::sources::{Secret, Wanted};
use crate::visible;

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
    /// An SMTP server.
    Email(Box<Mail>),
    /// Alertmanager's API for alerts.
    Alertmanager {
        /// Where it takes them.
        url: Url,
        /// Value of the Authorization header.
        authorization: Option<Secret>,
    },
}

/// An SMTP server, and whom it is to carry letters to.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Name or address of the server.
    pub server: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub security: MailSecurity,
    /// The sender.
    pub from: Mailbox,
    /// The recipients.
    pub to: Vec<Mailbox>,
    /// User name and password.
    pub credentials: Option<(String, Secret)>,
}

/// A digest and its times.
#[derive(Clone, Debug)]
pub struct Planned {
    /// What the spec says of it.
    pub digest: Digest,
    /// When it is sent.
    pub schedule: Schedule,
}

/// A channel, ready to be sent to.
#[derive(Clone, Debug)]
pub struct Channel {
    /// Where messages go.
    pub endpoint: Endpoint,
    /// Within what bounds.
    pub outbound: Outbound,
    /// What is summed up when.
    pub digests: Vec<Planned>,
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
    let basic = basic.or(spec.email.as_ref().and_then(|email| email.auth_secret_ref.as_ref()));
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
    let mut digests = Vec::new();
    for (i, digest) in spec.digests.iter().enumerate() {
        match Schedule::new(&digest.schedule, digest.time_zone.as_deref()) {
            Ok(schedule) => digests.push(Planned { digest: digest.clone(), schedule }),
            Err((field, error)) => problems.push(format!("spec.digests[{i}].{field}: {error}")),
        }
    }
    match (endpoint, outbound, problems.is_empty()) {
        (Ok(endpoint), Ok(outbound), true) => Ok(Channel { endpoint, outbound, digests }),
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
        spec.email.as_ref().map(|email| read.email(email)),
    ];
    let mut given: Vec<_> = given.into_iter().flatten().collect();
    match (given.pop(), given.is_empty()) {
        (Some(endpoint), true) => endpoint,
        _ => Err("spec: give exactly one of slack, slackWebhook, teams, webhook, pagerDuty, alertmanager and email"
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

    fn email(&self, email: &Email) -> Result<Endpoint, String> {
        let mailbox = |path: &str, text: &str| {
            text.parse::<Mailbox>().map_err(|_| format!("{path}: {} is no address", visible::line(text)))
        };
        let from = mailbox("spec.email.from", &email.from)?;
        let to = email.to.iter().enumerate().map(|(i, to)| mailbox(&format!("spec.email.to[{i}]"), to));
        let credentials = match &email.auth_secret_ref {
            None => None,
            Some(_) if email.security == MailSecurity::Plain => {
                return Err("spec.email.authSecretRef: without TLS nobody is told a password".to_owned());
            }
            Some(secret) => {
                let path = "spec.email.authSecretRef";
                let [name, password] = outbound::wanted_basic(&secret.name).map(|wanted| {
                    outbound::text(&wanted, self.0).map_err(|error| format!("{path}: {error}"))
                });
                Some((name?.to_string(), Secret::new(password?.as_bytes().to_vec())))
            }
        };
        let port = match (email.port, email.security) {
            (Some(port), _) => {
                u16::try_from(port).map_err(|_| "spec.email.port: it is no port".to_owned())?
            }
            (None, MailSecurity::StartTls) => 587,
            (None, MailSecurity::Tls) => 465,
            (None, MailSecurity::Plain) => 25,
        };
        let (server, security) = (email.server.clone(), email.security);
        let to = to.collect::<Result<Vec<Mailbox>, String>>()?;
        Ok(Endpoint::Email(Box::new(Mail { server, port, security, from, to, credentials })))
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
mod tests;
