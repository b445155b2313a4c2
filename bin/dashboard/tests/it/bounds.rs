//! What is too much.

use crate::farm::Farm;
use crate::http::{get, post, send};

#[test]
fn a_body_that_is_too_long_is_refused() {
    let farm = Farm::new();
    let body = format!("{{\"all\": true, \"search\": \"{}\"}}", "x".repeat(20 << 10));
    post(farm.at, "/api/select/cancel", &body).error(413);
    get(farm.at, "/healthz");
    farm.stop();
}

#[test]
fn a_head_that_is_too_long_is_refused() {
    let farm = Farm::new();
    let long = "x".repeat(40 << 10);
    let reply = send(farm.at, "GET", "/healthz", &[("X-Long", &long)], "");
    assert_eq!(reply.status, 431, "{reply:?}");
    get(farm.at, "/healthz");
    farm.stop();
}

#[test]
fn a_text_that_no_queue_looks_for_is_refused() {
    let farm = Farm::new();
    let long = "x".repeat(1_025);
    for path in [format!("/api/tasks?search={long}"), format!("/api/tasks?worker={long}")] {
        let why = send(farm.at, "GET", &path, &[], "").error(400);
        assert!(why.contains("1025 bytes"), "{why}");
    }
    let longest = "x".repeat(1_024);
    assert!(farm.found(&format!("search={longest}")).0.is_empty());
    farm.stop();
}

#[test]
fn what_is_no_http_ends_its_connection_and_nothing_else() {
    use std::io::{Read, Write};
    let farm = Farm::new();
    let mut stream = std::net::TcpStream::connect(farm.at).expect("the dashboard listens");
    stream.set_read_timeout(Some(crate::http::PATIENCE)).expect("a timeout");
    stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n").expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the connection ends");
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{:?}", String::from_utf8_lossy(&answer));
    get(farm.at, "/healthz");
    farm.stop();
}
