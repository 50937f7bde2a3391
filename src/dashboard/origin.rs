//! What a request must be before anything looks at it, and what every answer says to the browser.
//!
//! A page of another site may make a browser send requests here, with the person's cookie where a rule of the browser
//! fails. So a request has to name this panel as its host (against names that are made to point here), and what acts has
//! to come from a page of this panel, by two headers that no script can write, besides the token in the form.

use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Method, StatusCode, Uri};

/// What every answer carries. There is no `unsafe-` anything: no script, style or picture comes from a text of a page.
pub const HEADERS: [(HeaderName, HeaderValue); 8] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
             form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
    ),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    // `no-referrer` would make browsers send `Origin: null` with a form.
    (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("camera=(), geolocation=(), microphone=()"),
    ),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// The names under which the panel is reached.
#[derive(Clone, Debug)]
pub struct Origins {
    /// Each as the header `Host` has it: with the port, unless it is the scheme's own.
    hosts: Vec<String>,
    /// Each as the header `Origin` has it.
    origins: Vec<String>,
}

/// Why a request is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Whoever made it took another name for ours.
    #[error("this panel has another name: use the address that it was announced under")]
    Host,
    /// Nothing here is done by this method.
    #[error("only GET, HEAD and POST are answered")]
    Method,
    /// Another site has made the browser send it.
    #[error("the request comes from another site, and only this panel's own pages may send it")]
    CrossSite,
}

impl Refusal {
    /// The code of the answer.
    pub fn status(self) -> StatusCode {
        match self {
            Refusal::Host => StatusCode::MISDIRECTED_REQUEST,
            Refusal::Method => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::CrossSite => StatusCode::FORBIDDEN,
        }
    }
}

impl Origins {
    /// A panel on a port of this machine, for browsers of this machine.
    pub fn loopback(port: u16) -> Origins {
        let hosts: Vec<String> =
            ["127.0.0.1", "localhost", "[::1]"].iter().map(|name| format!("{name}:{port}")).collect();
        let origins = hosts.iter().map(|host| format!("http://{host}")).collect();
        Origins { hosts, origins }
    }

    /// A panel behind a public address.
    pub fn public(address: &url::Url) -> Origins {
        let port = address.port().map(|port| format!(":{port}")).unwrap_or_default();
        let host = format!("{}{port}", address.host_str().unwrap_or_default());
        Origins { origins: vec![format!("{}://{host}", address.scheme())], hosts: vec![host] }
    }

    /// Whether a request is looked at.
    ///
    /// # Errors
    /// Why it is not.
    pub fn check(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        let is_ours = |host: &str| self.hosts.iter().any(|ours| ours.eq_ignore_ascii_case(host));
        if !one(headers, header::HOST).is_some_and(is_ours) {
            return Err(Refusal::Host);
        }
        // A request line may name a host, too, and then that one counts.
        if uri.authority().is_some_and(|authority| !is_ours(authority.as_str())) {
            return Err(Refusal::Host);
        }
        if method == Method::POST {
            return if self.is_own_form(headers) { Ok(()) } else { Err(Refusal::CrossSite) };
        }
        if method != Method::GET && method != Method::HEAD {
            return Err(Refusal::Method);
        }
        if may_read(headers) { Ok(()) } else { Err(Refusal::CrossSite) }
    }

    /// Whether a page of this panel has sent it. A browser says so by at least one of the two; whoever is no browser has to
    /// say the origin, too.
    fn is_own_form(&self, headers: &HeaderMap) -> bool {
        let site = headers.get("sec-fetch-site").is_none_or(|site| site == "same-origin");
        let origin = one(headers, header::ORIGIN)
            .is_some_and(|origin| self.origins.iter().any(|ours| ours.eq_ignore_ascii_case(origin)));
        site && origin
    }
}

/// Whether a page may be read: links from elsewhere lead here, into a tab of its own; nothing else from elsewhere does.
fn may_read(headers: &HeaderMap) -> bool {
    let is = |name: &str, wanted: &str| headers.get(name).is_some_and(|value| value == wanted);
    let from_here = headers.get("sec-fetch-site").is_none_or(|site| site == "same-origin" || site == "none");
    let is_link = is("sec-fetch-mode", "navigate") && is("sec-fetch-dest", "document");
    // Not even a page of this panel puts another one into a frame.
    let is_framed =
        ["iframe", "frame", "embed", "object", "fencedframe"].iter().any(|dest| is("sec-fetch-dest", dest));
    !is_framed && (from_here || is_link)
}

/// The value of a header that stands there once.
fn one(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        headers
    }

    const OURS: (&str, &str) = ("host", "127.0.0.1:8000");
    const FROM_US: (&str, &str) = ("origin", "http://127.0.0.1:8000");

    #[rstest]
    #[case::plain(&[OURS], Ok(()))]
    #[case::by_name(&[("host", "LOCALHOST:8000")], Ok(()))]
    #[case::six(&[("host", "[::1]:8000")], Ok(()))]
    #[case::typed(&[OURS, ("sec-fetch-site", "none")], Ok(()))]
    #[case::followed(&[OURS, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")], Ok(()))]
    #[case::rebound(&[("host", "attacker.example:8000")], Err(Refusal::Host))]
    #[case::other_port(&[("host", "127.0.0.1:8001")], Err(Refusal::Host))]
    #[case::no_port(&[("host", "localhost")], Err(Refusal::Host))]
    #[case::nameless(&[], Err(Refusal::Host))]
    #[case::two_names(&[OURS, ("host", "attacker.example")], Err(Refusal::Host))]
    #[case::fetched(&[OURS, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "script")], Err(Refusal::CrossSite))]
    #[case::sibling(&[OURS, ("sec-fetch-site", "same-site"), ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")], Err(Refusal::CrossSite))]
    #[case::framed(&[OURS, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")], Err(Refusal::CrossSite))]
    #[case::framed_here(&[OURS, ("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")], Err(Refusal::CrossSite))]
    fn who_may_read(#[case] given: &[(&str, &str)], #[case] expected: Result<(), Refusal>) {
        let origins = Origins::loopback(8000);
        assert_eq!(origins.check(&Method::GET, &Uri::from_static("/"), &headers(given)), expected);
    }

    #[rstest]
    #[case::own_form(&[OURS, FROM_US, ("sec-fetch-site", "same-origin")], Ok(()))]
    #[case::old_browser(&[OURS, FROM_US], Ok(()))]
    #[case::no_origin(&[OURS, ("sec-fetch-site", "same-origin")], Err(Refusal::CrossSite))]
    #[case::null(&[OURS, ("origin", "null")], Err(Refusal::CrossSite))]
    #[case::elsewhere(&[OURS, ("origin", "http://attacker.example")], Err(Refusal::CrossSite))]
    #[case::prefix(&[OURS, ("origin", "http://127.0.0.1:8000.attacker.example")], Err(Refusal::CrossSite))]
    #[case::other_port(&[OURS, ("origin", "http://127.0.0.1:9000")], Err(Refusal::CrossSite))]
    #[case::says_cross(&[OURS, FROM_US, ("sec-fetch-site", "cross-site")], Err(Refusal::CrossSite))]
    #[case::says_sibling(&[OURS, FROM_US, ("sec-fetch-site", "same-site")], Err(Refusal::CrossSite))]
    #[case::typed(&[OURS, FROM_US, ("sec-fetch-site", "none")], Err(Refusal::CrossSite))]
    #[case::rebound(&[("host", "attacker.example:8000"), ("origin", "http://attacker.example:8000")], Err(Refusal::Host))]
    fn who_may_act(#[case] given: &[(&str, &str)], #[case] expected: Result<(), Refusal>) {
        let origins = Origins::loopback(8000);
        assert_eq!(origins.check(&Method::POST, &Uri::from_static("/"), &headers(given)), expected);
    }

    #[test]
    fn the_request_line_names_no_other_host_and_other_methods_do_nothing() {
        let (origins, ours) = (Origins::loopback(8000), headers(&[OURS]));
        let other = Uri::from_static("http://attacker.example/");
        assert_eq!(origins.check(&Method::GET, &other, &ours), Err(Refusal::Host));
        let here = Uri::from_static("/");
        for method in [Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS, Method::TRACE] {
            assert_eq!(origins.check(&method, &here, &ours), Err(Refusal::Method));
        }
    }

    #[test]
    fn a_public_address_has_no_port_where_its_scheme_has_one() {
        let origins = Origins::public(&"https://sluice.example.com/".parse().unwrap());
        let uri = Uri::from_static("/");
        let asked = [("host", "sluice.example.com"), ("origin", "https://sluice.example.com")];
        assert_eq!(origins.check(&Method::POST, &uri, &headers(&asked)), Ok(()));
        let plain = [("host", "sluice.example.com"), ("origin", "http://sluice.example.com")];
        assert_eq!(origins.check(&Method::POST, &uri, &headers(&plain)), Err(Refusal::CrossSite));
        assert_eq!(origins.check(&Method::GET, &uri, &headers(&[OURS])), Err(Refusal::Host));
    }

    #[test]
    fn the_policy_of_the_content_allows_nothing_unsafe() {
        let (_, policy) = &HEADERS[0];
        let policy = policy.to_str().unwrap();
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'") && policy.contains("default-src 'none'"));
    }
}
