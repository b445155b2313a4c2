//! Who is let in, and with what every answer leaves.
//!
//! A page of somebody else's that is open in the same browser can send requests here, but it can
//! neither add a header of its own nor read the answers. So nothing changes without such a header.
//! Where there is no token, names are refused as well: such a page could have its own name mean
//! this machine, and would then be taken for ours.

use super::reply::Refusal;
use super::{App, events, page};
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use std::fmt::{self, Write as _};
use std::hint::black_box;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// The header without which nothing is changed, and its value.
const HEADER: &str = "x-punctual";
const HEADER_VALUE: &[u8] = b"1";
/// How long a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Where anybody may look: it says no more than that somebody is there.
const HEALTH: &str = "/healthz";

/// What a page of ours may do: have files and numbers from here, and nothing from anywhere else.
const POLICY: &str = "default-src 'self'; object-src 'none'; base-uri 'none'; \
                      form-action 'self'; frame-ancestors 'none'";

/// What visitors must show.
pub(super) struct Token {
    text: String,
    cookie_name: String,
    /// The token in hexadecimal digits: a cookie has no room for any other characters.
    cookie_value: String,
}

/// How somebody was let in.
#[derive(Debug, PartialEq, Eq)]
enum Pass {
    /// By what he had.
    Known,
    /// By the address, and is to have a cookie.
    New,
}

/// Why somebody was not let in.
#[derive(Debug, PartialEq, Eq)]
enum Barrier {
    /// He shows no token, or another one.
    Token,
    /// He calls this machine by a name.
    Name,
    /// He would change something without the header.
    Header,
}

/// The query of the page's address.
#[derive(Deserialize)]
struct Login {
    token: Option<String>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

impl Token {
    /// Cookies are for a machine; with the port in its name each dashboard has one of its own.
    pub(super) fn new(text: &str, port: u16) -> Self {
        let mut cookie_value = String::with_capacity(text.len() * 2);
        for byte in text.bytes() {
            // Writing to a string cannot fail.
            let _ = write!(cookie_value, "{byte:02x}");
        }
        Self { text: text.to_owned(), cookie_name: format!("punctual-{port}"), cookie_value }
    }

    fn cookie(&self) -> String {
        let Self { cookie_name, cookie_value, .. } = self;
        format!("{cookie_name}={cookie_value}; Path=/; HttpOnly; SameSite=Strict")
    }

    /// Whether it is among the headers of a request.
    fn is_shown(&self, headers: &HeaderMap) -> bool {
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| bearer(value.as_bytes()));
        if bearer.is_some_and(|shown| is_same(shown, self.text.as_bytes())) {
            return true;
        }
        let cookies = headers.get_all(header::COOKIE).into_iter();
        let mut cookies = cookies.flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
        cookies.any(|cookie| {
            let value = cookie.trim_ascii().strip_prefix(self.cookie_name.as_bytes());
            let value = value.and_then(|rest| rest.strip_prefix(b"="));
            value.is_some_and(|shown| is_same(shown, self.cookie_value.as_bytes()))
        })
    }

    /// Whether it is in the address of the page.
    fn is_in(&self, uri: &Uri) -> bool {
        let query = Query::<Login>::try_from_uri(uri).ok().and_then(|Query(login)| login.token);
        query.is_some_and(|shown| is_same(shown.as_bytes(), self.text.as_bytes()))
    }
}

/// The token of an authorization.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| rest.trim_ascii())
}

/// Whether two texts are the same. It takes as long wherever they differ, so that nobody can find a
/// token out piece by piece.
fn is_same(shown: &[u8], expected: &[u8]) -> bool {
    let differences = shown.iter().zip(expected).fold(0, |all, (a, b)| all | (a ^ b));
    shown.len() == expected.len() && black_box(differences) == 0
}

/// Whether a request calls this machine by its address, or as every machine calls itself.
fn is_address(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else { return false };
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split_once(']').is_some_and(|(name, _)| name.parse::<Ipv6Addr>().is_ok());
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name.eq_ignore_ascii_case("localhost") || name.parse::<Ipv4Addr>().is_ok()
}

/// Decides about a request.
fn admit(
    token: Option<&Token>,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Pass, Barrier> {
    let path = uri.path();
    let is_reading = matches!(*method, Method::GET | Method::HEAD);
    let is_open =
        path == HEALTH || page::FILES.iter().any(|file| file.is_open && file.path == path);
    if is_open && is_reading {
        return Ok(Pass::Known);
    }
    let mut pass = Pass::Known;
    match token {
        Some(token) if token.is_shown(headers) => {}
        Some(token) if path == "/" && is_reading && token.is_in(uri) => pass = Pass::New,
        Some(_) => return Err(Barrier::Token),
        // Browsers always say a name.
        None if headers.get(header::HOST).is_some_and(|host| !is_address(host.as_bytes())) => {
            return Err(Barrier::Name);
        }
        None => {}
    }
    let has_header = headers.get(HEADER).is_some_and(|value| value.as_bytes() == HEADER_VALUE);
    if is_reading || has_header { Ok(pass) } else { Err(Barrier::Header) }
}

impl Barrier {
    fn response(&self, path: &str) -> Response {
        match self {
            Self::Token => {
                let mut response = if path == "/" {
                    page::LOGIN.response()
                } else {
                    let why = "show the token of this dashboard, as in `Authorization: Bearer \
                               TOKEN`, or open its page and give it there";
                    Refusal::new(StatusCode::UNAUTHORIZED, why).into_response()
                };
                *response.status_mut() = StatusCode::UNAUTHORIZED;
                let scheme = HeaderValue::from_static("Bearer");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
                response
            }
            Self::Name => {
                let why = "this dashboard has no token, and answers only to an address such as \
                           127.0.0.1, or to localhost; use that, or start it with a token";
                Refusal::new(StatusCode::MISDIRECTED_REQUEST, why).into_response()
            }
            Self::Header => {
                let why = "nothing is changed without the header `X-Punctual: 1`; add it";
                Refusal::new(StatusCode::FORBIDDEN, why).into_response()
            }
        }
    }
}

/// Stands before everything.
pub(super) async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let token = app.token.as_ref();
    let admitted = admit(token, request.method(), request.uri(), request.headers());
    let mut response = match &admitted {
        Ok(_) => answer(&app, request, next).await,
        Err(barrier) => barrier.response(request.uri().path()),
    };
    let headers = response.headers_mut();
    if let (Some(token), Ok(Pass::New)) = (token, &admitted)
        && let Ok(cookie) = HeaderValue::from_str(&token.cookie())
    {
        headers.insert(header::SET_COOKIE, cookie);
    }
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Has a request answered, if there is room for it, and not for ever.
async fn answer(app: &App, request: Request, next: Next) -> Response {
    // Pages that listen are counted where they do, and stay.
    if request.uri().path() == events::PATH {
        return next.run(request).await;
    }
    let Ok(_place) = app.places.try_acquire() else {
        return Refusal::unavailable("too much is asked at once; ask again").into_response();
    };
    match timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let why = "the task server did not answer in time; ask again later";
            Refusal::new(StatusCode::GATEWAY_TIMEOUT, why).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(uri: &str, headers: &[(&'static str, &str)]) -> (Uri, HeaderMap) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().expect("a value"));
        }
        (uri.parse().expect("an address"), map)
    }

    fn get(
        token: Option<&Token>,
        uri: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Pass, Barrier> {
        let (uri, headers) = request(uri, headers);
        admit(token, &Method::GET, &uri, &headers)
    }

    #[test]
    fn a_token_may_be_in_a_header_a_cookie_or_the_address_of_the_page() {
        let token = Token::new("s=é; t", 7471);
        let cookie = token.cookie();
        let token = Some(&token);
        let cookie = cookie.split(';').next().expect("a name and a value");
        assert!(cookie.starts_with("punctual-7471="), "{cookie}");
        for (uri, header, expected) in [
            ("/", None, Err(Barrier::Token)),
            ("/?token=s%3D%C3%A9%3B+t", None, Ok(Pass::New)),
            ("/?token=s", None, Err(Barrier::Token)),
            ("/api/tasks?token=s%3D%C3%A9%3B+t", None, Err(Barrier::Token)),
            ("/", Some(("cookie", cookie)), Ok(Pass::Known)),
            ("/", Some(("cookie", "punctual-7471=00")), Err(Barrier::Token)),
            ("/metrics", Some(("authorization", "Bearer nothing")), Err(Barrier::Token)),
            ("/healthz", None, Ok(Pass::Known)),
            ("/style.css", None, Ok(Pass::Known)),
            ("/app.js", None, Err(Barrier::Token)),
        ] {
            let headers: Vec<_> = header.into_iter().collect();
            assert_eq!(get(token, uri, &headers), expected, "{uri} {header:?}");
        }
        let plain = Token::new("secret", 1);
        for (value, expected) in [
            ("Bearer secret", Ok(Pass::Known)),
            ("bearer  secret", Ok(Pass::Known)),
            ("secret", Err(Barrier::Token)),
            ("Basic secret", Err(Barrier::Token)),
            ("Bearer secretly", Err(Barrier::Token)),
            ("Bearer ", Err(Barrier::Token)),
        ] {
            assert_eq!(get(Some(&plain), "/", &[("authorization", value)]), expected, "{value}");
        }
        let both = [("cookie", "a=b"), ("cookie", "c=d; punctual-1=736563726574")];
        assert_eq!(get(Some(&plain), "/", &both), Ok(Pass::Known));
    }

    #[test]
    fn without_a_token_only_addresses_are_answered_to() {
        for (host, is_good) in [
            ("127.0.0.1:7471", true),
            ("localhost", true),
            ("LocalHost:80", true),
            ("[::1]:7471", true),
            ("attacker.example:7471", false),
            ("127.0.0.1.attacker.example", false),
            ("[evil]", false),
            ("", false),
        ] {
            let found = get(None, "/api/summary", &[("host", host)]);
            assert_eq!(found.is_ok(), is_good, "{host:?}");
        }
        assert_eq!(get(None, "/", &[]), Ok(Pass::Known), "whoever says no name is no browser");
        let token = Token::new("secret", 1);
        let headers = [("host", "farm.example"), ("authorization", "Bearer secret")];
        assert_eq!(get(Some(&token), "/", &headers), Ok(Pass::Known));
    }

    #[test]
    fn nothing_is_changed_without_the_header() {
        for (method, header, expected) in [
            (Method::POST, None, Err(Barrier::Header)),
            (Method::POST, Some(("x-punctual", "0")), Err(Barrier::Header)),
            (Method::POST, Some(("x-punctual", "1")), Ok(Pass::Known)),
            (Method::DELETE, None, Err(Barrier::Header)),
            (Method::HEAD, None, Ok(Pass::Known)),
        ] {
            let headers: Vec<_> = header.into_iter().collect();
            let (uri, headers) = request("/api/tasks/1/cancel", &headers);
            assert_eq!(admit(None, &method, &uri, &headers), expected, "{method} {header:?}");
        }
    }
}
