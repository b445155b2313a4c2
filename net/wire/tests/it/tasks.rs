//! Messages of the task farm: they come back as they were said, in few bytes, and each mistake in
//! them gets the error that names it.

use crate::task_samples::{Fields, PUSH_KINDS, TO_QUEUE_KINDS, said};
use proptest::collection::vec;
use proptest::prelude::*;
use punctual_wire::task::{
    After, Attempt, Captured, Distribution, EndKind, JobId, Occupancy, PayloadKind, PushReader,
    QueuePush, RefusedTask, ReturnReason, Selection, StateCounts, TaskEnd, TaskFault, TaskId,
    TaskKey, TaskPayload, TaskSpec, TaskState, ToQueue, ToQueueReader, Variables, Verb,
};
use punctual_wire::{
    BatchWriter, FRAME_HEADER_BYTES, Frame, FrameKind, FrameReader, Limits, WireError,
};

/// The one message that `write` makes, without its frame.
pub(crate) fn written(write: impl FnOnce(&mut BatchWriter)) -> Vec<u8> {
    let mut out = BatchWriter::new(Limits::DEFAULT, 256, false);
    write(&mut out);
    out.seal();
    assert_eq!(out.take_counts(), (1, 1));
    out.sealed()[FRAME_HEADER_BYTES..].to_vec()
}

/// Reads to the end, or to the first mistake.
pub(crate) fn read_to_queue(count: u16, body: &[u8]) -> Result<Vec<ToQueue<'_>>, WireError> {
    let mut reader = ToQueueReader::new(&Frame { kind: FrameKind::Task, count, body });
    let mut messages = Vec::new();
    while let Some(message) = reader.next_message()? {
        messages.push(message);
    }
    Ok(messages)
}

/// Reads to the end, or to the first mistake.
pub(crate) fn read_pushes(count: u16, body: &[u8]) -> Result<Vec<QueuePush<'_>>, WireError> {
    let mut reader = PushReader::new(&Frame { kind: FrameKind::TaskPush, count, body });
    let mut messages = Vec::new();
    while let Some(message) = reader.next_message()? {
        messages.push(message);
    }
    Ok(messages)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn messages_of_the_task_farm_come_back_as_they_were_said(
        said in vec(said(), 1..12),
        batch_max in 1..=8_u16,
        checksum in any::<bool>(),
    ) {
        let mut out = BatchWriter::new(Limits::DEFAULT, batch_max, checksum);
        for it in &said {
            if it.to_queue {
                it.fields.to_queue(it.kind).write(&mut out);
            } else {
                it.fields.push(it.kind).write(&mut out);
            }
        }
        out.seal();
        let mut expected = said.iter();
        let mut frames = FrameReader::new(out.sealed(), Limits::DEFAULT, checksum);
        while let Some(frame) = frames.next_frame().expect("valid frames") {
            prop_assert!(frame.count <= batch_max);
            if frame.kind == FrameKind::Task {
                for message in read_to_queue(frame.count, frame.body).expect("as written") {
                    let it = expected.next().expect("no more than was written");
                    prop_assert!(it.to_queue);
                    prop_assert_eq!(message, it.fields.to_queue(it.kind));
                }
            } else {
                prop_assert_eq!(frame.kind, FrameKind::TaskPush);
                for message in read_pushes(frame.count, frame.body).expect("as written") {
                    let it = expected.next().expect("no more than was written");
                    prop_assert!(!it.to_queue);
                    prop_assert_eq!(message, it.fields.push(it.kind));
                }
            }
        }
        prop_assert!(expected.next().is_none(), "a message was lost");
        prop_assert_eq!(frames.taken(), out.sealed().len());
    }

    #[test]
    fn a_task_an_end_and_a_payload_come_back_from_among_other_bytes(
        said in said(),
        others in vec(any::<u8>(), 0..20),
    ) {
        let (spec, end) = (said.fields.spec(), said.fields.end());
        let mut bytes = others.clone();
        spec.write_to(&mut bytes);
        prop_assert_eq!(bytes.len(), others.len() + spec.encoded_len());
        end.write_to(&mut bytes);
        prop_assert_eq!(bytes.len(), others.len() + spec.encoded_len() + end.encoded_len());
        bytes.extend_from_slice(&others);
        let after_spec = &bytes[others.len()..];
        prop_assert_eq!(TaskSpec::read_from(after_spec), Ok((spec, spec.encoded_len())));
        let after_end = &after_spec[spec.encoded_len()..];
        prop_assert_eq!(TaskEnd::read_from(after_end), Ok((end, end.encoded_len())));
    }

    #[test]
    fn what_a_worker_runs_comes_back_with_its_environment(
        kind in proptest::sample::select(PayloadKind::ALL.to_vec()),
        [name, cwd, command] in proptest::array::uniform3(vec(any::<u8>(), 0..60)),
        environment in vec((vec(any::<u8>(), 0..9), vec(any::<u8>(), 0..30)), 0..5),
    ) {
        let mut variables = Vec::new();
        let pairs = || environment.iter().map(|(name, value)| (&name[..], &value[..]));
        Variables::encode(&mut variables, pairs());
        let variables = Variables::read(&variables).expect("as it was written");
        prop_assert_eq!(variables.iter().collect::<Vec<_>>(), pairs().collect::<Vec<_>>());
        prop_assert_eq!(variables.is_empty(), environment.is_empty());
        let payload = TaskPayload { kind, name: &name, cwd: &cwd, command: &command, variables };
        let mut bytes = Vec::new();
        payload.write_to(&mut bytes);
        prop_assert_eq!(bytes.len(), payload.encoded_len());
        prop_assert_eq!(TaskPayload::read(&bytes), Ok(payload));
    }
}

#[test]
fn each_kind_of_message_has_a_tag_of_its_own() {
    let fields = Fields::some();
    for kind in 0..TO_QUEUE_KINDS {
        let to_queue = written(|out| fields.to_queue(kind).write(out));
        assert_eq!(usize::from(to_queue[0]), kind + 1);
    }
    for kind in 0..PUSH_KINDS {
        let push = written(|out| fields.push(kind).write(out));
        assert_eq!(usize::from(push[0]), kind + 1);
    }
}

#[test]
fn a_message_of_the_task_farm_that_is_cut_anywhere_is_cut_short() {
    let fields = Fields::some();
    for kind in 0..TO_QUEUE_KINDS {
        let whole = written(|out| fields.to_queue(kind).write(out));
        for cut in 0..whole.len() {
            let error = read_to_queue(1, &whole[..cut]).expect_err("it was cut");
            assert!(matches!(error, WireError::Truncated { .. }), "{kind} at {cut}: {error}");
        }
        let long = [&whole[..], &[0]].concat();
        let trailing = WireError::Trailing { what: "the last message to a task queue", bytes: 1 };
        assert_eq!(read_to_queue(1, &long), Err(trailing));
    }
    for kind in 0..PUSH_KINDS {
        let whole = written(|out| fields.push(kind).write(out));
        for cut in 0..whole.len() {
            let error = read_pushes(1, &whole[..cut]).expect_err("it was cut");
            assert!(matches!(error, WireError::Truncated { .. }), "{kind} at {cut}: {error}");
        }
        let long = [&whole[..], &[0]].concat();
        let trailing = WireError::Trailing { what: "the last message of a task queue", bytes: 1 };
        assert_eq!(read_pushes(1, &long), Err(trailing));
    }
}

#[test]
fn a_task_an_end_and_a_payload_that_are_cut_anywhere_are_cut_short() {
    let is_cut = |error: Option<WireError>| matches!(error, Some(WireError::Truncated { .. }));
    let fields = Fields::some();
    let (mut spec, mut end) = (Vec::new(), Vec::new());
    fields.spec().write_to(&mut spec);
    fields.end().write_to(&mut end);
    for cut in 0..spec.len() {
        assert!(is_cut(TaskSpec::read_from(&spec[..cut]).err()), "a task at {cut}");
    }
    for cut in 0..end.len() {
        assert!(is_cut(TaskEnd::read_from(&end[..cut]).err()), "an end at {cut}");
    }
    let mut variables = Vec::new();
    Variables::encode(&mut variables, [(&b"A"[..], &b"1"[..]), (&b"BC"[..], &b""[..])]);
    let variables = Variables::read(&variables).expect("as it was written");
    let (kind, command) = (PayloadKind::Python, b"print(1)");
    let payload = TaskPayload { kind, name: b"n", cwd: b"/tmp", command, variables };
    let mut bytes = Vec::new();
    payload.write_to(&mut bytes);
    for cut in 0..bytes.len() {
        assert!(is_cut(TaskPayload::read(&bytes[..cut]).err()), "a payload at {cut}");
    }
    bytes.push(0);
    let trailing = WireError::Trailing { what: "payload of a task", bytes: 1 };
    assert_eq!(TaskPayload::read(&bytes), Err(trailing));
}

/// A message by its kind, the place of a code in it, the first code that means nothing there, and
/// what the code is.
type Code = (usize, usize, u8, &'static str);

#[test]
fn a_message_to_a_queue_with_an_unknown_code_is_refused() {
    let codes: [Code; 11] = [
        (0, 0, 18, "tag of a message to a task queue"),
        (1, 57, 0, "number of attempts of a task"),
        (2, 1, 2, "flags of a watch"),
        (3, 1, 2, "flags of a query"),
        (3, 10, 0x80, "states of a selection"),
        (3, 11, 4, "flags of a selection"),
        (4, 1, 4, "verb of a control"),
        (8, 25, 2, "draining of a worker"),
        (11, 21, 2, "draining of a worker"),
        (12, 21, 7, "kind of the end of a task"),
        (13, 1, 5, "reason of a return"),
    ];
    for (kind, place, value, what) in codes {
        let mut fields = Fields::some();
        // One byte of it stands for the whole number.
        fields.short = 1;
        let mut bytes = written(|out| fields.to_queue(kind).write(out));
        bytes[place] = value;
        let error = WireError::UnknownValue { what, value: value.into() };
        assert_eq!(read_to_queue(1, &bytes), Err(error));
    }
    for tag in [0, 18, u8::MAX] {
        let what = "tag of a message to a task queue";
        let error = WireError::UnknownValue { what, value: tag.into() };
        assert_eq!(read_to_queue(1, &[tag; 200]), Err(error));
    }
}

#[test]
fn a_message_of_a_queue_with_an_unknown_code_is_refused() {
    let codes: [Code; 9] = [
        (2, 1, 0, "reason of a refused task"),
        (2, 1, 6, "reason of a refused task"),
        (4, 1, 7, "state of a task"),
        (4, 2, 4, "flags of the row of a task"),
        (6, 1, 2, "flags of the row of a worker"),
        (6, 30, 2, "draining of a worker"),
        (7, 1, 2, "flags of the end of an answer"),
        (8, 1, 0, "fault of a request"),
        (8, 1, 7, "fault of a request"),
    ];
    let fields = Fields::some();
    for (kind, place, value, what) in codes {
        let mut bytes = written(|out| fields.push(kind).write(out));
        bytes[place] = value;
        let error = WireError::UnknownValue { what, value: value.into() };
        assert_eq!(read_pushes(1, &bytes), Err(error));
    }
    for tag in [0, 17, u8::MAX] {
        let what = "tag of a message of a task queue";
        let error = WireError::UnknownValue { what, value: tag.into() };
        assert_eq!(read_pushes(1, &[tag; 200]), Err(error));
    }
    let mut payload = vec![3];
    payload.resize(15, 0);
    let error = WireError::UnknownValue { what: "kind of a payload", value: 3 };
    assert_eq!(TaskPayload::read(&payload), Err(error));
}

#[test]
fn a_distribution_is_written_without_the_empty_buckets_at_its_end() {
    let cases: [(&[u64], usize); 4] = [(&[], 0), (&[0, 0], 0), (&[0, 7, 0], 2), (&[1, 0, 3], 3)];
    for (counts, len) in cases {
        let bytes = Distribution::to_bytes_of(counts);
        let distribution = Distribution::new(9, &bytes);
        assert_eq!(distribution.counts().collect::<Vec<_>>(), counts[..len]);
        let (wait, lease) = (distribution, Distribution::default());
        let body = written(|out| QueuePush::Latencies { request: 1, wait, lease }.write(out));
        assert_eq!(body.len(), 41 + 8 * len);
    }
}

/// The names of a set of codes, which must all differ.
fn distinct(names: &[&'static str]) -> usize {
    names.iter().collect::<std::collections::BTreeSet<_>>().len()
}

#[test]
fn codes_of_the_task_farm_name_one_thing_each() {
    assert_eq!(
        PayloadKind::ALL.map(|it| PayloadKind::from_code(it as u8)),
        PayloadKind::ALL.map(Some)
    );
    assert_eq!(EndKind::ALL.map(|it| EndKind::from_code(it as u8)), EndKind::ALL.map(Some));
    assert_eq!(Verb::ALL.map(|it| Verb::from_code(it as u8)), Verb::ALL.map(Some));
    let reasons = ReturnReason::ALL;
    assert_eq!(reasons.map(|it| ReturnReason::from_code(it as u8)), reasons.map(Some));
    let refusals = RefusedTask::ALL;
    assert_eq!(refusals.map(|it| RefusedTask::from_code(it as u8)), refusals.map(Some));
    assert_eq!(TaskFault::ALL.map(|it| TaskFault::from_code(it as u8)), TaskFault::ALL.map(Some));
    assert_eq!(distinct(&PayloadKind::ALL.map(PayloadKind::name)), PayloadKind::ALL.len());
    assert_eq!(distinct(&EndKind::ALL.map(EndKind::name)), EndKind::ALL.len());
    assert_eq!(distinct(&Verb::ALL.map(Verb::name)), Verb::ALL.len());
}

#[test]
fn the_end_of_a_task_is_told_in_words() {
    let told = [
        (EndKind::Exited, 3, "exit code 3"),
        (EndKind::Signaled, 9, "killed by signal 9"),
        (EndKind::TimedOut, 0, "timed out"),
        (EndKind::OutOfMemory, 120, "killed for want of memory with 120 MiB"),
        (EndKind::NotStarted, 2, "could not be started: errno 2"),
        (EndKind::Lost, 0, "lost with its worker"),
    ];
    let fields = Fields::some();
    for (kind, code, words) in told {
        let end = TaskEnd { kind, code, ..fields.end() };
        assert_eq!(end.summary().to_string(), words);
        assert!(!end.is_success(), "{words}");
        let zero = TaskEnd { code: 0, ..end };
        assert_eq!(zero.is_success(), kind == EndKind::Exited, "{words}");
    }
}

#[test]
fn counts_are_kept_by_state_and_final_ones_are_finished() {
    let mut counts = StateCounts::default();
    for (index, state) in TaskState::ALL.into_iter().enumerate() {
        counts[state] += 10_u64.pow(u32::try_from(index).expect("few states"));
    }
    assert_eq!((counts.total(), counts.unfinished()), (1_111_111, 1_111));
    assert_eq!((counts[TaskState::Leased], counts[TaskState::Done]), (1_000, 10_000));
}

#[test]
fn a_selection_is_of_all_tasks_until_something_is_chosen() {
    let all = Selection::default();
    assert!(TaskState::ALL.into_iter().all(|state| all.states.contains(state)));
    assert_eq!((all.job, all.task, all.from), (None, None, TaskId(0)));
    assert!([all.include, all.exclude, all.worker].concat().is_empty());
}

/// The bytes of the block after `<!-- hex: NAME -->` of the page on the wire format.
fn hex_block(name: &str) -> Vec<u8> {
    let page = include_str!("../../../../docs/wire-format.md");
    let marker = format!("<!-- hex: {name} -->");
    let (_, tail) = page.split_once(&marker).unwrap_or_else(|| panic!("no {marker} on the page"));
    let lines = tail.lines().skip_while(|line| !line.starts_with("```")).skip(1);
    let block = lines.take_while(|line| !line.starts_with("```"));
    let words = block.flat_map(|line| line.split('|').take(1).flat_map(str::split_whitespace));
    words.map(|word| u8::from_str_radix(word, 16).expect("two hexadecimal digits")).collect()
}

/// The bytes that a block of the page shows are those that `write` makes.
fn assert_shows(name: &str, write: impl FnOnce(&mut BatchWriter)) {
    let mut out = BatchWriter::new(Limits::DEFAULT, 64, false);
    write(&mut out);
    out.seal();
    assert_eq!(hex_block(name), out.sealed(), "{name}");
}

#[test]
fn the_page_on_the_wire_format_shows_what_becomes_of_a_task() {
    let (kind, command, variables) = (PayloadKind::Shell, b"echo ok", Variables::default());
    let mut payload = Vec::new();
    TaskPayload { kind, name: b"", cwd: b"", command, variables }.write_to(&mut payload);
    let (memory, cores_milli, timeout_ms) = (64 << 20, 1_000, 60_000);
    let after = [TaskKey(0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100)];
    let after = After::to_bytes_of(&after);
    let spec = TaskSpec {
        job: JobId(1),
        key: TaskKey(0xffee_ddcc_bbaa_9988_7766_5544_3322_1100),
        priority: -1,
        memory,
        cores_milli,
        timeout_ms,
        attempts_max: 3,
        after: After::new(&after),
        payload: &payload,
    };
    let by_others = Occupancy { slots: 2, memory, cores_milli: 1_500 };
    let open_job = |job| ToQueue::OpenJob { request: 1, job, name: b"sweep" };
    assert_shows("open-job", |out| {
        open_job(None).write(out);
        open_job(Some(JobId(1))).write(out);
    });
    assert_shows("occupied", |out| ToQueue::Occupied { by_others }.write(out));
    assert_shows("submit", |out| ToQueue::Submit { ticket: 9, spec }.write(out));
    let (task, attempt, job) = (TaskId(7), Attempt(1), b"sweep");
    assert_shows("lease", |out| {
        let (priority, payload) = (-1, &payload[..]);
        QueuePush::Lease { task, attempt, priority, memory, cores_milli, timeout_ms, job, payload }
            .write(out);
    });
    let end = TaskEnd {
        kind: EndKind::Exited,
        code: 0,
        waited_ns: 20_000,
        ran_ns: 1_500_000,
        cpu_ns: 900_000,
        memory: 2 << 20,
        stdout: Captured { bytes: 3, tail: b"ok\n" },
        stderr: Captured::default(),
    };
    assert_shows("report", |out| ToQueue::Report { seq: 4, task, attempt, end }.write(out));
    assert_shows("acked", |out| QueuePush::Acked { seq: 4 }.write(out));
    assert_shows("latencies", |out| {
        let wait = Distribution::to_bytes_of(&[0, 0, 1]);
        let lease = Distribution::to_bytes_of(&[0, 0, 0, 2]);
        let (wait, lease) = (Distribution::new(1_500, &wait), Distribution::new(3_300, &lease));
        QueuePush::Latencies { request: 3, wait, lease }.write(out);
    });
}
