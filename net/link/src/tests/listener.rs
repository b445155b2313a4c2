//! Where a listener listens, and what it leaves behind.

use super::*;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

fn bind(endpoint: &Endpoint) -> std::io::Result<Listener> {
    Listener::bind(endpoint, LIMITS, 256)
}

#[test]
fn nobody_is_accepted_before_somebody_connects() {
    let folder = folder();
    for endpoint in [any_port(), socket_in(&folder)] {
        let mut listener = bind(&endpoint).expect("a free endpoint");
        assert!(listener.accept().expect("a working listener").is_none(), "{endpoint}");
        let endpoint = listener.endpoint().expect("a bound endpoint");
        let near = StreamLink::connect(&endpoint, LIMITS, 256).expect("a listener is there");
        assert_eq!(near.peer(), endpoint.to_string());
        accepted(&mut listener);
        assert!(listener.accept().expect("a working listener").is_none(), "{endpoint}");
    }
}

#[test]
fn the_system_chooses_a_port_and_nobody_else_gets_it() {
    let listener = bind(&any_port()).expect("a free port");
    let endpoint = listener.endpoint().expect("a bound endpoint");
    assert!(matches!(endpoint, Endpoint::Tcp(address) if address.port() != 0), "{endpoint}");
    let error = bind(&endpoint).expect_err("the port is taken");
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
}

#[test]
fn the_socket_file_is_there_as_long_as_the_listener() {
    let folder = folder();
    let listener = bind(&socket_in(&folder)).expect("a free path");
    assert!(folder.path().join("shard.sock").exists());
    drop(listener);
    assert!(!folder.path().join("shard.sock").exists());
}

#[test]
fn a_socket_file_that_a_dead_process_left_is_replaced() {
    let folder = folder();
    let path = folder.path().join("shard.sock");
    // The standard library's listener leaves its file behind, as a killed process does.
    drop(UnixListener::bind(&path).expect("a free path"));
    assert!(path.exists());
    pair_over(&socket_in(&folder), 256);
}

#[test]
fn a_socket_file_that_somebody_listens_at_is_left_alone() {
    let folder = folder();
    let endpoint = socket_in(&folder);
    let mut first = bind(&endpoint).expect("a free path");
    let error = bind(&endpoint).expect_err("somebody listens here");
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    // The one who looked whether somebody is there, then a real visitor.
    accepted(&mut first);
    let mut near = StreamLink::connect(&endpoint, LIMITS, 256).expect("a listener is there");
    let mut far = accepted(&mut first);
    write(near.outgoing(), 1, 10);
    flush_all(&mut near);
    assert_eq!(receive_messages(far.as_mut(), 1), [[(1, text(1, 10))]]);
}

#[test]
fn a_file_that_is_no_socket_is_never_removed() {
    let folder = folder();
    let path = folder.path().join("shard.sock");
    let precious = folder.path().join("precious");
    fs::write(&precious, "data").expect("a new file");
    symlink(&precious, &path).expect("a new link");
    assert!(bind(&socket_in(&folder)).is_err(), "a link is no socket");
    assert!(path.is_symlink());
    fs::remove_file(&path).expect("the link is there");
    fs::rename(&precious, &path).expect("the file is there");
    let error = bind(&socket_in(&folder)).expect_err("a file is no socket");
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert_eq!(fs::read(&path).expect("the file is still there"), b"data");
}
