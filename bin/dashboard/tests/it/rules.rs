//! Who is let in, and with what answers leave.

use crate::farm::{ANY, Farm};
use crate::http::{get, post, send};
use punctual_dashboard::{Dashboard, DashboardConfig, DashboardError, Source};
use std::net::TcpListener;

const TOKEN: &str = "open sesame";

/// A dashboard with a token, of nothing in particular.
fn guarded() -> Dashboard {
    let config = DashboardConfig::new(ANY.parse().expect("an address"), "guarded");
    Dashboard::start(config.with_token(TOKEN), Source::default()).expect("it starts")
}

#[test]
fn whoever_shows_no_token_sees_nothing_but_the_form_for_it() {
    let dashboard = guarded();
    let at = dashboard.address();
    for path in ["/api/summary", "/metrics", "/api/events", "/api/tasks", "/app.js", "/nowhere"] {
        let why = send(at, "GET", path, &[], "").error(401);
        assert!(why.contains("Authorization: Bearer"), "{path}: {why}");
    }
    for path in ["/", "/?token=wrong", "/?token="] {
        let form = send(at, "GET", path, &[], "").expect(401);
        assert!(form.body.contains("<form method=\"get\" action=\"/\">"), "{}", form.body);
        assert_eq!(form.header("www-authenticate"), Some("Bearer"));
        assert_eq!(form.header("set-cookie"), None);
    }
    for path in ["/healthz", "/style.css", "/favicon.svg"] {
        get(at, path);
    }
    post(at, "/api/tasks/1/cancel", "").error(401);
    dashboard.stop();
}

#[test]
fn a_token_is_shown_once_in_the_address_and_then_by_a_cookie_or_always_in_a_header() {
    let dashboard = guarded();
    let at = dashboard.address();
    let bearer = format!("Bearer {TOKEN}");
    send(at, "GET", "/api/summary", &[("Authorization", &bearer)], "").expect(200);
    send(at, "GET", "/metrics", &[("authorization", "Bearer open")], "").expect(401);
    let page = send(at, "GET", "/?token=open+sesame", &[], "").expect(200);
    assert!(page.body.contains("/app.js"));
    let cookie = page.header("set-cookie").expect("a cookie").to_owned();
    for part in ["; HttpOnly", "; SameSite=Strict", "; Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains(TOKEN), "{cookie}");
    let shown = cookie.split(';').next().expect("a name and a value");
    for path in ["/", "/app.js", "/api/summary"] {
        let reply = send(at, "GET", path, &[("Cookie", shown)], "").expect(200);
        assert_eq!(reply.header("set-cookie"), None, "it has one");
    }
    let name = shown.split('=').next().expect("a name");
    send(at, "GET", "/", &[("Cookie", &format!("{name}=00"))], "").expect(401);
    dashboard.stop();
}

#[test]
fn nothing_is_changed_by_a_request_that_a_page_of_somebody_else_can_send() {
    let mut farm = Farm::new();
    farm.submit("job", &["ok"]);
    let none: &[(&str, &str)] = &[];
    for path in ["/api/tasks/1/cancel", "/api/select/cancel", "/api/workers/w/stop"] {
        for headers in [none, &[("X-Punctual", "0")], &[("Content-Type", "text/plain")]] {
            let why = send(farm.at, "POST", path, headers, "{\"all\": true}").error(403);
            assert!(why.contains("X-Punctual: 1"), "{why}");
        }
    }
    assert_eq!(farm.found("state=ready").0.len(), 1);
    // A name of its own that means this machine does not help it either.
    let evil = [("Host", "evil.example:80"), ("X-Punctual", "1")];
    send(farm.at, "POST", "/api/select/cancel", &evil, "{\"all\": true}").error(421);
    send(farm.at, "GET", "/api/summary", &evil[..1], "").error(421);
    let local = [("Host", "localhost:80")];
    send(farm.at, "GET", "/api/summary", &local, "").expect(200);
    assert_eq!(farm.found("state=ready").0.len(), 1);
    farm.stop();
}

#[test]
fn every_answer_forbids_what_a_page_does_not_need() {
    let farm = Farm::new();
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/app.js", "text/javascript; charset=utf-8"),
        ("/view.js", "text/javascript; charset=utf-8"),
        ("/charts.js", "text/javascript; charset=utf-8"),
        ("/details.js", "text/javascript; charset=utf-8"),
        ("/tasks.js", "text/javascript; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/favicon.svg", "image/svg+xml"),
        ("/api/summary", "application/json"),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8"),
    ] {
        let reply = get(farm.at, path);
        assert_eq!(reply.header("content-type"), Some(kind), "{path}");
        let policy = reply.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'self'; "), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(reply.header("referrer-policy"), Some("no-referrer"), "{path}");
        let caching = reply.header("cache-control").expect("a rule");
        assert!(["no-store", "no-cache"].contains(&caching), "{path}: {caching}");
        assert_eq!(reply.header("access-control-allow-origin"), None);
    }
    farm.stop();
}

#[test]
fn a_dashboard_that_anybody_could_use_or_that_has_no_place_does_not_start() {
    let open = DashboardConfig::new("0.0.0.0:0".parse().expect("an address"), "");
    let error = Dashboard::start(open, Source::default()).expect_err("it has no token");
    assert!(matches!(error, DashboardError::NoToken { .. }), "{error}");
    assert!(error.is_usage() && error.to_string().contains("token"), "{error}");

    let taken = TcpListener::bind(ANY).expect("a port");
    let address = taken.local_addr().expect("bound");
    let error = Dashboard::start(DashboardConfig::new(address, ""), Source::default());
    let error = error.expect_err("somebody else is there");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    assert!(error.is_usage(), "{error}");
}

#[test]
fn a_dashboard_starts_again_where_it_was() {
    let first = guarded();
    let address = first.address();
    assert_eq!(first.url(), format!("http://{address}/"));
    get(address, "/healthz");
    first.stop();
    let config = DashboardConfig::new(address, "again").with_token(TOKEN).away_from(&[usize::MAX]);
    let second = Dashboard::start(config, Source::default()).expect("the port is free again");
    assert_eq!(second.address(), address);
    assert_eq!(get(address, "/healthz").body, "ok\n");
    second.stop();
}
