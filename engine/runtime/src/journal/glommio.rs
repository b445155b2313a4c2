//! The writer on glommio's direct I/O, with several writes under way.
//!
//! Its executor has a thread of its own and waits for batches, spares and I/O, for nothing else. So
//! while nothing is under way it may as well block: a small block that comes then is written by a
//! plain call, which saves it the ways through the ring and back (65 us of 205 at a write of 105,
//! measured on two cores).
//! Nothing here yields: see decision 0004 for what happens to an executor of glommio 0.9 that does.

use super::keeper::Event;
use super::shared::Shared;
use super::threads::{Aligned, open, write_at};
use super::writer::{
    Block, Progress, Step, WriterTask, check_written, file_failed, no_spare, write_failed,
};
use ::glommio::io::{DmaBuffer, DmaFile, OpenOptions};
use ::glommio::{LocalExecutor, LocalExecutorBuilder, Placement, Task};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Writes under way at most.
const FLIGHTS_MAX: usize = 4;
/// A block of up to this size that finds nothing under way is written by a plain call.
const PLAIN_BYTES_MAX: usize = 64 << 10;
/// Memory that is registered for I/O: as many blocks of the largest size. What does not find room
/// in it is allocated.
const IO_MEMORY_BYTES: usize = 4 << 20;
/// An executor goes to sleep with a task that could run if this is over just after it was set. The
/// default of 100 ms can be, on a machine with more threads than cores; nothing here needs it.
const PREEMPT_TIMER: Duration = Duration::from_secs(3600);

/// Makes the executor, on the thread that it is to run on.
pub(super) fn make(core: Option<usize>) -> Result<LocalExecutor, String> {
    let placement = core.map_or(Placement::Unbound, Placement::Fixed);
    let builder = LocalExecutorBuilder::new(placement);
    let made = builder.io_memory(IO_MEMORY_BYTES).preempt_timer(PREEMPT_TIMER).make();
    made.map_err(|error| error.to_string())
}

/// Writes until the journal ends.
pub(super) fn run(executor: &LocalExecutor, task: WriterTask) {
    executor.run(async move {
        let progress = Rc::new(RefCell::new(Progress::new(Arc::clone(&task.shared))));
        let mut writer = Writer {
            task,
            progress,
            segment: None,
            plain: None,
            buffer: Aligned::default(),
            flights: VecDeque::new(),
        };
        if let Err(why) = writer.work().await {
            writer.task.shared.fail(why);
        }
        // Whatever comes of them, the kernel has their memory until they are done.
        writer.land(0).await;
        if let Err(why) = writer.leave_segment().await {
            writer.task.shared.fail(why);
        }
    });
}

struct Writer {
    task: WriterTask,
    progress: Rc<RefCell<Progress>>,
    /// The file of the segment at hand.
    segment: Option<(Rc<DmaFile>, Rc<Path>)>,
    /// The same file, for plain calls.
    plain: Option<File>,
    buffer: Aligned,
    /// The writes that were begun and not waited for, oldest first.
    flights: VecDeque<Task<()>>,
}

impl Writer {
    async fn work(&mut self) -> Result<(), String> {
        loop {
            // First room, then a look at what has come: the later, the more goes into a block.
            self.land(FLIGHTS_MAX - 1).await;
            match self.task.intake.next_step()? {
                Step::Wait => {
                    let commands = self.task.intake.commands();
                    let is_idle = self.progress.borrow().is_idle();
                    let command = match is_idle {
                        true => commands.recv(),
                        false => commands.recv_async().await,
                    };
                    let Ok(command) = command else { return Ok(()) };
                    self.task.intake.accept(command);
                }
                Step::Roll => self.roll().await?,
                Step::Write(block) => self.write(&block)?,
                Step::Last(block) => return self.write_last(&block).await,
                Step::Stop => return Ok(()),
            }
        }
    }

    /// Waits until no more than so many writes are under way.
    async fn land(&mut self, left: usize) {
        while self.flights.len() > left {
            let Some(flight) = self.flights.pop_front() else { break };
            flight.await;
        }
    }

    async fn leave_segment(&mut self) -> Result<(), String> {
        let Some((file, path)) = self.segment.take() else { return Ok(()) };
        let closed = file.close_rc().await;
        closed.map(drop).map_err(|error| file_failed(&path, "closed", &error))
    }

    /// Goes on in the next segment. Its head is durable before anything else is in it, so that no
    /// block of a use that was cut short can ever be taken for one of a later use.
    async fn roll(&mut self) -> Result<(), String> {
        self.land(0).await;
        if self.task.shared.has_failed() {
            // Nothing may stand behind a block that is not there.
            return Ok(());
        }
        self.leave_segment().await?;
        self.task.tell(Event::Wanted);
        let spare = self.task.spares.recv_async().await.map_err(|_| no_spare())?;
        let path: Rc<Path> = Rc::from(spare.path);
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(libc::O_DSYNC);
        let plain = open(&path, true);
        self.plain = Some(plain.map_err(|error| file_failed(&path, "opened", &error))?);
        let opened = options.dma_open(&*path).await;
        let file = opened.map_err(|error| file_failed(&path, "opened", &error))?;
        let head = self.task.intake.begin_segment();
        let mut buffer = file.alloc_dma_buffer(head.len());
        buffer.as_bytes_mut().copy_from_slice(&head);
        let written = write(&file, &path, &self.task.shared, buffer, 0).await;
        // Put down before its success is looked at, for whoever closes it.
        self.segment = Some((Rc::new(file), path));
        written?;
        self.task.shared.count_segment();
        self.task.tell(Event::Began(self.task.intake.position(spare.number)));
        Ok(())
    }

    /// Writes a block, or begins to.
    fn write(&mut self, block: &Block) -> Result<(), String> {
        if block.bytes() > PLAIN_BYTES_MAX || !self.progress.borrow().is_idle() {
            self.launch(block);
            return Ok(());
        }
        let (_, path) = self.segment.as_ref().expect("a block belongs to a segment");
        let file = self.plain.as_ref().expect("it was opened with the segment");
        let buffer = self.buffer.bytes_mut(block.bytes());
        let end = self.task.intake.seal(block, buffer);
        write_at(&self.task, file, path, buffer, block.offset)?;
        self.task.shared.advance(end);
        Ok(())
    }

    /// Begins to write a block.
    fn launch(&mut self, block: &Block) {
        let (file, path) = self.segment.clone().expect("a block belongs to a segment");
        let mut buffer = file.alloc_dma_buffer(block.bytes());
        let end = self.task.intake.seal(block, buffer.as_bytes_mut());
        let ticket = self.progress.borrow_mut().issue(end);
        let (progress, shared) = (Rc::clone(&self.progress), Arc::clone(&self.task.shared));
        let offset = block.offset;
        self.flights.push_back(::glommio::spawn_local(async move {
            match write(&file, &path, &shared, buffer, offset).await {
                Ok(()) => progress.borrow_mut().complete(ticket),
                Err(why) => shared.fail(why),
            }
        }));
    }

    async fn write_last(&mut self, block: &Block) -> Result<(), String> {
        self.land(0).await;
        let (file, path) = self.segment.clone().expect("a block belongs to a segment");
        if self.task.shared.has_failed() {
            return Ok(());
        }
        let mut buffer = file.alloc_dma_buffer(block.bytes());
        self.task.intake.seal(block, buffer.as_bytes_mut());
        write(&file, &path, &self.task.shared, buffer, block.offset).await
    }
}

/// Writes `buffer` and waits until it is durable.
async fn write(
    file: &DmaFile,
    path: &Path,
    shared: &Shared,
    buffer: DmaBuffer,
    offset: u64,
) -> Result<(), String> {
    let (len, began) = (buffer.len(), Instant::now());
    let written = file.write_at(buffer, offset).await;
    let written = written.map_err(|error| write_failed(path, offset, &error))?;
    check_written(written, len).map_err(|error| write_failed(path, offset, &error))?;
    shared.count_write(len, began.elapsed());
    Ok(())
}
