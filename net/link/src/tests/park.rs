//! Parking: whoever sleeps is woken by what it waits for. A wake-up that gets lost shows as a sleep
//! of the whole patience; many rounds meet the sleeper in every state between awake and asleep.

use super::*;
use crate::{CoreWaker, Parker};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;

const ROUNDS: u64 = 200;

/// Parks until something has arrived, and drops it; the error of the link when it ended.
fn sleep_until_bytes(link: &mut dyn Link, parker: &mut Parker) -> Result<(), LinkError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        link.poll()?;
        let arrived = link.parts().0.len();
        if arrived > 0 {
            link.consume(arrived);
            return Ok(());
        }
        let look_again = || link.poll().unwrap_or(1);
        parker.park(Some(PATIENCE), look_again).expect("a place to sleep");
        assert!(Instant::now() < deadline, "nothing woke the sleeper");
    }
}

/// Has a core sleep at the far end until each of many messages and the end of the link wake it.
pub(super) fn wake_again_and_again(kind: Kind, mut near: Box<dyn Link>, mut far: Box<dyn Link>) {
    thread::scope(|scope| {
        let sleeper = scope.spawn(move || {
            let mut parker = Parker::new().expect("a place to sleep");
            far.register(parker.handle()).expect("a link that can wake");
            let mut rounds = 0;
            while sleep_until_bytes(far.as_mut(), &mut parker).is_ok() {
                rounds += 1;
                write(far.outgoing(), rounds, 10);
                far.flush().expect("an open link");
            }
            rounds
        });
        for round in 1..=ROUNDS {
            write(near.outgoing(), round, 10);
            near.flush().expect("an open link");
            let answer = receive_messages(near.as_mut(), 1);
            assert_eq!(answer, [[(round, text(round, 10))]], "{kind:?}");
        }
        drop(near);
        assert_eq!(sleeper.join().expect("the sleeper ends well"), ROUNDS, "{kind:?}");
    });
}

#[test]
fn a_parked_core_is_woken_by_every_flush_and_by_the_end() {
    for kind in Kind::ALL {
        let (near, far) = pair(kind, 256);
        wake_again_and_again(kind, near, far);
    }
}

#[test]
fn a_parked_writer_is_woken_when_its_link_has_room_again() {
    for kind in Kind::ALL {
        let (mut near, mut far) = pair(kind, 256);
        until("the writer is blocked", || {
            while near.has_room() {
                write(near.outgoing(), 0, 4_000);
                near.flush().expect("an open link");
            }
            near.flush().expect("an open link") == 0 && !near.has_room()
        });
        let (done, is_done) = channel();
        thread::scope(|scope| {
            scope.spawn(move || {
                let mut parker = Parker::new().expect("a place to sleep");
                near.register(parker.handle()).expect("a link that can wake");
                let deadline = Instant::now() + PATIENCE;
                while near.pending() > 0 {
                    let look_again = || near.flush().expect("an open link");
                    parker.park(Some(PATIENCE), look_again).expect("a place to sleep");
                    assert!(Instant::now() < deadline, "nothing woke the writer");
                    near.flush().expect("an open link");
                }
                done.send(()).expect("the reader waits for it");
            });
            until("the writer is rid of everything", || {
                // The writer closes its end when it is done; that may be seen here first.
                let _ = far.poll();
                let there = far.parts().0.len();
                far.consume(there);
                is_done.try_recv().is_ok()
            });
        });
    }
}

/// Parks until the number in the mailbox has changed, and returns it.
fn sleep_until_mail(parker: &mut Parker, mailbox: &AtomicU64, old: u64) -> u64 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mail = mailbox.load(Ordering::Acquire);
        if mail != old {
            return mail;
        }
        let look_again = || usize::from(mailbox.load(Ordering::Acquire) != old);
        parker.park(Some(PATIENCE), look_again).expect("a place to sleep");
        assert!(Instant::now() < deadline, "nothing woke the sleeper");
    }
}

/// Changes a mailbox again and again and wakes its sleeper by `wake` each time.
fn deliver(wake: fn(&CoreWaker)) {
    let (mailbox, echo) = (AtomicU64::new(0), AtomicU64::new(0));
    let mut parker = Parker::new().expect("a place to sleep");
    let waker = Arc::clone(parker.handle().waker());
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut last = 0;
            while last < ROUNDS {
                last = sleep_until_mail(&mut parker, &mailbox, last);
                echo.store(last, Ordering::Release);
            }
        });
        for round in 1..=ROUNDS {
            mailbox.store(round, Ordering::Release);
            wake(&waker);
            until("the mail was read", || echo.load(Ordering::Acquire) == round);
        }
    });
}

#[test]
fn a_parked_core_is_woken_by_its_waker() {
    deliver(CoreWaker::wake);
}

#[test]
fn a_waker_that_only_wakes_sleepers_misses_none() {
    deliver(CoreWaker::wake_if_parked);
}

#[test]
fn a_core_that_was_woken_beforehand_does_not_sleep() {
    let mut parker = Parker::new().expect("a place to sleep");
    parker.handle().waker().wake();
    let start = Instant::now();
    parker.park(Some(PATIENCE), || 0).expect("a place to sleep");
    assert!(start.elapsed() < PATIENCE, "it slept to the end");
}

#[test]
fn a_core_that_finds_work_when_it_looks_again_does_not_sleep() {
    let mut parker = Parker::new().expect("a place to sleep");
    assert!(!parker.park(None, || 1).expect("a place to sleep"));
    // Without work it sleeps, and the end of the time is no error.
    assert!(parker.park(Some(Duration::ZERO), || 0).expect("a place to sleep"));
}

#[test]
fn a_parked_core_is_woken_by_a_visitor() {
    let folder = folder();
    for endpoint in [any_port(), socket_in(&folder)] {
        let mut listener = Listener::bind(&endpoint, LIMITS, 256).expect("a free endpoint");
        let endpoint = listener.endpoint().expect("a bound endpoint");
        let mut parker = Parker::new().expect("a place to sleep");
        listener.register(parker.handle()).expect("a listener that can wake");
        thread::scope(|scope| {
            let visitor = scope.spawn(|| StreamLink::connect(&endpoint, LIMITS, 256));
            let deadline = Instant::now() + PATIENCE;
            while listener.accept().expect("a working listener").is_none() {
                parker.park(Some(PATIENCE), || 0).expect("a place to sleep");
                assert!(Instant::now() < deadline, "nothing woke the listener: {endpoint}");
            }
            visitor.join().expect("no panic").expect("a listener is there");
        });
    }
}
