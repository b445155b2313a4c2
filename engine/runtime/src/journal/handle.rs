//! What the shard's core holds of its journal.

use super::dir::JournalDir;
use super::keeper::{Event, Keeper, SPARES_MAX, Stock, Tools, make_in};
use super::shared::{JournalCounts, Shared};
use super::snapshot::snapshots_in;
use super::writer::{Command, Ending, Intake, WriterTask};
use super::{JournalError, JournalPlan, glommio, threads};
use crate::config::JournalBackend;
use punctual_core::journal::{Logged, Lsn, Replica, SegmentHead};
use punctual_link::CoreWaker;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

/// Batches with the writer that it has not taken up. While there are so many the shard gathers the
/// next one: that is all there is to group commit.
const BATCHES_MAX: usize = 2;

/// The journal of a shard that is at work. Dropped without being closed, it stops as a crash would
/// stop it, but for the writes under way.
#[derive(Debug)]
pub(crate) struct Journal {
    shared: Arc<Shared>,
    /// Holds the lock.
    dir: Arc<JournalDir>,
    commands: Option<flume::Sender<Command>>,
    /// The memory of batches that were taken up.
    spent: flume::Receiver<Vec<u8>>,
    events: flume::Sender<Event>,
    writer: Option<JoinHandle<()>>,
    keeper: Option<JoinHandle<()>>,
    /// Where what was handed over ends.
    handed: Lsn,
    /// What the shard was told.
    durable: Lsn,
    is_full: bool,
    has_reported: bool,
    warning: Option<String>,
}

impl Journal {
    /// Starts the threads of a journal. `head` is that of the segment to be written next, `number`
    /// that of its file. Snapshots are made with `setup`, by the session that the journal has.
    ///
    /// # Errors
    /// When there is no room for the first segment, or what is to write it cannot be had.
    pub(crate) fn start<R: Replica>(
        plan: &JournalPlan,
        dir: JournalDir,
        head: SegmentHead,
        number: u64,
        setup: R::Setup,
    ) -> Result<Self, JournalError> {
        let dir = Arc::new(dir);
        let tools = Tools {
            make: make_in(&dir, plan.segment_bytes),
            // Whoever makes a snapshot of it is the same run as well.
            snapshot: snapshots_in::<R>(&dir, R::with_session(setup, head.session)),
            dir,
            shard: head.shard,
            segment_bytes: plan.segment_bytes,
            snapshot_after: plan.snapshot_after,
        };
        Self::start_with(plan, tools, &head, number)
    }

    pub(super) fn start_with(
        plan: &JournalPlan,
        tools: Tools,
        head: &SegmentHead,
        number: u64,
    ) -> Result<Self, JournalError> {
        let dir = Arc::clone(&tools.dir);
        let shard = tools.shard.0;
        let failed = |why| JournalError::Start { dir: dir.path().to_owned(), why };
        let stock = Stock::take(&dir, number, plan.segment_bytes)?;
        let (way, warning) = choose(plan.backend, &stock.spares[0].path).map_err(failed)?;

        let shared = Shared::new(head.start);
        // At the end there is one more batch, and the word that it is the last.
        let (commands, handed_over) = flume::bounded(BATCHES_MAX + 2);
        let (give_back, spent) = flume::bounded(BATCHES_MAX + 1);
        let (offer, spares) = flume::bounded(SPARES_MAX);
        let (tell, events) = flume::unbounded();
        let keeper =
            Keeper::new(tools, Arc::clone(&shared), offer.clone(), (tell.clone(), events), &stock);
        for spare in stock.spares {
            let _ = offer.try_send(spare);
        }
        drop(offer);

        let task = || WriterTask {
            intake: Intake::new(
                handed_over.clone(),
                give_back.clone(),
                Arc::clone(&shared),
                head,
                plan.segment_bytes,
            ),
            spares: spares.clone(),
            events: tell.clone(),
            shared: Arc::clone(&shared),
        };
        let spawned = spawn_writer(shard, plan, (way, warning), &task);
        let (writer, warning) = spawned.map_err(failed)?;
        let mut journal = Self {
            shared,
            dir: Arc::clone(&dir),
            commands: Some(commands),
            spent,
            events: tell,
            writer: Some(writer),
            keeper: None,
            handed: head.start,
            durable: head.start,
            is_full: false,
            has_reported: false,
            warning,
        };
        // From here on whatever goes wrong ends the writer: it is dropped with the rest.
        let spawned = thread::Builder::new().name(format!("keeper{shard}"));
        let spawned = spawned.spawn(move || keeper.run());
        journal.keeper = Some(spawned.map_err(|error| failed(error.to_string()))?);
        Ok(journal)
    }

    /// Says whom to wake when there is something to pump.
    pub(crate) fn set_waker(&mut self, waker: Option<Arc<CoreWaker>>) {
        if let Some(waker) = waker {
            self.shared.set_waker(waker);
        }
    }

    /// Tells the shard how far its log is durable, and hands over what it has appended, unless
    /// enough is with the writer. Never waits. Returns how much was done.
    ///
    /// # Errors
    /// Once, when the journal cannot be written any more: nothing more will be durable.
    #[inline]
    pub(crate) fn pump<L: Logged>(&mut self, shard: &mut L) -> Result<usize, JournalError> {
        if self.shared.has_failed() {
            return self.report();
        }
        let mut work = 0;
        let durable = self.shared.durable();
        if durable > self.durable {
            self.durable = durable;
            shard.on_durable(durable);
            work += 1;
        }
        let is_full = self.shared.is_full();
        if is_full != self.is_full {
            self.set_full(shard, is_full);
            work += 1;
        }
        if shard.log_len() > 0 && self.has_room() {
            let mut records = self.spent.try_recv().unwrap_or_default();
            let lsn = shard.take_log(&mut records);
            self.hand(lsn, records);
            work += 1;
        }
        Ok(work)
    }

    #[cold]
    fn report(&mut self) -> Result<usize, JournalError> {
        if std::mem::replace(&mut self.has_reported, true) {
            return Ok(0);
        }
        Err(JournalError::WriterDied { why: self.shared.failure().unwrap_or_default() })
    }

    #[cold]
    fn set_full<L: Logged>(&mut self, shard: &mut L, is_full: bool) {
        self.is_full = is_full;
        shard.set_journal_full(is_full);
        let (shard, dir) = (shard.id().0, self.dir.path().display());
        if is_full {
            tracing::warn!(shard, %dir, "the journal is full: what would go into it is refused");
        } else {
            tracing::info!(shard, %dir, "there is room for the journal again");
        }
    }

    /// Whether another batch may be handed over.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        self.shared.queued() < BATCHES_MAX
    }

    /// Hands over records that follow those before.
    #[inline]
    pub(super) fn hand(&mut self, lsn: Lsn, records: Vec<u8>) {
        self.handed = lsn.plus(records.len());
        self.shared.note_queued();
        let Some(commands) = &self.commands else { return };
        // A writer that is gone has said why.
        let _ = commands.try_send(Command::Write { lsn, records });
    }

    /// Hands over what is left in the log of the shard, before the journal is closed. To be called
    /// once: there is room for it whatever is with the writer.
    pub(crate) fn hand_rest<L: Logged>(&mut self, shard: &mut L) {
        if shard.log_len() > 0 && !self.shared.has_failed() {
            let mut records = Vec::new();
            let lsn = shard.take_log(&mut records);
            self.hand(lsn, records);
        }
    }

    /// Whether anything that was handed over is not durable yet.
    pub(crate) fn is_waiting(&self) -> bool {
        self.handed > self.shared.durable()
    }

    /// What was counted.
    pub(crate) fn counts(&self) -> JournalCounts {
        self.shared.counts()
    }

    /// What could not be had, and what is done instead.
    pub(crate) fn warning(&self) -> Option<String> {
        self.warning.clone()
    }

    /// Writes what was handed over, and a last block which says that everything is durable; then
    /// ends the threads and gives the directory back.
    ///
    /// # Errors
    /// When that cannot be written, or something could not be before. What was durable still is.
    pub(crate) fn close(mut self) -> Result<(), JournalError> {
        self.shared.end();
        let _ = self.events.send(Event::Closing);
        if let Some(commands) = self.commands.take() {
            let _ = commands.send(Command::Close);
        }
        self.join();
        let (dir, durable) = (self.dir.path().display(), self.counts().durable);
        tracing::debug!(%dir, %durable, "the journal is closed");
        let unfinished = || self.is_waiting().then(|| "it ended too early".to_owned());
        match self.shared.failure().or_else(unfinished) {
            None => Ok(()),
            Some(why) => Err(JournalError::WriterDied { why }),
        }
    }

    fn join(&mut self) {
        if let Some(writer) = self.writer.take() {
            // Whoever panicked has said so.
            let _ = writer.join();
        }
        let _ = self.events.send(Event::Ended);
        if let Some(keeper) = self.keeper.take()
            && keeper.join().is_err()
        {
            self.shared.fail("its keeper panicked: see the output of the program".to_owned());
        }
    }

    #[cfg(test)]
    pub(super) fn failure(&self) -> Option<String> {
        self.shared.failure()
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if self.writer.is_none() {
            return;
        }
        self.shared.abandon();
        let _ = self.events.send(Event::Closing);
        drop(self.commands.take());
        self.join();
    }
}

/// How a journal is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Glommio,
    Threads { is_direct: bool },
}

/// What was asked for, or what works with this spare; with a text that says what does not.
fn choose(wanted: JournalBackend, spare: &Path) -> Result<(Way, Option<String>), String> {
    let direct = threads::probe_direct(spare);
    let is_direct = direct.is_ok();
    let threads = Way::Threads { is_direct };
    let cached = |why: String| format!("the journal is written through the page cache: {why}");
    if wanted == JournalBackend::Threads {
        return Ok((threads, direct.err().map(cached)));
    }
    match direct.clone().and_then(|()| crate::backend::try_glommio()) {
        Ok(()) => Ok((Way::Glommio, None)),
        Err(why) if wanted == JournalBackend::Glommio => {
            Err(format!("glommio cannot write it: {why}"))
        }
        Err(why) => Ok((threads, Some(instead_of_glommio(&why)))),
    }
}

fn instead_of_glommio(why: &str) -> String {
    format!("a plain thread writes the journal because glommio cannot: {why}")
}

/// Starts the thread of a writer. An executor that was to be had a moment ago may not be had now;
/// where nobody insists on it there is another way.
fn spawn_writer(
    shard: u16,
    plan: &JournalPlan,
    (way, warning): (Way, Option<String>),
    task: &dyn Fn() -> WriterTask,
) -> Result<(JoinHandle<()>, Option<String>), String> {
    let name = format!("journal{shard}");
    match spawn(name.clone(), way, plan.core, task()) {
        Ok(thread) => Ok((thread, warning)),
        Err(why) if way == Way::Glommio && plan.backend == JournalBackend::Auto => {
            let thread = spawn(name, Way::Threads { is_direct: true }, plan.core, task())?;
            Ok((thread, Some(instead_of_glommio(&why))))
        }
        Err(why) => Err(why),
    }
}

fn spawn(
    name: String,
    way: Way,
    core: Option<usize>,
    task: WriterTask,
) -> Result<JoinHandle<()>, String> {
    let (tell, started) = flume::bounded(1);
    let work = move || match way {
        Way::Glommio => match glommio::make(core) {
            Ok(executor) => {
                let _ending = Ending::of(&task);
                let _ = tell.send(Ok(()));
                glommio::run(&executor, task);
            }
            Err(why) => {
                let _ = tell.send(Err(why));
            }
        },
        Way::Threads { is_direct } => {
            let _ending = Ending::of(&task);
            if let Some(id) = core
                && !crate::host::pin_current(id)
            {
                tracing::warn!(core = id, "the journal's thread could not be pinned");
            }
            let _ = tell.send(Ok(()));
            threads::run(task, is_direct);
        }
    };
    let spawned = thread::Builder::new().name(name).spawn(work);
    let thread = spawned.map_err(|error| format!("there is no thread for it: {error}"))?;
    // An executor may panic instead of returning an error.
    match started.recv().unwrap_or_else(|_| Err("glommio panicked".to_owned())) {
        Ok(()) => Ok(thread),
        Err(why) => {
            let _ = thread.join();
            Err(why)
        }
    }
}
