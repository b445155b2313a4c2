//! Several queues behind one address: whoever accepts a link learns which queue it is for and hands
//! it, unread, to the core that has the queue.

use super::handshake::stranger;
use super::park::wake_again_and_again;
use super::*;
use crate::{ClientHandshake, HandshakeError, Identity, ServerHandshake};
use punctual_wire::{
    CloseReason, FRAME_HEADER_BYTES, Features, Handshake, Hello, MAGIC, Role, VERSION, WireError,
};
use std::io::Write;

const QUEUE: u16 = 2;
const QUEUES: u16 = 5;
const CLIENT: Identity = Identity { session: 11, cluster: 77, features: Features(0) };
const SERVER: Identity = Identity { session: 22, cluster: 77, features: Features(0) };

fn hello(version: u16) -> Hello {
    Hello {
        magic: MAGIC.into(),
        version: version.into(),
        role: Role::TaskClient as u8,
        reserved: 0,
        shard: QUEUE.into(),
        from: 0.into(),
        session: CLIENT.session.into(),
        cluster: CLIENT.cluster.into(),
        features: 0.into(),
        slots: 0.into(),
    }
}

/// The shard that a visitor wants, who has said so or is about to.
fn peeked(far: &mut dyn Link) -> Result<u16, HandshakeError> {
    let mut wanted = None;
    until("the hello can be seen", || {
        wanted = ServerHandshake::peek_shard(far, LIMITS).transpose();
        wanted.is_some()
    });
    wanted.expect("a shard, or why there is none")
}

#[test]
fn whoever_only_peeks_leaves_the_hello_to_the_one_who_welcomes() {
    for kind in Kind::ALL {
        let (mut near, mut far) = pair(kind, 256);
        let (near, far) = (near.as_mut(), far.as_mut());
        let mut client = ClientHandshake::new(&CLIENT, Role::TaskClient, QUEUE, 0, 0);
        assert!(matches!(ServerHandshake::peek_shard(far, LIMITS), Ok(None)), "{kind:?}");
        assert!(matches!(client.step(near, LIMITS), Ok(None)), "{kind:?}");
        flush_all(near);
        for _ in 0..2 {
            assert_eq!(peeked(far).expect("a hello"), QUEUE, "{kind:?}");
        }
        let visitor = ServerHandshake::step(far, LIMITS, &SERVER, QUEUE).expect("an open link");
        let visitor = visitor.expect("it was seen before");
        assert_eq!((visitor.role, visitor.session), (Role::TaskClient, CLIENT.session));
        ServerHandshake::accept_queue(far, &SERVER, QUEUE, QUEUES, visitor.features);
        flush_all(far);
        let mut welcome = None;
        until("the client is welcomed", || {
            welcome = client.step(near, LIMITS).expect("an open link");
            welcome.is_some()
        });
        let welcome = welcome.expect("it was welcomed");
        assert_eq!((welcome.shard.get(), welcome.queues.get()), (QUEUE, QUEUES), "{kind:?}");
        assert_eq!((welcome.session.get(), welcome.epoch.get()), (SERVER.session, 0), "{kind:?}");
        // Nothing of the hello is left in the way of what follows.
        write(near.outgoing(), 5, 10);
        flush_all(near);
        assert_eq!(receive_messages(far, 1), [[(5, text(5, 10))]], "{kind:?}");
    }
}

#[test]
fn half_a_hello_names_no_shard_yet() {
    let mut out = BatchWriter::new(LIMITS, 256, false);
    Handshake::write_hello(&mut out, &hello(VERSION));
    let hello = out.sealed().to_vec();
    for cut in [1, FRAME_HEADER_BYTES, 30, hello.len() - 1] {
        let (mut socket, mut link) = stranger();
        socket.write_all(&hello[..cut]).expect("room for a few bytes");
        until("the first part has come", || {
            let wanted = ServerHandshake::peek_shard(link.as_mut(), LIMITS);
            assert!(matches!(wanted, Ok(None)), "{wanted:?}");
            link.parts().0.len() == cut
        });
        if cut == 30 {
            drop(socket);
            let error = peeked(link.as_mut()).expect_err("the rest never comes");
            assert!(matches!(error, HandshakeError::Link(LinkError::Closed)), "{error}");
            continue;
        }
        socket.write_all(&hello[cut..]).expect("room for a few bytes");
        assert_eq!(peeked(link.as_mut()).expect("a hello"), QUEUE);
    }
}

#[test]
fn a_hello_that_was_said_before_the_end_of_its_link_can_still_be_seen() {
    for kind in Kind::ALL {
        let (mut near, mut far) = pair(kind, 256);
        Handshake::write_hello(near.outgoing(), &hello(VERSION));
        flush_all(near.as_mut());
        drop(near);
        assert_eq!(peeked(far.as_mut()).expect("a hello"), QUEUE, "{kind:?}");
    }
}

#[test]
fn another_version_is_told_so_by_whoever_only_peeks() {
    for kind in Kind::ALL {
        let (mut near, mut far) = pair(kind, 256);
        Handshake::write_hello(near.outgoing(), &hello(VERSION - 1));
        flush_all(near.as_mut());
        let error = peeked(far.as_mut()).expect_err("another version");
        assert!(matches!(error, HandshakeError::Rejected(CloseReason::Version)), "{error}");
        drop(far);
        let mut client = ClientHandshake::new(&CLIENT, Role::TaskClient, QUEUE, 0, 0);
        let mut told = None;
        until("the client is told", || {
            told = client.step(near.as_mut(), LIMITS).err();
            told.is_some()
        });
        let told = told.expect("it was told");
        assert!(matches!(told, HandshakeError::Refused(CloseReason::Version)), "{told}");
    }
}

#[test]
fn what_is_no_hello_names_no_shard() {
    for kind in Kind::ALL {
        let (mut near, mut far) = pair(kind, 256);
        write(near.outgoing(), 0, 10);
        flush_all(near.as_mut());
        let error = peeked(far.as_mut()).expect_err("no hello");
        let HandshakeError::Link(LinkError::Wire(error)) = error else { panic!("{error}") };
        assert_eq!(error, WireError::UnexpectedKind(FrameKind::Dispatch), "{kind:?}");
    }
}

#[test]
fn a_socket_that_a_core_gave_up_wakes_the_core_that_takes_it_over() {
    for kind in [Kind::Tcp, Kind::Unix] {
        let (near, mut far) = pair(kind, 256);
        let parker = Parker::new().expect("a place to sleep");
        // The system refuses a second registration of a socket that was not given up.
        for _ in 0..2 {
            far.register(parker.handle()).expect("a socket that no core has");
            far.unregister(parker.handle()).expect("a socket that this core has");
        }
        wake_again_and_again(kind, near, far);
    }
}

#[test]
fn a_link_that_no_core_has_cannot_be_given_up() {
    let parker = Parker::new().expect("a place to sleep");
    for kind in [Kind::Tcp, Kind::Unix] {
        let (_near, mut far) = pair(kind, 256);
        let refused = far.unregister(parker.handle());
        assert!(matches!(refused, Err(LinkError::Io(_))), "{kind:?}: {refused:?}");
    }
    // One within the process has nothing to give up, and keeps waking its core.
    let (_near, mut far) = pair(Kind::Ring, 256);
    far.register(parker.handle()).expect("a link that can wake");
    assert!(far.unregister(parker.handle()).is_ok());
}
