//! Far more than a link holds: a slow reader slows the writer down, and nothing is lost.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::VecDeque;

/// The length of message `index`: any up to 4 KiB, always the same (a step of splitmix64).
fn length(index: u64) -> usize {
    let mixed = (index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed >> 52) as usize
}

/// Writes and flushes message after message while there is room, up to number `end`.
fn send_while_room(link: &mut dyn Link, next: &mut u64, end: u64) {
    while *next < end && link.has_room() {
        write(link.outgoing(), *next, length(*next));
        link.flush().expect("an open link");
        *next += 1;
    }
}

#[test]
fn a_reader_that_does_not_read_blocks_the_writer_and_loses_nothing() {
    for kind in Kind::ALL {
        let (mut near, mut far) = pair(kind, 256);
        let mut sent = 0;
        // Whatever the sockets hold (some grow to tens of megabytes), at some point it is enough.
        until("the writer is blocked", || {
            send_while_room(near.as_mut(), &mut sent, u64::MAX);
            near.flush().expect("an open link") == 0 && !near.has_room()
        });
        assert!(sent > 1_000, "{kind:?}: blocked after {sent} messages already");
        let end = sent + 2_000;
        let (mut received, mut turn) = (0, 0);
        until("all messages have arrived", || {
            // Of what is there only a few frames are read at a time, each time another number.
            let frames_max = length(turn) % 8;
            turn += 1;
            let batches = receive(far.as_mut(), frames_max, false).expect("an open link");
            for (index, args) in batches.concat() {
                assert_eq!(index, received, "{kind:?}");
                assert!(args == text(index, length(index)), "{kind:?}: message {index} differs");
                received += 1;
            }
            send_while_room(near.as_mut(), &mut sent, end);
            near.flush().expect("an open link");
            received == end
        });
        assert_eq!(near.pending(), 0, "{kind:?}");
        assert!(near.has_room(), "{kind:?}");
    }
}

#[test]
fn two_threads_that_flood_each_other_both_get_everything() {
    const COUNT: u64 = 5_000;
    let exchange = |mut link: Box<dyn Link>| {
        let (mut sent, mut received) = (0, 0);
        until("all messages have come and gone", || {
            send_while_room(link.as_mut(), &mut sent, COUNT);
            link.flush().expect("an open link");
            let batches = receive(link.as_mut(), 50, false).expect("an open link");
            for (index, args) in batches.concat() {
                assert_eq!(index, received);
                assert!(args == text(index, length(index)), "message {index} differs");
                received += 1;
            }
            received == COUNT && sent == COUNT && link.pending() == 0
        });
        link
    };
    for kind in Kind::ALL {
        let (near, far) = pair(kind, 64);
        thread::scope(|scope| {
            let other = scope.spawn(move || exchange(far));
            // Neither end is closed before the other is done.
            let _near = exchange(near);
            other.join().expect("the other thread gets everything as well");
        });
    }
}

/// What an end of a link does next.
#[derive(Debug, Clone)]
enum Step {
    Send { len: usize },
    Flush,
    Receive { frames_max: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_000_usize).prop_map(|len| Step::Send { len }),
        1 => Just(Step::Flush),
        1 => (0..5_usize).prop_map(|frames_max| Step::Receive { frames_max }),
    ]
}

/// One direction of a link as it should be: what was sent and has not been received yet.
#[derive(Debug, Default)]
struct Expected {
    sent: u64,
    waiting: VecDeque<(u64, Vec<u8>)>,
}

impl Expected {
    fn receive(&mut self, link: &mut dyn Link, frames_max: usize) {
        for message in receive(link, frames_max, false).expect("an open link").concat() {
            assert_eq!(Some(message), self.waiting.pop_front());
        }
    }
}

/// Takes the steps, each at the near or the far end, then lets everything arrive.
fn take_steps(kind: Kind, batch_max: u16, steps: &[(bool, Step)]) {
    let (mut near, mut far) = pair(kind, batch_max);
    let (mut there, mut back) = (Expected::default(), Expected::default());
    for (at_near, step) in steps {
        let (link, outgoing, incoming) = if *at_near {
            (near.as_mut(), &mut there, &mut back)
        } else {
            (far.as_mut(), &mut back, &mut there)
        };
        match step {
            Step::Send { len } => {
                write(link.outgoing(), outgoing.sent, *len);
                outgoing.waiting.push_back((outgoing.sent, text(outgoing.sent, *len)));
                outgoing.sent += 1;
            }
            Step::Flush => {
                link.flush().expect("an open link");
            }
            Step::Receive { frames_max } => incoming.receive(link, *frames_max),
        }
    }
    until("everything has arrived", || {
        near.flush().expect("an open link");
        far.flush().expect("an open link");
        there.receive(far.as_mut(), usize::MAX);
        back.receive(near.as_mut(), usize::MAX);
        there.waiting.is_empty() && back.waiting.is_empty()
    });
    assert_eq!((near.pending(), far.pending()), (0, 0));
    assert!(near.parts().0.is_empty() && far.parts().0.is_empty(), "more came than was sent");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_order_of_sending_flushing_and_receiving_loses_or_mixes_messages(
        batch_max in prop_oneof![Just(1_u16), 2..20_u16, Just(256)],
        steps in vec((any::<bool>(), step()), 1..150),
    ) {
        for kind in Kind::ALL {
            take_steps(kind, batch_max, &steps);
        }
    }
}
