//! A browser as far as a server sees one: a host, an origin and a cookie.

use std::net::SocketAddr;

use reqwest::header::HeaderMap;
use reqwest::{Client, Method, StatusCode};

use crate::support::pause;

/// A browser. It follows no redirect by itself.
pub struct Browser {
    client: Client,
    address: SocketAddr,
    /// What it says it asks.
    pub host: String,
    origin: String,
    /// Its cookie.
    pub cookie: Option<String>,
    /// Headers that it sends instead of its own.
    pub headers: Vec<(&'static str, &'static str)>,
}

/// What it got.
pub struct Page {
    pub status: StatusCode,
    pub text: String,
    headers: HeaderMap,
}

impl Page {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn location(&self) -> &str {
        self.header("location")
    }
}

impl Browser {
    pub fn at(address: SocketAddr, origin: &str) -> Browser {
        let client =
            Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap();
        let host = origin.split_once("//").unwrap().1.to_owned();
        Browser { client, address, host, origin: origin.to_owned(), cookie: None, headers: Vec::new() }
    }

    pub async fn send(&mut self, method: Method, path: &str, body: Option<String>) -> Page {
        let is_form = body.is_some();
        let mut request = self.client.request(method, format!("http://{}{path}", self.address));
        let mut headers = vec![("host", self.host.as_str()), ("accept", "text/html")];
        if is_form {
            headers.extend([("origin", self.origin.as_str()), ("sec-fetch-site", "same-origin")]);
            headers.push(("content-type", "application/x-www-form-urlencoded"));
        }
        headers.retain(|(name, _)| !self.headers.iter().any(|(own, _)| own == name));
        headers.extend(self.headers.iter().copied());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        let answer = request.body(body.unwrap_or_default()).send().await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        if let Some(set) = headers.get("set-cookie") {
            self.cookie = set.to_str().unwrap().split(';').next().map(str::to_owned);
        }
        // A stream has no end.
        let is_stream = headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
        let text = if is_stream { String::new() } else { answer.text().await.unwrap() };
        Page { status, text, headers }
    }

    pub async fn get(&mut self, path: &str) -> Page {
        self.send(Method::GET, path, None).await
    }

    /// Sends a form with a reason.
    pub async fn form(&mut self, path: &str, csrf: &str, fields: &str) -> Page {
        let body = format!("csrf={csrf}&reason=because+it+has+to+be&{fields}");
        self.send(Method::POST, path, Some(body)).await
    }

    /// Bytes of an answer as they were sent, and how they are encoded.
    pub async fn raw(&mut self, path: &str) -> (usize, String) {
        let mut request =
            self.client.get(format!("http://{}{path}", self.address)).header("host", &self.host);
        for (name, value) in &self.headers {
            request = request.header(*name, *value);
        }
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        let answer = request.send().await.unwrap();
        let encoding =
            answer.headers().get("content-encoding").map(|value| value.to_str().unwrap().to_owned());
        (answer.bytes().await.unwrap().len(), encoding.unwrap_or_default())
    }

    /// The page once it says something.
    pub async fn until(&mut self, path: &str, says: &str) -> Page {
        for _ in 0..1200 {
            let page = self.get(path).await;
            if page.text.contains(says) {
                return page;
            }
            pause(100).await;
        }
        panic!("{path} never says {says}: {}", self.get(path).await.text);
    }

    /// The name of its session.
    pub fn session(&self) -> String {
        self.cookie.as_deref().unwrap().split_once('=').unwrap().1.to_owned()
    }

    /// A stream of what changes.
    pub async fn stream(&self) -> Stream {
        self.stream_of("/live").await
    }

    /// The stream of this address.
    pub async fn stream_of(&self, path: &str) -> Stream {
        let mut request =
            self.client.get(format!("http://{}{path}", self.address)).header("host", &self.host);
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        Stream { answer: request.send().await.unwrap(), text: String::new() }
    }
}

/// What a page hears.
pub struct Stream {
    answer: reqwest::Response,
    text: String,
}

impl Stream {
    /// Whether the page is told of changes at all.
    pub fn is_open(&self) -> bool {
        self.answer.status().is_success()
    }

    /// Waits until it has said something; returns all that it has said since the last time.
    pub async fn until(&mut self, says: &str) -> String {
        while !self.text.contains(says) {
            let heard = tokio::time::timeout(std::time::Duration::from_secs(60), self.answer.chunk()).await;
            let chunk = heard.unwrap_or_else(|_| panic!("it never says {says}: {}", self.text)).unwrap();
            let chunk = chunk.unwrap_or_else(|| panic!("it ends before it says {says}: {}", self.text));
            self.text.push_str(&String::from_utf8_lossy(&chunk));
        }
        std::mem::take(&mut self.text)
    }

    /// Waits until it has told of a change of an object, by its name or as one of all.
    pub async fn until_changed(&mut self, id: &str) {
        let all = "event: changed\ndata: *\n";
        for _ in 0..20 {
            let said = self.until("\n\n").await;
            if said.contains(id) || said.contains(all) {
                return;
            }
        }
        panic!("it never tells of a change of {id}");
    }
}

/// The value of a hidden field.
pub fn hidden(page: &str, name: &str) -> String {
    let start = format!("name=\"{name}\" value=\"");
    let (_, rest) = page.split_once(&start).unwrap_or_else(|| panic!("no field {name}: {page}"));
    rest.split('"').next().unwrap().to_owned()
}
