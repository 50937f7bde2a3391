//! The clients of a controller process.
//!
//! A token in a file is replaced while the process runs. kube reads that file about once a minute; where the old token is
//! revoked sooner, every call would fail until then. So an answer that the token is not known (401) has the file read at
//! once, and where it holds another token the call is made again with that: what was answered so was not done.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use http::{Request, Response, StatusCode};
use kube::client::Body;
use kube::{Client, Config};
use tower_service::Service;
use zeroize::Zeroizing;

use super::ControllerError;
use super::leader::Timing;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A client for the controller: its calls are bounded here and are never silently repeated inside of one, but for those
/// that the API server has not looked at because the token had been replaced.
///
/// # Errors
/// When the configuration cannot be used.
pub fn client(mut config: Config) -> Result<Client, ControllerError> {
    config.default_retry = false;
    let present = made(&config).map_err(|error| ControllerError::Client(Box::new(error)))?;
    // A token that is given besides a file is used instead of it, and stays as it is.
    let file = config.auth_info.token_file.clone().filter(|_| config.auth_info.token.is_none());
    let Some(file) = file.map(PathBuf::from) else { return Ok(present.client) };
    let namespace = config.default_namespace.clone();
    let renewing = Renewing { config, file, present: Arc::new(Mutex::new(present)) };
    Ok(Client::new(renewing, namespace))
}

/// A client for the election: its own connections, and a wait for them that leaves time for another try.
///
/// # Errors
/// When the configuration cannot be used.
pub fn election_client(mut config: Config, timing: &Timing) -> Result<Client, ControllerError> {
    config.connect_timeout = Some(timing.call());
    client(config)
}

/// A client, and what the file of its token held when it was made.
#[derive(Clone)]
struct Present {
    client: Client,
    token: Option<Token>,
}

type Token = Zeroizing<String>;

/// Calls a client that is made anew when the API server does not know its token any more.
#[derive(Clone)]
struct Renewing {
    config: Config,
    file: PathBuf,
    present: Arc<Mutex<Present>>,
}

impl Renewing {
    fn present(&self) -> Present {
        self.present.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A client by the token that is in the file now; `None` where it is the one that was `used`, or no client can be made.
    fn renewed(&self, used: &Present) -> Option<Client> {
        let token = read(&self.file)?;
        if used.token.as_ref() == Some(&token) {
            return None;
        }
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        if present.token.as_ref() != Some(&token) {
            *present = Present { token: Some(token), ..made(&self.config).ok()? };
            tracing::info!(
                "the API server knows the token no more; the one in its file now is used from here on"
            );
        }
        Some(present.client.clone())
    }
}

fn made(config: &Config) -> kube::Result<Present> {
    // Read before the client reads it: where it is replaced in between it only is read once more.
    let token = config.auth_info.token_file.as_ref().and_then(|file| read(&PathBuf::from(file)));
    Ok(Present { client: Client::try_from(config.clone())?, token })
}

/// The token in a file. It is as short as a header may be, and kube reads it in the same way.
fn read(file: &PathBuf) -> Option<Token> {
    std::fs::read_to_string(file).ok().map(Zeroizing::new)
}

impl Service<Request<Body>> for Renewing {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // The client waits for itself when it sends.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let renewing = self.clone();
        Box::pin(async move {
            let again = copy(&request);
            let used = renewing.present();
            let answer = used.client.send(request).await?;
            if answer.status() != StatusCode::UNAUTHORIZED {
                return Ok(answer);
            }
            match again.and_then(|again| Some((again, renewing.renewed(&used)?))) {
                Some((again, client)) => Ok(client.send(again).await?),
                None => Ok(answer),
            }
        })
    }
}

/// The same request once more, where its body is at hand.
fn copy(request: &Request<Body>) -> Option<Request<Body>> {
    let mut copy = Request::new(request.body().try_clone()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}
