//! The handshake over every kind of link: who is let in, who is not, and that both learn why.

use super::*;
use crate::{ClientHandshake, HandshakeError, Identity, ServerHandshake, Visitor};
use punctual_wire::{
    CloseReason, Features, Handshake, Hello, MAGIC, Role, VERSION, Welcome, WireError,
};
use std::io::{Read, Write};
use std::net::TcpStream;

const SHARD: u16 = 3;
const CLIENT: Identity = Identity { session: 11, cluster: 77, features: Features(0) };
const SERVER: Identity = Identity { session: 22, cluster: 77, features: Features(0) };

/// What the client greets with when it belongs here.
fn hello() -> Hello {
    Hello {
        magic: MAGIC.into(),
        version: VERSION.into(),
        role: Role::Coordinator as u8,
        reserved: 0,
        shard: SHARD.into(),
        from: 0.into(),
        session: CLIENT.session.into(),
        cluster: CLIENT.cluster.into(),
        features: 0.into(),
        slots: 64.into(),
    }
}

/// Both sides until each knows how it ended; the server welcomes whom it may.
fn shake(
    near: &mut dyn Link,
    far: &mut dyn Link,
    mut client: ClientHandshake,
    server: &Identity,
) -> (Result<Welcome, HandshakeError>, Result<Visitor, HandshakeError>) {
    let (mut welcome, mut visitor) = (None, None);
    until("both sides know", || {
        if welcome.is_none() {
            welcome = client.step(near, LIMITS).transpose();
        }
        if visitor.is_none() {
            visitor = ServerHandshake::step(far, LIMITS, server, SHARD).transpose();
            if let Some(Ok(visitor)) = &visitor {
                ServerHandshake::accept(far, server, SHARD, 5, visitor.features);
                flush_all(far);
            }
        }
        welcome.is_some() && visitor.is_some()
    });
    (welcome.expect("the client knows"), visitor.expect("the server knows"))
}

/// How the server ends a handshake that fails.
fn refusal(far: &mut dyn Link) -> HandshakeError {
    let mut refusal = None;
    until("the visitor is refused", || {
        match ServerHandshake::step(far, LIMITS, &SERVER, SHARD) {
            Ok(None) => {}
            Ok(Some(visitor)) => panic!("{visitor:?} was let in"),
            Err(error) => refusal = Some(error),
        }
        refusal.is_some()
    });
    refusal.expect("the visitor was refused")
}

/// How the client ends a handshake that fails.
fn disappointment(near: &mut dyn Link) -> HandshakeError {
    let mut client = ClientHandshake::new(&CLIENT, Role::Coordinator, SHARD, 0, 64);
    let mut disappointment = None;
    until("the client is refused", || {
        match client.step(near, LIMITS) {
            Ok(None) => {}
            Ok(Some(_)) => panic!("the client was welcomed"),
            Err(error) => disappointment = Some(error),
        }
        disappointment.is_some()
    });
    disappointment.expect("the client was refused")
}

#[test]
fn a_member_of_the_cluster_is_welcomed() {
    let members = [
        (Role::Coordinator, 0),
        (Role::Pinger, 0),
        (Role::Peer, SHARD + 1),
        (Role::Peer, u16::MAX),
        (Role::Prober, 0),
    ];
    for (kind, (role, from)) in Kind::ALL.into_iter().flat_map(|it| members.map(|who| (it, who))) {
        let (mut near, mut far) = pair(kind, 256);
        let client = ClientHandshake::new(&CLIENT, role, SHARD, from, 64);
        let (welcome, visitor) = shake(near.as_mut(), far.as_mut(), client, &SERVER);
        let (welcome, visitor) = (welcome.expect("a welcome"), visitor.expect("a visitor"));
        assert_eq!((welcome.shard.get(), welcome.session.get()), (SHARD, SERVER.session));
        assert_eq!((welcome.epoch.get(), welcome.queues.get()), (5, 1));
        assert_eq!((visitor.role, visitor.from), (role, from));
        assert_eq!((visitor.session, visitor.slots), (CLIENT.session, 64));
        // Nothing of the handshake is left in the way of what follows.
        write(near.outgoing(), 5, 10);
        write(far.outgoing(), 6, 10);
        flush_all(near.as_mut());
        flush_all(far.as_mut());
        assert_eq!(receive_messages(far.as_mut(), 1), [[(5, text(5, 10))]], "{kind:?}");
        assert_eq!(receive_messages(near.as_mut(), 1), [[(6, text(6, 10))]], "{kind:?}");
    }
}

#[test]
fn only_features_that_both_offer_hold_and_a_checksum_is_then_in_every_frame() {
    let offers =
        [(0, 0, false), (1, 0, false), (0, 1, false), (1, 1, true), (1 << 40 | 1, 1, true)];
    for kind in Kind::ALL {
        for (client, server, checksum) in offers {
            let (mut near, mut far) = pair(kind, 256);
            let client = Identity { features: Features(client), ..CLIENT };
            let server = Identity { features: Features(server), ..SERVER };
            let client = ClientHandshake::new(&client, Role::Coordinator, SHARD, 0, 64);
            let (welcome, visitor) = shake(near.as_mut(), far.as_mut(), client, &server);
            let (welcome, visitor) = (welcome.expect("a welcome"), visitor.expect("a visitor"));
            assert_eq!(visitor.features, Features(u64::from(checksum)), "{kind:?}");
            assert_eq!(welcome.features.get(), visitor.features.0, "{kind:?}");
            for link in [&mut near, &mut far] {
                write(link.outgoing(), 0, 10);
                flush_all(link.as_mut());
            }
            for link in [&mut near, &mut far] {
                until("a frame has arrived", || {
                    let received = receive(link.as_mut(), 1, checksum).expect("negotiated frames");
                    received.len() == 1
                });
            }
        }
    }
}

#[test]
fn a_frame_without_the_negotiated_checksum_is_an_error() {
    for kind in Kind::ALL {
        let (mut near, mut far) = pair(kind, 256);
        write(near.outgoing(), 0, 10);
        flush_all(near.as_mut());
        let mut error = None;
        until("the frame is refused", || {
            error = receive(far.as_mut(), 1, true).err();
            error.is_some()
        });
        let refused = matches!(error, Some(LinkError::Wire(WireError::FrameFlags(0))));
        assert!(refused, "{kind:?}: {error:?}");
    }
}

#[test]
fn whoever_does_not_belong_here_is_told_why() {
    let cases = [
        (Identity { cluster: 78, ..CLIENT }, SHARD, CloseReason::ClusterConfig),
        (CLIENT, SHARD + 1, CloseReason::WrongShard),
    ];
    for kind in Kind::ALL {
        for (identity, shard, reason) in cases {
            let (mut near, mut far) = pair(kind, 256);
            let client = ClientHandshake::new(&identity, Role::Coordinator, shard, 0, 64);
            let (welcome, visitor) = shake(near.as_mut(), far.as_mut(), client, &SERVER);
            let error = welcome.expect_err("nobody was welcomed");
            assert!(matches!(error, HandshakeError::Refused(it) if it == reason), "{error}");
            let error = visitor.expect_err("nobody was let in");
            assert!(matches!(error, HandshakeError::Rejected(it) if it == reason), "{error}");
        }
    }
}

#[test]
fn another_version_is_refused_before_anything_else_is_looked_at() {
    for kind in Kind::ALL {
        let (mut near, mut far) = pair(kind, 256);
        let version = (VERSION + 1).into();
        let newer = Hello { version, cluster: 0.into(), shard: 0.into(), ..hello() };
        Handshake::write_hello(near.outgoing(), &newer);
        flush_all(near.as_mut());
        let error = refusal(far.as_mut());
        assert!(matches!(error, HandshakeError::Rejected(CloseReason::Version)), "{error}");
        // The peer reads why, even though the link is gone by then.
        drop(far);
        let error = disappointment(near.as_mut());
        assert!(matches!(error, HandshakeError::Refused(CloseReason::Version)), "{error}");
    }
}

#[test]
fn a_welcome_of_another_version_or_shard_is_not_accepted() {
    for kind in Kind::ALL {
        let cases = [
            (VERSION + 1, SHARD, CloseReason::Version),
            (VERSION, SHARD + 1, CloseReason::WrongShard),
        ];
        for (version, shard, reason) in cases {
            let (mut near, mut far) = pair(kind, 256);
            let welcome = Welcome {
                magic: MAGIC.into(),
                version: version.into(),
                shard: shard.into(),
                epoch: 0.into(),
                session: SERVER.session.into(),
                features: 0.into(),
                queues: 1.into(),
                reserved: 0.into(),
            };
            Handshake::write_welcome(far.outgoing(), &welcome);
            flush_all(far.as_mut());
            let error = disappointment(near.as_mut());
            assert!(matches!(error, HandshakeError::Rejected(it) if it == reason), "{error}");
        }
    }
}

#[test]
fn every_reason_of_a_goodbye_arrives_even_after_the_link_was_closed() {
    for kind in Kind::ALL {
        for reason in CloseReason::ALL {
            // The server hangs up before the client has said a word.
            let (mut near, mut far) = pair(kind, 256);
            ServerHandshake::reject(far.as_mut(), reason);
            drop(far);
            let error = disappointment(near.as_mut());
            let told = matches!(error, HandshakeError::Refused(it) if it == reason);
            assert!(told, "{kind:?}: {reason:?} became: {error}");
        }
    }
}

#[test]
fn an_end_without_a_word_is_an_end_for_both_sides() {
    for kind in Kind::ALL {
        let (mut near, far) = pair(kind, 256);
        drop(far);
        let error = disappointment(near.as_mut());
        assert!(matches!(error, HandshakeError::Link(LinkError::Closed)), "{kind:?}: {error}");
        let (near, mut far) = pair(kind, 256);
        drop(near);
        let error = refusal(far.as_mut());
        assert!(matches!(error, HandshakeError::Link(LinkError::Closed)), "{kind:?}: {error}");
    }
}

#[test]
fn a_frame_of_another_kind_is_no_handshake() {
    for kind in Kind::ALL {
        let (mut near, mut far) = pair(kind, 256);
        write(near.outgoing(), 0, 10);
        write(far.outgoing(), 0, 10);
        flush_all(near.as_mut());
        flush_all(far.as_mut());
        let unexpected = WireError::UnexpectedKind(FrameKind::Dispatch);
        for error in [refusal(far.as_mut()), disappointment(near.as_mut())] {
            let HandshakeError::Link(LinkError::Wire(error)) = error else { panic!("{error}") };
            assert_eq!(error, unexpected, "{kind:?}");
        }
    }
}

#[test]
fn a_longer_hello_of_another_version_is_told_that_the_version_is_the_reason() {
    for kind in Kind::ALL {
        let (mut near, mut far) = pair(kind, 256);
        let newer = Hello { version: (VERSION + 1).into(), ..hello() };
        let greeting = written(false, |out| Handshake::write_hello(out, &newer));
        near.outgoing().message(FrameKind::Hello, 60, |bytes| {
            bytes.extend_from_slice(&greeting[punctual_wire::FRAME_HEADER_BYTES..]);
            bytes.resize(bytes.len() + 16, 0);
        });
        flush_all(near.as_mut());
        let error = refusal(far.as_mut());
        assert!(matches!(error, HandshakeError::Rejected(CloseReason::Version)), "{error}");
        drop(far);
        let error = disappointment(near.as_mut());
        assert!(matches!(error, HandshakeError::Refused(CloseReason::Version)), "{error}");
    }
}

/// A bare socket, which can say anything, and the link that was accepted for it.
pub(super) fn stranger() -> (TcpStream, Box<dyn Link>) {
    let mut listener = Listener::bind(&any_port(), LIMITS, 256).expect("a free port");
    let Endpoint::Tcp(address) = listener.endpoint().expect("a bound endpoint") else {
        panic!("not a TCP listener");
    };
    let socket = TcpStream::connect(address).expect("a listener is there");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout is allowed");
    (socket, accepted(&mut listener))
}

/// The bytes that a writer makes.
fn written(checksum: bool, write: impl FnOnce(&mut BatchWriter)) -> Vec<u8> {
    let mut out = BatchWriter::new(LIMITS, 256, checksum);
    write(&mut out);
    out.seal();
    out.sealed().to_vec()
}

#[test]
fn garbage_instead_of_a_hello_is_refused_with_what_is_wrong() {
    let greet = |hello: &Hello| written(false, |out| Handshake::write_hello(out, hello));
    let web = b"GET / HTTP/1.1\r\n\r\n".to_vec();
    let (min, max) = (12, 256);
    let length = u32::from_le_bytes(*b"GET ");
    let mut long = greet(&hello());
    long[..4].copy_from_slice(&257_u32.to_le_bytes());
    let mut summed = greet(&hello());
    summed[5] = 1;
    let cases = [
        (web, WireError::FrameLength { len: length, min, max }),
        (long, WireError::FrameLength { len: 257, min, max }),
        (summed, WireError::FrameFlags(1)),
        (greet(&Hello { magic: 5.into(), ..hello() }), WireError::Magic(5)),
        (greet(&Hello { role: 9, ..hello() }), WireError::UnknownValue { what: "role", value: 9 }),
    ];
    for (bytes, wrong) in cases {
        let (mut socket, mut link) = stranger();
        socket.write_all(&bytes).expect("room for a few bytes");
        let error = refusal(link.as_mut());
        let HandshakeError::Link(LinkError::Wire(error)) = error else { panic!("{error}") };
        assert_eq!(error, wrong);
    }
}

#[test]
fn a_hello_may_come_in_pieces_but_not_stop_halfway() {
    let hello = written(false, |out| Handshake::write_hello(out, &hello()));
    for cut in [1, 11, 12, 30, hello.len() - 1] {
        let (mut socket, mut link) = stranger();
        socket.write_all(&hello[..cut]).expect("room for a few bytes");
        until("the first part has come", || {
            let step = ServerHandshake::step(link.as_mut(), LIMITS, &SERVER, SHARD);
            assert!(matches!(step, Ok(None)), "{step:?}");
            link.parts().0.len() == cut
        });
        if cut == 30 {
            drop(socket);
            let error = refusal(link.as_mut());
            assert!(matches!(error, HandshakeError::Link(LinkError::Closed)), "{error}");
            continue;
        }
        socket.write_all(&hello[cut..]).expect("room for a few bytes");
        until("the rest has come", || {
            let step = ServerHandshake::step(link.as_mut(), LIMITS, &SERVER, SHARD);
            step.expect("a valid hello").is_some()
        });
    }
}

#[test]
fn a_byte_that_was_corrupted_on_the_way_is_noticed_under_a_checksum() {
    let (mut socket, mut link) = stranger();
    let hello = Hello { features: Features::CHECKSUM.0.into(), ..hello() };
    let greeting = written(false, |out| Handshake::write_hello(out, &hello));
    socket.write_all(&greeting).expect("room for a few bytes");
    let server = Identity { features: Features::CHECKSUM, ..SERVER };
    until("the visitor is let in", || {
        let step = ServerHandshake::step(link.as_mut(), LIMITS, &server, SHARD);
        let Some(visitor) = step.expect("a valid hello") else { return false };
        ServerHandshake::accept(link.as_mut(), &server, SHARD, 5, visitor.features);
        true
    });
    flush_all(link.as_mut());
    let mut welcome = [0; punctual_wire::FRAME_HEADER_BYTES + size_of::<Welcome>()];
    socket.read_exact(&mut welcome).expect("a welcome");
    assert_eq!(welcome[5], 0, "the handshake itself has no checksum");

    let good = written(true, |out| write(out, 1, 50));
    let mut bad = written(true, |out| write(out, 2, 50));
    bad[40] ^= 0x10;
    socket.write_all(&[good, bad].concat()).expect("room for a few bytes");
    let mut received = Vec::new();
    let mut error = None;
    until("the bad frame has come", || {
        match receive(link.as_mut(), 1, true) {
            Ok(batches) => received.extend(batches.concat()),
            Err(found) => error = Some(found),
        }
        error.is_some()
    });
    assert_eq!(received, [(1, text(1, 50))]);
    let noticed = matches!(error, Some(LinkError::Wire(WireError::Checksum { .. })));
    assert!(noticed, "{error:?}");
}
