//! The frames of the handshake: they come back as they were said, and nothing else passes for one.

use proptest::prelude::*;
use punctual_wire::task::QUEUES_MAX;
use punctual_wire::{
    BatchWriter, CloseReason, Features, Frame, FrameKind, Handshake, Hello, Limits, MAGIC, Role,
    VERSION, Welcome, WireError,
};
use zerocopy::IntoBytes;

const ROLES: [Role; 6] =
    [Role::Coordinator, Role::Pinger, Role::Peer, Role::Prober, Role::TaskClient, Role::TaskWorker];

fn hello() -> Hello {
    Hello {
        magic: MAGIC.into(),
        version: VERSION.into(),
        role: Role::Coordinator as u8,
        reserved: 0,
        shard: 3.into(),
        from: 0.into(),
        session: 0x1122_3344_5566_7788.into(),
        cluster: 0xa1b2_c3d4_e5f6_0718.into(),
        features: Features::CHECKSUM.0.into(),
        slots: 1_024.into(),
    }
}

fn welcome() -> Welcome {
    Welcome {
        magic: MAGIC.into(),
        version: VERSION.into(),
        shard: 3.into(),
        epoch: 7.into(),
        session: 99.into(),
        features: 0.into(),
        queues: 1.into(),
        reserved: 0.into(),
    }
}

/// Hands the one frame that `write` makes to `read`.
fn framed<T>(write: impl FnOnce(&mut BatchWriter), read: impl FnOnce(&Frame<'_>) -> T) -> T {
    let mut out = BatchWriter::new(Limits::DEFAULT, 256, false);
    write(&mut out);
    let (kind, body) = (out.sealed()[4], &out.sealed()[punctual_wire::FRAME_HEADER_BYTES..]);
    let kind = FrameKind::from_code(kind).expect("a kind that is known");
    read(&Frame { kind, count: 1, body })
}

/// A frame of one message.
fn frame(kind: FrameKind, body: &[u8]) -> Frame<'_> {
    Frame { kind, count: 1, body }
}

proptest! {
    #[test]
    fn a_hello_and_a_welcome_come_back_as_they_were_said(
        (epoch, shard, from, slots) in any::<(u32, u16, u16, u32)>(),
        (session, cluster, features) in any::<(u64, u64, u64)>(),
        role in proptest::sample::select(ROLES.to_vec()),
        queues in 1..=QUEUES_MAX,
    ) {
        let hello = Hello {
            role: role as u8,
            shard: shard.into(),
            from: from.into(),
            session: session.into(),
            cluster: cluster.into(),
            features: features.into(),
            slots: slots.into(),
            ..hello()
        };
        let read = framed(|out| Handshake::write_hello(out, &hello), Handshake::read_hello);
        let (read, read_role) = read.expect("a valid hello");
        prop_assert_eq!((read.as_bytes(), read_role), (hello.as_bytes(), role));

        let welcome = Welcome {
            shard: shard.into(),
            epoch: epoch.into(),
            session: session.into(),
            features: features.into(),
            queues: queues.into(),
            ..welcome()
        };
        let read = framed(|out| Handshake::write_welcome(out, &welcome), Handshake::read_welcome);
        let read = read.expect("a valid welcome");
        prop_assert_eq!(read.as_bytes(), welcome.as_bytes());
    }
}

#[test]
fn a_goodbye_brings_its_reason() {
    for reason in CloseReason::ALL {
        let read = framed(|out| Handshake::write_goodbye(out, reason), Handshake::read_goodbye);
        assert_eq!(read, Ok(reason));
    }
}

#[test]
fn frames_of_the_handshake_travel_alone() {
    let mut out = BatchWriter::new(Limits::DEFAULT, 256, false);
    Handshake::write_goodbye(&mut out, CloseReason::Stopping);
    Handshake::write_goodbye(&mut out, CloseReason::Stopping);
    assert_eq!(out.take_counts(), (2, 2));
}

#[test]
fn a_shard_says_in_its_hello_which_one_it_is() {
    let said = Hello { role: Role::Peer as u8, from: 0x0a0b.into(), ..hello() };
    let mut out = BatchWriter::new(Limits::DEFAULT, 256, false);
    Handshake::write_hello(&mut out, &said);
    let body = &out.sealed()[punctual_wire::FRAME_HEADER_BYTES..];
    // Version, role, nothing, the shard that is wanted, the shard that asks.
    assert_eq!(body[8..16], [3, 0, 3, 0, 3, 0, 0x0b, 0x0a]);
}

#[test]
fn a_task_server_says_at_the_end_of_its_welcome_how_many_queues_it_has() {
    let said = Welcome { queues: QUEUES_MAX.into(), ..welcome() };
    let mut out = BatchWriter::new(Limits::DEFAULT, 256, false);
    Handshake::write_welcome(&mut out, &said);
    let body = &out.sealed()[punctual_wire::FRAME_HEADER_BYTES..];
    // Version, the queue that answers, epoch, session, features, queues, nothing.
    assert_eq!(body[8..16], [3, 0, 3, 0, 7, 0, 0, 0]);
    assert_eq!(body[16..32], [99_u64.to_le_bytes(), [0; 8]].concat());
    assert_eq!(body[32..], [64, 0, 0, 0]);
}

#[test]
fn a_welcome_to_more_queues_than_there_may_be_or_to_none_is_refused() {
    for queues in [0, QUEUES_MAX + 1, u16::MAX] {
        let welcome = Welcome { queues: queues.into(), ..welcome() };
        let error = Handshake::read_welcome(&frame(FrameKind::Welcome, welcome.as_bytes())).err();
        let value = u64::from(queues);
        assert_eq!(error, Some(WireError::UnknownValue { what: "number of queues", value }));
    }
}

#[test]
fn a_hello_of_a_stranger_is_refused() {
    let strange = Hello { magic: u64::from_le_bytes(*b"GET / HT").into(), ..hello() };
    let error = Handshake::read_hello(&frame(FrameKind::Hello, strange.as_bytes())).err();
    assert_eq!(error, Some(WireError::Magic(u64::from_le_bytes(*b"GET / HT"))));
    for role in [0, 7, u8::MAX] {
        let strange = Hello { role, ..hello() };
        let error = Handshake::read_hello(&frame(FrameKind::Hello, strange.as_bytes())).err();
        assert_eq!(error, Some(WireError::UnknownValue { what: "role", value: role.into() }));
    }
}

#[test]
fn a_welcome_of_a_stranger_is_refused() {
    let strange = Welcome { magic: 7.into(), ..welcome() };
    let error = Handshake::read_welcome(&frame(FrameKind::Welcome, strange.as_bytes())).err();
    assert_eq!(error, Some(WireError::Magic(7)));
}

#[test]
fn another_version_is_recognised_whatever_the_length_of_its_greeting() {
    let hello = Hello { version: (VERSION + 1).into(), role: 99, ..hello() };
    let welcome = Welcome { version: (VERSION + 1).into(), ..welcome() };
    let other = Some(WireError::Version(VERSION + 1));
    for len in [10, 11, 30, 100] {
        let mut body = hello.as_bytes().to_vec();
        body.resize(len, 0);
        assert_eq!(Handshake::read_hello(&frame(FrameKind::Hello, &body)).err(), other);
        let mut body = welcome.as_bytes().to_vec();
        body.resize(len, 0);
        assert_eq!(Handshake::read_welcome(&frame(FrameKind::Welcome, &body)).err(), other);
    }
}

#[test]
fn a_goodbye_without_a_known_reason_is_refused() {
    for code in [0, 13, u8::MAX] {
        let error = Handshake::read_goodbye(&frame(FrameKind::Goodbye, &[code, 0, 0, 0])).err();
        let value = u64::from(code);
        assert_eq!(error, Some(WireError::UnknownValue { what: "close reason", value }));
    }
}

#[test]
fn a_frame_of_another_kind_is_not_expected_in_a_handshake() {
    let (hello, welcome) = (hello(), welcome());
    let bodies = [hello.as_bytes(), welcome.as_bytes(), &[1, 0, 0, 0]];
    for kind in (0..=u8::MAX).filter_map(FrameKind::from_code) {
        let unexpected = Some(WireError::UnexpectedKind(kind));
        for body in bodies {
            let frame = frame(kind, body);
            let errors = [
                (FrameKind::Hello, Handshake::read_hello(&frame).err()),
                (FrameKind::Welcome, Handshake::read_welcome(&frame).err()),
                (FrameKind::Goodbye, Handshake::read_goodbye(&frame).err()),
            ];
            for (wanted, error) in errors {
                assert_eq!(error == unexpected, kind != wanted, "{wanted:?}: {error:?}");
            }
        }
    }
}

/// What a reader of the handshake finds wrong.
type Complaint = fn(&Frame<'_>) -> Option<WireError>;

#[test]
fn a_handshake_of_another_length_or_count_is_refused() {
    let (hello, welcome) = (hello(), welcome());
    let cases: [(FrameKind, &[u8], &str, Complaint); 3] = [
        (FrameKind::Hello, hello.as_bytes(), "hello", |it| Handshake::read_hello(it).err()),
        (FrameKind::Welcome, welcome.as_bytes(), "welcome", |it| Handshake::read_welcome(it).err()),
        (FrameKind::Goodbye, &[1, 0, 0, 0], "goodbye", |it| Handshake::read_goodbye(it).err()),
    ];
    for (kind, body, what, error) in cases {
        assert_eq!(error(&frame(kind, body)), None);
        let cut = &body[..body.len() - 1];
        assert_eq!(error(&frame(kind, cut)), Some(WireError::Truncated { what }));
        assert_eq!(error(&frame(kind, &[])), Some(WireError::Truncated { what }));
        let long = [body, &[0; 3]].concat();
        assert_eq!(error(&frame(kind, &long)), Some(WireError::Trailing { what, bytes: 3 }));
        let twice = Frame { kind, count: 2, body };
        assert_eq!(error(&twice), Some(WireError::BatchCount { count: 2, max: 1 }));
    }
}

#[test]
fn only_features_that_both_sides_have_hold() {
    let (none, unknown) = (Features::default(), Features(1 << 63));
    let both = Features(Features::CHECKSUM.0 | unknown.0);
    assert_eq!(both.intersection(Features::CHECKSUM), Features::CHECKSUM);
    assert_eq!(unknown.intersection(Features::CHECKSUM), none);
    assert!(both.contains(Features::CHECKSUM) && both.contains(none));
    assert!(!unknown.contains(Features::CHECKSUM) && !Features::CHECKSUM.contains(both));
}
