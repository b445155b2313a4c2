//! The ways to take a result, and what a stop does to those who still wait for one.

use crate::support::{self, PATIENCE};
use punctual_runtime::{
    Client, ClientError, Counter, Engine, Pending, Procedure, ProcedureContext, Procedures,
    TransactionResult, Transport, Verdict, host,
};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

const GATE: u16 = 1;

/// A procedure that holds its shard until the test lets go, so that "in flight" is no matter of
/// luck. No real procedure waits for anything.
struct Gate {
    entered: mpsc::Sender<()>,
    open: Mutex<mpsc::Receiver<()>>,
}

impl Procedure for Gate {
    fn run(&self, context: &mut ProcedureContext<'_>, args: &[u8]) -> Verdict {
        // Whoever gave the test up does not listen, and the shard goes on.
        let _ = self.entered.send(());
        let _ = self.open.lock().expect("only the shard locks").recv_timeout(PATIENCE);
        context.result(args);
        Verdict::Commit
    }
}

/// The test's side of a [`Gate`].
struct Keeper {
    entered: mpsc::Receiver<()>,
    open: mpsc::Sender<()>,
}

impl Keeper {
    /// Waits until a transaction stands at the gate.
    fn wait(&self) {
        self.entered.recv_timeout(PATIENCE).expect("the procedure runs");
    }

    /// Lets one transaction through.
    fn open(&self) {
        self.open.send(()).expect("the shard lives");
    }
}

/// An engine with one worker and one shard with a gate in it.
fn gated() -> (Engine, Client, Keeper) {
    let (entered_sender, entered) = mpsc::channel();
    let (open, open_receiver) = mpsc::channel();
    let gate = Gate { entered: entered_sender, open: Mutex::new(open_receiver) };
    let mut procedures = Procedures::new();
    procedures.register(GATE, "gate", gate).expect("the id is free");
    let engine = Engine::embedded(support::config(1), Transport::Ring).procedures(procedures);
    let (engine, client) = engine.start().expect("a start");
    (engine, client, Keeper { entered, open })
}

fn submit_gate(client: &Client, args: &[u8]) -> Pending {
    let mut transaction = client.transaction();
    transaction.call(GATE, "any key", args);
    client.submit(&mut transaction).expect("the transaction is taken")
}

/// Wakes a thread that parks.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The smallest executor. `when_pending` is called each time the future has to wait.
fn block_on<F: Future>(future: F, mut when_pending: impl FnMut()) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let start = Instant::now();
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        when_pending();
        thread::park_timeout(PATIENCE);
        assert!(start.elapsed() < PATIENCE, "nobody woke the future");
    }
}

fn is_committed(end: &Result<TransactionResult, ClientError>) -> bool {
    end.as_ref().is_ok_and(TransactionResult::is_committed)
}

#[test]
fn a_result_can_be_polled_and_waited_for_while_the_transaction_goes_on() {
    let (engine, client, keeper) = gated();
    let pending = submit_gate(&client, b"first");
    keeper.wait();
    assert_eq!(pending.poll(), Ok(None));
    let short = Duration::from_millis(1);
    assert_eq!(pending.wait_timeout(short), Err(ClientError::WaitTimeout));
    keeper.open();
    let result = support::end_of(&pending).expect("an outcome");
    assert_eq!((result.is_committed(), result.value(0)), (true, Some(&b"first"[..])));

    let pending = submit_gate(&client, b"second");
    keeper.open();
    let mut polled = None;
    support::until("the poll yields a result", || {
        polled = pending.poll().expect("the engine runs");
        polled.is_some()
    });
    assert_eq!(polled.as_ref().and_then(|result| result.value(0)), Some(&b"second"[..]));
    engine.stop().expect("an orderly stop");
}

#[test]
fn a_result_can_be_awaited_on_any_executor() {
    let (engine, client, keeper) = gated();
    let mut waits = 0;
    let both = async {
        let first = submit_gate(&client, b"1").await?;
        let second = submit_gate(&client, b"2").await?;
        Ok::<_, ClientError>((first, second))
    };
    // The gate opens only once the future waits, so it is the waker that must bring it back.
    let ends = block_on(both, || {
        waits += 1;
        keeper.open();
    });
    let (first, second) = ends.expect("both have an outcome");
    assert_eq!((first.value(0), second.value(0)), (Some(&b"1"[..]), Some(&b"2"[..])));
    assert!(waits >= 2, "{waits} waits for two results");
    engine.stop().expect("an orderly stop");
}

#[test]
fn dropping_a_pending_does_not_take_its_transaction_back() {
    let (engine, client) =
        Engine::embedded(support::config(1), Transport::Ring).start().expect("a start");
    drop(support::submit_add(&client, 5).expect("the transaction is taken"));
    support::until("the addition runs", || support::get(&client, 5) == Some(1));
    engine.stop().expect("an orderly stop");
}

#[test]
fn a_stop_waits_for_what_was_submitted_before_and_takes_nothing_after() {
    if host::allowed_cores().len() < 2 {
        return support::skip("on one core the gate would hold the worker as well, allow a second");
    }
    let (engine, client, keeper) = gated();
    let held = submit_gate(&client, b"held");
    keeper.wait();
    let queued = support::submit_add(&client, 3).expect("the transaction is taken");
    let stopping = thread::spawn(move || engine.stop());
    let mut late = Vec::new();
    support::until("the stop is felt", || match support::submit_add(&client, 3) {
        Ok(pending) => {
            late.push(pending);
            false
        }
        Err(error) => error == ClientError::Stopped,
    });
    assert_eq!(held.poll(), Ok(None), "nothing in flight is given up");
    keeper.open();
    for pending in [&held, &queued] {
        let end = support::end_of(pending);
        assert!(is_committed(&end), "{end:?}");
    }
    for pending in &late {
        let end = support::end_of(pending);
        assert!(is_committed(&end) || end == Err(ClientError::Stopped), "{end:?}");
    }
    stopping.join().expect("no panic").expect("an orderly stop");
}

#[test]
fn clients_that_submit_through_a_stop_all_get_an_end() {
    const THREADS: u64 = 3;
    let mut config = support::config(2);
    config.process.coordinators = 2;
    let (engine, client) = Engine::embedded(config, Transport::Ring).start().expect("a start");
    let counters = engine.counters().clone();
    let acknowledged = AtomicU64::new(0);
    let flood = |key: u64| {
        let (start, mut pending) = (Instant::now(), Vec::new());
        while start.elapsed() < PATIENCE
            && let Ok(taken) = support::submit_add(&client, key)
        {
            pending.push(taken);
        }
        for pending in &pending {
            match support::end_of(pending) {
                Err(ClientError::Stopped) => {}
                end => {
                    assert!(is_committed(&end), "{end:?}");
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    };
    thread::scope(|scope| {
        for key in 0..THREADS {
            let flood = &flood;
            scope.spawn(move || flood(key));
        }
        support::until("the flood flows", || counters.sum("worker", Counter::Committed) > 100);
        engine.stop().expect("an orderly stop");
    });
    let acknowledged = acknowledged.into_inner();
    assert_eq!(acknowledged, counters.sum("worker", Counter::Committed));
    assert_eq!(acknowledged, counters.sum("shard", Counter::Committed));
}
