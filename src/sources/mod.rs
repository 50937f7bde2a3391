//! Where measurements come from: queries to providers that admins allow, and strict readings of their answers.
//!
//! `prepare` makes a finished query from a template and arguments, `resolve` puts a MetricSource and its secrets
//! together, and [`Sources`] asks. Nothing that a provider sends gets into a message.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use jiff::SignedDuration;
use url::Url;
use url::form_urlencoded::Serializer;

use crate::api::metricsource::Circuit;
use crate::api::{MicroTime, Reading};

mod address;
mod args;
mod breaker;
mod cache;
mod cause;
mod circuits;
mod client;
mod failure;
mod http_json;
mod json_path;
mod limits;
mod nesting;
pub mod outbound;
mod parameters;
mod place;
mod prepare;
mod prometheus;
mod promql;
mod reduce;
mod request;
mod resolved;
mod secret;
mod silent;
mod spelling;
mod stream;

pub use crate::clock::Monotonic;
pub use args::unused as unused_args;
pub use prepare::{check, is_alert, is_silent, prepare};
pub use request::{Context, Query, Readings, Request};
pub use resolved::{Dialect, Resolved, Wanted, resolve, wanted};
pub use secret::Secret;

use client::Call;
use failure::Failure;
use request::Ask;
use resolved::Parts;

/// Most instants of one backfill.
pub const LONGEST_BACKFILL: i64 = 1000;

/// What all sources have in common.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where the API server listens: no source may be there unless `allowAddresses` names the address itself.
    pub api_server: Vec<SocketAddr>,
    /// Time that only moves forward, for limits and circuits.
    pub monotonic: Monotonic,
}

/// Asks sources: within their limits, each question of a slot once, and never one on behalf of another.
#[derive(Clone, Debug)]
pub struct Sources(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: Options,
    limits: limits::Limits,
    cache: cache::Cache,
}

impl Sources {
    /// Sources that nobody has asked yet.
    pub fn new(options: Options) -> Sources {
        Sources(Arc::new(Inner {
            options,
            limits: limits::Limits::default(),
            cache: cache::Cache::default(),
        }))
    }

    /// What a source says to a request now. An equal request of the same slot shares the answer.
    pub async fn measure(&self, source: &Resolved, request: &Request) -> Readings {
        let key = cache::Key::new(&source.0, request);
        let cell = self.0.cache.cell(&key, self.0.options.monotonic.now());
        let mut asked = true;
        let readings = cell
            .get_or_init(async || match self.0.instant(&source.0, request).await {
                Ok(readings) => readings,
                Err(failure) => {
                    asked = !failure.was_not_asked();
                    let reading = Reading::Error(failure.to_string());
                    match failure {
                        Failure::Limited => Readings::Unasked(reading),
                        _ => Readings::everybody(reading, request.per_cohort.as_deref()),
                    }
                }
            })
            .await
            .clone();
        if !asked {
            self.0.cache.forget(&key, &cell);
        }
        readings
    }

    /// What a source would have said at `from` and every `step` from there, up to and including `to`.
    ///
    /// # Errors
    /// Why it says nothing, in words that hold nothing of its answer.
    pub async fn backfill(
        &self,
        source: &Resolved,
        request: &Request,
        from: MicroTime,
        to: MicroTime,
        step: SignedDuration,
    ) -> Result<Vec<(MicroTime, Readings)>, String> {
        let Ask::Promql { query, count } = &request.query.ask else {
            return Err("the source knows only the present".to_owned());
        };
        if !can_backfill(source) {
            return Err(Failure::Query.to_string());
        }
        let instants = instants(from, to, step)?;
        let label = request.per_cohort.as_deref();
        let ask = async |query: &str| {
            let form = [("start", seconds(from)), ("end", seconds(to)), ("step", decimal(step.as_millis()))];
            let body = self.0.prometheus(&source.0, request, "query_range", query, &form).await?;
            prometheus::range(&body, label)
        };
        let work = async {
            let answers = ask(query).await?;
            let counts = match count {
                Some(count) => Some(ask(count).await?),
                None => None,
            };
            Ok((answers, counts))
        };
        let (answers, counts) = self
            .0
            .limits
            .pass(&source.0, &request.query, &self.0.options.monotonic, work)
            .await
            .map_err(|failure| failure.to_string())?;
        let readings = |at: MicroTime| {
            let answer = answers.get(&at).map_or(&[][..], Vec::as_slice);
            let count = counts.as_ref().map(|counts| counts.get(&at).map_or(&[][..], Vec::as_slice));
            (at, reduce::readings(answer, count, &request.query, label, at))
        };
        Ok(instants.into_iter().map(readings).collect())
    }

    /// Whether a source is sent queries, by its UID: as it is for all who ask.
    pub fn circuit(&self, uid: &str) -> Circuit {
        self.0.limits.circuit(uid, &self.0.options.monotonic)
    }

    /// Why a source is sent none, by its UID, in words that hold nothing of what it sent; `None` where it is sent queries.
    pub fn cause(&self, uid: &str) -> Option<&'static str> {
        self.0.limits.cause(uid, &self.0.options.monotonic)
    }

    /// Forgets the sources that are not among these UIDs.
    pub fn retain(&self, uids: &BTreeSet<String>) {
        self.0.limits.retain(uids);
    }
}

/// What a source says to a query whose answer has this body.
///
/// # Errors
/// Why it says nothing, in words that hold nothing of the body.
pub fn read(query: &Query, body: &[u8], label: Option<&str>, at: MicroTime) -> Result<Readings, String> {
    let answer = match &query.ask {
        Ask::Promql { .. } => prometheus::instant(body, label),
        Ask::Json { path, .. } => {
            http_json::parse(body).and_then(|body| http_json::answer(&body, path, label))
        }
    };
    let answer = answer.map_err(|failure| failure.to_string())?;
    Ok(reduce::readings(&answer, None, query, label, at))
}

/// Whether a source can say what it would have said in the past.
pub fn can_backfill(source: &Resolved) -> bool {
    source.0.dialect == Dialect::Prometheus
}

impl Inner {
    async fn instant(&self, source: &Parts, request: &Request) -> Result<Readings, Failure> {
        let label = request.per_cohort.as_deref();
        let work = async {
            match (&request.query.ask, source.dialect) {
                (Ask::Promql { query, count }, Dialect::Prometheus) => {
                    let ask = async |query: &str| {
                        let form = [("time", seconds(request.at))];
                        let body = self.prometheus(source, request, "query", query, &form).await?;
                        prometheus::instant(&body, label)
                    };
                    let answer = ask(query).await?;
                    let count = match count {
                        Some(count) => Some(ask(count).await?),
                        None => None,
                    };
                    Ok((answer, count))
                }
                (Ask::Json { parameters, path, count }, Dialect::Json) => {
                    let mut url = source.url.clone();
                    if !parameters.is_empty() {
                        url.query_pairs_mut().extend_pairs(parameters);
                    }
                    let tenant = request.query.tenant.as_ref();
                    let body = client::send(source, &self.options.api_server, Call::Get(url), tenant).await?;
                    let body = http_json::parse(&body)?;
                    let answer = http_json::answer(&body, path, label)?;
                    let count = count.as_ref().map(|count| http_json::answer(&body, count, label));
                    Ok((answer, count.transpose()?))
                }
                _ => Err(Failure::Query),
            }
        };
        let (answer, count) = self.limits.pass(source, &request.query, &self.options.monotonic, work).await?;
        Ok(reduce::readings(&answer, count.as_deref(), &request.query, label, request.at))
    }

    async fn prometheus(
        &self,
        source: &Parts,
        request: &Request,
        endpoint: &str,
        query: &str,
        more: &[(&str, String)],
    ) -> Result<Vec<u8>, Failure> {
        let form = Serializer::new(String::new()).append_pair("query", query).extend_pairs(more).finish();
        let call = Call::Post(below(&source.url, endpoint), form);
        client::send(source, &self.options.api_server, call, request.query.tenant.as_ref()).await
    }
}

/// The URL of an endpoint of Prometheus' API below a source's own path.
fn below(base: &Url, endpoint: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/api/v1/{endpoint}", base.path().trim_end_matches('/')));
    url
}

fn seconds(at: MicroTime) -> String {
    decimal(i128::from(at.as_millisecond()))
}

/// Milliseconds as seconds with three digits.
fn decimal(millis: i128) -> String {
    let sign = if millis < 0 { "-" } else { "" };
    let millis = millis.unsigned_abs();
    format!("{sign}{}.{:03}", millis / 1000, millis % 1000)
}

/// The instants of a backfill, in whole milliseconds as the source counts them.
fn instants(from: MicroTime, to: MicroTime, step: SignedDuration) -> Result<Vec<MicroTime>, String> {
    let step = i64::try_from(step.as_millis()).unwrap_or_default();
    let (from, to) = (from.as_millisecond(), to.as_millisecond());
    if step <= 0 || to < from || (to - from) / step >= LONGEST_BACKFILL {
        return Err(format!("a backfill has 1 to {LONGEST_BACKFILL} instants"));
    }
    let instants = (0..=(to - from) / step).map(|i| MicroTime::from_millisecond(from + i * step));
    instants.collect::<Result<_, _>>().map_err(|error| error.to_string())
}
