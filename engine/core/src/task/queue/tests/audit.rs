//! What holds of a queue at any time.

use super::*;

/// Looks through all that a queue knows.
///
/// # Panics
/// If anything does not fit.
pub(super) fn audit(queue: &TaskQueue) {
    audit_counts(&queue.book);
    audit_ready(&queue.book);
    audit_leases(&queue.book);
    audit_crew(&queue.book);
    audit_ended(&queue.book);
    audit_ties(&queue.book);
    audit_parties(queue);
    audit_holds(queue);
}

/// Looks for what a turn should have done.
///
/// # Panics
/// If there is anything.
pub(super) fn audit_turn(queue: &TaskQueue) {
    if queue.log.is_full {
        return;
    }
    let book = &queue.book;
    let tasks = book.table.iter().filter(|(_, task)| task.state == TaskState::Ready);
    // Those that failed somewhere not everybody may have.
    for (sequence, task) in tasks.filter(|(_, task)| task.failed_on().is_empty()) {
        let class = book.classes.get(task.class);
        for (index, worker) in book.crew.iter().filter(|(_, worker)| worker.is_at_work()) {
            let hold = queue.hold_of(index);
            let is_let = hold.is_none_or(|hold| hold.task.class == task.class);
            let is_forgotten = is_let && worker.can_run(class);
            assert!(!is_forgotten, "task {sequence} can start at worker {index}");
        }
    }
    for hold in &queue.holds {
        let task = book.table.get(hold.task.sequence).expect("it is held for a task");
        assert_eq!((task.state, task.ticket), (TaskState::Ready, hold.task.ticket));
        let worker = book.crew.get(hold.worker).expect("a worker is held");
        assert_eq!(worker.session, hold.session);
        assert!(worker.is_at_work() && worker.could_run(book.classes.get(task.class)));
    }
}

fn audit_holds(queue: &TaskQueue) {
    let holds = || queue.holds.iter();
    let workers: BTreeSet<u32> = holds().map(|hold| hold.worker).collect();
    let classes: BTreeSet<_> = holds().map(|hold| hold.task.class).collect();
    let count = queue.holds.len();
    assert_eq!((workers.len(), classes.len()), (count, count), "one a worker, one a class");
}

fn audit_counts(book: &Book) {
    let mut counts = StateCounts::default();
    let mut by_job: BTreeMap<JobId, StateCounts> = BTreeMap::new();
    let (mut bytes, mut output_bytes, mut tasks) = (0, 0, 0);
    let mut delayed = BTreeSet::new();
    for (sequence, task) in book.table.iter() {
        counts[task.state] += 1;
        by_job.entry(task.job).or_default()[task.state] += 1;
        bytes += task.bytes();
        output_bytes += task.output_bytes();
        tasks += 1;
        if task.state == TaskState::Delayed {
            delayed.insert((task.turned_at, sequence));
        }
        assert_eq!(book.find(task.job, task.key), Some(sequence), "it is found by its key");
        assert!((1..=book.table.last()).contains(&sequence));
    }
    assert_eq!(book.counts, counts);
    for (id, job) in book.jobs.iter() {
        assert_eq!(book.jobs.find(&job.name), Some(id), "it is found by its name");
        assert_eq!(job.counts, by_job.remove(&id).unwrap_or_default());
    }
    assert!(by_job.is_empty(), "each task is of a job that is there: {by_job:?}");
    assert_eq!((book.bytes, book.output_bytes), (bytes, output_bytes));
    assert_eq!(book.table.len(), tasks);
    assert_eq!(book.delayed, delayed);
}

/// Each task that can be had is in one place, and the classes count right.
fn audit_ready(book: &Book) {
    let mut seen = BTreeSet::new();
    for (class, shelf) in (0..).zip(book.classes.shelves()) {
        let lanes = shelf.lanes.iter();
        let fresh = lanes.flat_map(|(at, lane)| lane.iter().map(move |it| (*at, *it, false)));
        let retries = shelf.retries.iter().map(|(at, entry)| (*at, *entry, true));
        let (mut live, mut entries) = (0, 0);
        for (priority, (sequence, ticket), is_retry) in fresh.chain(retries) {
            entries += 1;
            let task = book.table.get(sequence).filter(|task| task.ticket == ticket);
            let Some(task) = task else { continue };
            assert_eq!(task.state, TaskState::Ready, "task {sequence} can be had");
            assert_eq!((task.class.0, task.priority), (class, priority), "task {sequence}");
            assert_eq!(is_retry, !task.failed_on().is_empty(), "task {sequence}");
            assert!(seen.insert(sequence), "task {sequence} is there twice");
            live += 1;
        }
        assert_eq!((shelf.live, shelf.entries, shelf.is_listed), (live, entries, live > 0));
    }
    assert_eq!(book.classes.len(), seen.len());
    assert_eq!(book.counts[TaskState::Ready], seen.len() as u64, "none is forgotten");
}

/// Who has which task.
fn audit_leases(book: &Book) {
    let mut leased = 0;
    for (sequence, task) in book.table.iter() {
        if task.state == TaskState::Leased {
            leased += 1;
            continue;
        }
        let place = (task.worker, task.is_ahead, task.prev, task.next);
        assert_eq!(place, (NOBODY, false, NONE, NONE), "nobody has task {sequence}");
    }
    let listed = book.crew.iter().map(|(_, worker)| u64::from(worker.leases));
    assert_eq!(listed.sum::<u64>(), leased);
}

fn audit_crew(book: &Book) {
    let mut ahead = 0;
    for (index, worker) in book.crew.iter() {
        let leases = book.crew.leases(&book.table, index);
        let (mut memory, mut cores, mut waiting) = (0, 0, 0);
        for sequence in &leases {
            let task = book.table.get(*sequence).expect("a lease is of a task");
            assert_eq!((task.state, task.worker), (TaskState::Leased, index));
            let class = book.classes.get(task.class);
            if task.is_ahead {
                waiting += 1;
                assert!(book.crew.lowest_ahead <= task.priority);
            } else {
                assert_eq!(waiting, 0, "what runs stands before what waits");
                memory += class.memory;
                cores += u64::from(class.cores_milli);
            }
        }
        assert_eq!((worker.leases as usize, worker.ahead), (leases.len(), waiting));
        assert_eq!(worker.used(), (memory, cores));
        let running = leases.len() - waiting as usize;
        assert_eq!(running, running_of(book, worker, &leases), "as many run as fit");
        let latest: Vec<u64> = book.crew.latest_ahead(&book.table, index).collect();
        let backwards = leases.iter().rev().take(waiting as usize);
        assert_eq!(latest, backwards.copied().collect::<Vec<_>>());
        assert_eq!(book.crew.find(worker.session), Some(index));
        ahead += u64::from(waiting);
    }
    assert_eq!(book.crew.ahead, ahead);
    assert_eq!(book.crew.len(), book.crew.iter().count());
}

/// How many leases run, counted anew: those before the first for which nothing is left.
fn running_of(book: &Book, worker: &Worker, leases: &[u64]) -> usize {
    let (most, others) = (worker.capacity, worker.occupied);
    let mut slots = most.slots.saturating_sub(others.slots);
    let mut memory = most.memory.saturating_sub(others.memory);
    let mut cores = u64::from(most.cores_milli.saturating_sub(others.cores_milli));
    let fits = |sequence: &&u64| {
        let task = book.table.get(**sequence).expect("a lease is of a task");
        let class = book.classes.get(task.class);
        let left = (
            slots.checked_sub(1),
            memory.checked_sub(class.memory),
            cores.checked_sub(class.cores_milli.into()),
        );
        let (Some(slots_left), Some(memory_left), Some(cores_left)) = left else { return false };
        (slots, memory, cores) = (slots_left, memory_left, cores_left);
        true
    };
    leases.iter().take_while(fits).count()
}

/// What ended can be forgotten, and so can what it wrote.
fn audit_ended(book: &Book) {
    let mut ended = BTreeSet::new();
    for (sequence, ticket) in &book.ended {
        let task = book.table.get(*sequence).filter(|task| task.ticket == *ticket);
        if let Some(task) = task {
            assert!(task.state.is_final(), "task {sequence} has not ended");
            assert!(ended.insert(*sequence), "task {sequence} is there twice");
        }
    }
    let mut listed = BTreeSet::new();
    for sequence in &book.with_output {
        assert!(listed.insert(*sequence), "output of task {sequence} is there twice");
    }
    for (sequence, task) in book.table.iter() {
        assert_eq!(task.state.is_final(), ended.contains(&sequence), "task {sequence}");
        assert_eq!(task.is_listed, listed.contains(&sequence), "output of task {sequence}");
        assert!(task.is_listed || task.output_bytes() == 0, "output of task {sequence}");
    }
}

/// What comes after what.
fn audit_ties(book: &Book) {
    for (sequence, task) in book.table.iter() {
        assert!(task.after().is_sorted() && task.before().is_sorted());
        for at in task.after() {
            let before = book.table.get(*at).expect("it was not removed");
            assert!(before.before().contains(&sequence), "{at} knows of {sequence}");
        }
        let next = task.before().iter().filter_map(|at| book.table.get(*at));
        for task in next {
            assert!(task.after().contains(&sequence));
        }
        if task.state == TaskState::Blocked {
            let watched = task.ties.as_ref().map_or(NONE, |ties| ties.watched);
            assert!(task.after().contains(&watched), "task {sequence} waits for one of them");
            let state_of = |at: u64| book.table.get(at).map(|task| task.state);
            assert_ne!(state_of(watched), Some(TaskState::Done), "task {sequence} may go on");
            let is_dead =
                |at: &u64| matches!(state_of(*at), Some(TaskState::Failed | TaskState::Cancelled));
            assert!(!task.after().iter().any(is_dead), "task {sequence} waits in vain");
        }
    }
}

fn audit_parties(queue: &TaskQueue) {
    let parties = || queue.parties.iter().flatten();
    assert_eq!(queue.party_count, parties().count());
    let is_curious = |state: &&PartyState| !state.errands.is_empty() || !state.watches.is_empty();
    assert_eq!(queue.curious, parties().filter(is_curious).count());
    for (at, state) in queue.parties.iter().enumerate() {
        let Some(state) = state else { continue };
        assert!(state.out.iter().all(|(gate, _)| *gate <= queue.log.tail));
        if let Role::Worker { index: Some(index), .. } = state.role
            && state.closing.is_none()
        {
            let worker = queue.book.crew.get(index).expect("it is enlisted");
            assert_eq!(worker.party, Some(Party(at)));
        }
    }
    for (_, worker) in queue.book.crew.iter() {
        assert!(queue.expiry_at <= worker.deadline, "its time will be noticed");
        if let Some(party) = worker.party {
            assert!(queue.parties[party.0].is_some());
        }
    }
    assert!(queue.log.durable <= queue.log.tail);
}
