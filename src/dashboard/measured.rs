//! What was measured lately: asked of the controller with the person's own token, which goes over TLS to whoever the operator's
//! authority vouches for, and nowhere else.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::http::HeaderValue;
use url::Url;

use super::lock;
use super::person::Person;
use crate::api::measured::Measured;
use crate::clock::monotonic;
use crate::sources::outbound::{Outbound, Unsent};
use crate::visible::line;

/// How long the controller may take. A page waits for it.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a controller that was not reached is left alone: pages are shown without it at once meanwhile.
const AGAIN: Duration = Duration::from_secs(10);
/// Most addresses of one name that are asked.
const MOST_ADDRESSES: usize = 8;

/// Reads measurements in this process, of whoever may be shown them: namespace and name of a rollout that the person has read.
pub type Reader = Arc<dyn Fn(&str, &str) -> Option<Measured> + Send + Sync>;

/// Where measurements come from.
pub enum Measurements {
    /// From nowhere: nobody has said where the controller answers.
    Nowhere,
    /// From a controller in this process.
    Here(Reader),
    /// From a controller in the cluster.
    At(Box<Controller>),
}

/// A controller in the cluster.
pub struct Controller {
    url: Url,
    certificates: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The certificates as they were read last, and what was made of them.
    trusting: Option<(String, Arc<Outbound>)>,
    /// Where the process that measures was found last.
    measures: Option<SocketAddr>,
    /// Since when there is no answer, and why.
    failed: Option<(Instant, String)>,
}

impl Controller {
    /// One that tells its measurements at this address, under a certificate that the authority of this file vouches for. The
    /// file is read anew whenever it is needed: it may come, and change.
    ///
    /// # Errors
    /// The address is not one that a token may be sent to.
    pub fn new(url: Url, certificates: PathBuf) -> Result<Controller, String> {
        match url.scheme() == "https" && url.host().is_some() {
            true => Ok(Controller { url, certificates, state: Mutex::default() }),
            false => Err(format!("{url} does not begin with https: people's tokens are sent there")),
        }
    }

    async fn ask(&self, person: &Person, namespace: &str, name: &str) -> Result<Measured, String> {
        if let Some((at, why)) = lock(&self.state).failed.clone()
            && at.elapsed() < AGAIN
        {
            return Err(why);
        }
        let answer = self.asked(person, namespace, name).await;
        lock(&self.state).failed = match &answer {
            Err(Trouble::Unreached(why)) => Some((monotonic(), why.clone())),
            Ok(_) | Err(Trouble::Refused(_)) => None,
        };
        answer.map_err(|trouble| match trouble {
            Trouble::Refused(why) | Trouble::Unreached(why) => why,
        })
    }

    async fn asked(&self, person: &Person, namespace: &str, name: &str) -> Result<Measured, Trouble> {
        let token = person.bearer().await.ok_or_else(|| {
            let why = "the API server knows you by something else than a token, and the controller can be shown nothing else";
            Trouble::Refused(why.to_owned())
        })?;
        let outbound = self.outbound().await?;
        let mut url = self.url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["measurements", namespace, name]);
        }
        let addresses = outbound.addresses(&url).await.map_err(unreached)?;
        self.ask_each(&outbound, addresses, &url, &token).await
    }

    /// Asks one address after the other until one has measured: each is another process, and one of them leads.
    async fn ask_each(
        &self,
        outbound: &Outbound,
        mut addresses: Vec<SocketAddr>,
        url: &Url,
        token: &HeaderValue,
    ) -> Result<Measured, Trouble> {
        addresses.truncate(MOST_ADDRESSES);
        // The one that has measured before most likely still does.
        let last = lock(&self.state).measures;
        addresses.sort_by_key(|address| Some(*address) != last);
        let mut trouble = Trouble::Unreached("its name has no address".to_owned());
        for address in addresses {
            let reply = match outbound.get_at(address, url, token).await {
                Ok(reply) => reply,
                Err(unsent) => {
                    trouble = unreached(unsent);
                    continue;
                }
            };
            match reply.status {
                200 => {
                    lock(&self.state).measures = Some(address);
                    return serde_json::from_slice(&reply.body)
                        .map_err(|_| Trouble::Refused("the controller is of another version".to_owned()));
                }
                // It stands by.
                421 => {
                    trouble =
                        Trouble::Unreached("no process of the controller leads at the moment".to_owned())
                }
                _ => {
                    let said = String::from_utf8_lossy(&reply.body).chars().take(200).collect::<String>();
                    return Err(Trouble::Refused(format!("the controller says: {}", line(&said))));
                }
            }
        }
        Err(trouble)
    }

    async fn outbound(&self) -> Result<Arc<Outbound>, Trouble> {
        let file = self.certificates.display();
        let pem = tokio::fs::read_to_string(&self.certificates).await.map_err(|error| {
            Trouble::Refused(format!(
                "the certificates that the controller is known by, {file}, cannot be read yet: {error}"
            ))
        })?;
        let mut state = lock(&self.state);
        if let Some((known, outbound)) = &state.trusting
            && *known == pem
        {
            return Ok(outbound.clone());
        }
        let outbound = Outbound::trusting(Some(&pem), &self.url, PATIENCE)
            .map_err(|why| Trouble::Refused(format!("{file}: {why}")))?;
        let outbound = Arc::new(outbound);
        state.trusting = Some((pem, outbound.clone()));
        Ok(outbound)
    }
}

/// Why there are no measurements.
enum Trouble {
    /// This person, or this rollout, has none.
    Refused(String),
    /// Nobody has any now.
    Unreached(String),
}

fn unreached(unsent: Unsent) -> Trouble {
    Trouble::Unreached(format!("the controller is not reached: {unsent}"))
}

impl Measurements {
    /// What was measured lately of a rollout that the person has just read.
    ///
    /// # Errors
    /// Why there is nothing, in a line for people.
    pub async fn of(&self, person: &Person, namespace: &str, name: &str) -> Result<Measured, String> {
        match self {
            Measurements::Nowhere => {
                Err("nobody has told this panel where the controller answers".to_owned())
            }
            Measurements::Here(reader) => {
                reader(namespace, name).ok_or_else(|| "the controller has not begun yet".to_owned())
            }
            Measurements::At(controller) => controller.ask(person, namespace, name).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::get;

    use super::*;
    use crate::server::stub::{Authority, port};

    /// A process of the controller that always answers the same.
    async fn process(authority: &Authority, status: StatusCode, body: &'static str) -> SocketAddr {
        let answer = get(move || async move { (status, body) });
        authority.serve(port().await, Router::new().route("/measurements/{namespace}/{name}", answer)).await
    }

    #[tokio::test]
    async fn of_several_processes_the_one_that_measures_is_found_and_asked_first_from_then_on() {
        let authority = Authority::made();
        let standby = process(&authority, StatusCode::MISDIRECTED_REQUEST, "stands by").await;
        let leader = process(&authority, StatusCode::OK, r#"{"series": []}"#).await;
        let stranger = process(&Authority::made(), StatusCode::OK, r#"{"series": []}"#).await;
        let url: Url = "https://localhost/measurements/maya/dreams".parse().unwrap();
        let outbound = Outbound::trusting(Some(&authority.pem), &url, PATIENCE).unwrap();
        let controller = Controller::new(url.clone(), PathBuf::new()).unwrap();
        let token = HeaderValue::from_static("Bearer x");
        let ask = async |addresses: &[SocketAddr]| {
            let asked = controller.ask_each(&outbound, addresses.to_vec(), &url, &token).await;
            asked.map_err(|trouble| match trouble {
                Trouble::Refused(why) => format!("refused: {why}"),
                Trouble::Unreached(why) => why,
            })
        };
        assert_eq!(ask(&[stranger, standby, leader]).await, Ok(Measured::default()));
        assert_eq!(lock(&controller.state).measures, Some(leader));
        assert_eq!(ask(&[standby]).await, Err("no process of the controller leads at the moment".to_owned()));
        assert_eq!(
            ask(&[stranger]).await,
            Err("the controller is not reached: the TLS connection failed".to_owned())
        );
        assert_eq!(ask(&[]).await, Err("its name has no address".to_owned()));
        let refuses = process(&authority, StatusCode::FORBIDDEN, "you may not\n<b>").await;
        let refused = ask(&[refuses]).await.unwrap_err();
        assert!(
            refused.starts_with("refused: the controller says: you may not") && !refused.contains('\n'),
            "{refused}"
        );
    }

    #[test]
    fn a_token_is_sent_over_tls_or_not_at_all() {
        for bad in ["http://sluice-measurements.sluice-system.svc:8443", "ftp://x", "unix:/x"] {
            let refused = Controller::new(bad.parse().unwrap(), PathBuf::new()).err();
            assert!(refused.is_some_and(|why| why.contains("does not begin with https")), "{bad}");
        }
        assert!(
            Controller::new(
                "https://sluice-measurements.sluice-system.svc:8443".parse().unwrap(),
                PathBuf::new()
            )
            .is_ok()
        );
    }
}
