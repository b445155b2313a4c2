//! Frames arrive whole, in order, as they were batched, and up to the end of the link.

use super::*;

#[test]
fn messages_arrive_in_order_in_both_directions() {
    let length = |index: u64| (17 * index % 1_000) as usize;
    for kind in Kind::ALL {
        let (mut near, mut far) = pair(kind, 256);
        for index in 0..300 {
            write(near.outgoing(), index, length(index));
            write(far.outgoing(), 1_000 + index, length(index) / 2);
            if index % 7 == 0 {
                near.flush().expect("an open link");
                far.flush().expect("an open link");
            }
        }
        let (mut there, mut back) = (Vec::new(), Vec::new());
        until("all messages have arrived", || {
            near.flush().expect("an open link");
            far.flush().expect("an open link");
            there.extend(receive(far.as_mut(), usize::MAX, false).expect("an open link").concat());
            back.extend(receive(near.as_mut(), usize::MAX, false).expect("an open link").concat());
            there.len() >= 300 && back.len() >= 300
        });
        let sent = (0..300).map(|index| (index, text(index, length(index))));
        assert_eq!(there, sent.collect::<Vec<_>>(), "{kind:?}");
        let sent = (0..300).map(|index| (1_000 + index, text(1_000 + index, length(index) / 2)));
        assert_eq!(back, sent.collect::<Vec<_>>(), "{kind:?}");
    }
}

#[test]
fn messages_share_frames_as_the_batch_limit_says() {
    for kind in Kind::ALL {
        for (batch_max, sizes) in [(256, vec![10]), (4, vec![4, 4, 2]), (1, vec![1; 10])] {
            let (mut near, mut far) = pair(kind, batch_max);
            for index in 0..10 {
                write(near.outgoing(), index, 100);
            }
            flush_all(near.as_mut());
            let batches = receive_messages(far.as_mut(), 10);
            assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), sizes, "{kind:?}");
        }
    }
}

#[test]
fn without_batching_more_frames_than_the_link_holds_arrive_one_by_one() {
    for kind in Kind::ALL {
        let (mut near, mut far) = pair(kind, 1);
        let count = 10 * crate::RING_BUFFERS as u64;
        for index in 0..count {
            write(near.outgoing(), index, 50);
        }
        let mut received = 0;
        until("all frames have arrived", || {
            near.flush().expect("an open link");
            for batch in receive(far.as_mut(), usize::MAX, false).expect("an open link") {
                assert_eq!(batch, [(received, text(received, 50))], "{kind:?}");
                received += 1;
            }
            received == count
        });
        assert_eq!(near.pending(), 0, "{kind:?}");
    }
}

#[test]
fn a_link_that_has_nothing_to_do_says_so() {
    for kind in Kind::ALL {
        let (mut near, mut far) = pair(kind, 256);
        for link in [&mut near, &mut far] {
            assert_eq!(link.flush().expect("an open link"), 0, "{kind:?}");
            assert_eq!(link.poll().expect("an open link"), 0, "{kind:?}");
            assert!(link.parts().0.is_empty() && link.has_room() && link.pending() == 0);
        }
    }
}

#[test]
fn what_is_not_consumed_stays_and_what_comes_later_follows_it() {
    for kind in Kind::ALL {
        // Three frames in one flush, so that a ring brings them in one buffer.
        let (mut near, mut far) = pair(kind, 2);
        for index in 0..6 {
            write(near.outgoing(), index, 40);
        }
        let sent = near.pending();
        flush_all(near.as_mut());
        until("all bytes have arrived", || {
            far.poll().expect("an open link");
            far.parts().0.len() == sent
        });
        let all = far.parts().0.to_vec();
        // A frame and a half, which no reader of frames would do.
        let part = sent / 2;
        far.consume(part);
        assert_eq!(far.parts().0, &all[part..], "{kind:?}");
        write(near.outgoing(), 6, 40);
        flush_all(near.as_mut());
        far.poll().expect("an open link");
        assert!(far.parts().0.starts_with(&all[part..]), "{kind:?}");
        far.consume(sent - part);
        let late = receive_messages(far.as_mut(), 1);
        assert_eq!(late, [vec![(6, text(6, 40))]], "{kind:?}");
    }
}

#[test]
fn the_end_of_a_link_comes_after_all_that_was_sent_before() {
    for kind in Kind::ALL {
        let (mut near, mut far) = pair(kind, 4);
        for index in 0..10 {
            write(near.outgoing(), index, 500);
            near.flush().expect("an open link");
        }
        flush_all(near.as_mut());
        drop(near);
        let mut indices = Vec::new();
        until("the end has come", || match receive(far.as_mut(), 3, false) {
            Ok(batches) => {
                indices.extend(batches.concat().into_iter().map(|(index, _)| index));
                false
            }
            Err(LinkError::Closed) => true,
            Err(error) => panic!("{kind:?}: {error}"),
        });
        assert_eq!(indices, (0..10).collect::<Vec<_>>(), "{kind:?}");
        assert!(matches!(far.poll(), Err(LinkError::Closed)), "{kind:?}: the end remains");
    }
}

#[test]
fn whoever_sends_to_a_closed_end_learns_of_it() {
    for kind in Kind::ALL {
        let (mut near, far) = pair(kind, 256);
        drop(far);
        // A socket may take the first bytes before it hears that nobody is there.
        until("the end is noticed", || {
            write(near.outgoing(), 0, 10);
            match near.flush() {
                Ok(_) => false,
                Err(LinkError::Closed) => true,
                Err(error) => panic!("{kind:?}: {error}"),
            }
        });
    }
}
