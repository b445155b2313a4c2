//! What is as large as it may be gets through, and one byte more does not.

use crate::task_samples::Fields;
use crate::tasks::{read_pushes, read_to_queue, written};
use punctual_wire::task::{
    AFTER_MAX, BUCKETS_MAX, JOB_NAME_BYTES_MAX, OUTPUT_BYTES_MAX, PAYLOAD_BYTES_MAX, PayloadKind,
    QueuePush, Selection, TEXT_BYTES_MAX, TaskPayload, TaskRow, ToQueue, Variables,
};
use punctual_wire::{BatchWriter, FrameKind, FrameReader, Limits, WireError};

/// Messages made of the largest parts that there may be.
fn largest() -> Fields {
    Fields {
        texts: [vec![b'a'; TEXT_BYTES_MAX], vec![b'b'; TEXT_BYTES_MAX], vec![b'c'; TEXT_BYTES_MAX]],
        payload: vec![b'p'; PAYLOAD_BYTES_MAX],
        outputs: [vec![b'o'; OUTPUT_BYTES_MAX], vec![b'e'; OUTPUT_BYTES_MAX]],
        after: vec![[7; 16]; AFTER_MAX],
        counts: vec![[7; 8]; 2 * BUCKETS_MAX],
        ..Fields::some()
    }
}

/// Places of messages by their kinds.
const SUBMIT: usize = 1;
const QUERY: usize = 3;
const ENLIST: usize = 8;
const REPORT: usize = 12;
const ROW: usize = 4;
const LEASE: usize = 10;
const LATENCIES: usize = 15;

#[test]
fn the_largest_messages_of_the_task_farm_fit_a_frame_and_no_frame_takes_too_many() {
    let fields = largest();
    let mut out = BatchWriter::new(Limits::DEFAULT, 256, false);
    let (row, submit, report) =
        (fields.push(ROW), fields.to_queue(SUBMIT), fields.to_queue(REPORT));
    // Some fill their frames to different degrees before the next one does not fit any more.
    for _ in 0..10 {
        row.write(&mut out);
    }
    for _ in 0..10 {
        submit.write(&mut out);
        report.write(&mut out);
    }
    out.seal();
    let mut frames = FrameReader::new(out.sealed(), Limits::DEFAULT, false);
    let (mut rows, mut others, mut count) = (0, 0, 0);
    while let Some(frame) = frames.next_frame().expect("frames within the limits") {
        count += 1;
        if frame.kind == FrameKind::Task {
            let read = read_to_queue(frame.count, frame.body).expect("as written");
            assert!(read.iter().all(|message| *message == submit || *message == report));
            others += read.len();
        } else {
            let read = read_pushes(frame.count, frame.body).expect("as written");
            assert!(read.iter().all(|message| *message == row));
            rows += read.len();
        }
    }
    assert_eq!((rows, others), (10, 20));
    assert!(count > 2, "more than a frame holds");
    assert_eq!(frames.taken(), out.len());
}

#[test]
fn what_may_not_be_longer_is_refused_before_its_bytes_are_looked_for() {
    let payload = "the length of a payload in bytes";
    let buckets = "the number of buckets of a distribution";
    let over =
        |what, max: usize| WireError::OverLimit { what, value: max as u64 + 1, max: max as u64 };
    // Where the length is in the message, how long it is there, and what is too long.
    let to_queue = [
        (SUBMIT, 53, 4, over(payload, PAYLOAD_BYTES_MAX)),
        (SUBMIT, 59, 2, over("the number of tasks that one comes after", AFTER_MAX)),
        (QUERY, 32, 2, over("the length of a text in bytes", TEXT_BYTES_MAX)),
        (QUERY, 34, 2, over("the length of a text in bytes", TEXT_BYTES_MAX)),
        (QUERY, 36, 2, over("the length of a text in bytes", TEXT_BYTES_MAX)),
        (ENLIST, 26, 2, over("the length of a text in bytes", TEXT_BYTES_MAX)),
        (ENLIST, 28, 2, over("the length of a text in bytes", TEXT_BYTES_MAX)),
        (REPORT, 74, 4, over("the length of an output in bytes", OUTPUT_BYTES_MAX)),
        (REPORT, 78, 4, over("the length of an output in bytes", OUTPUT_BYTES_MAX)),
    ];
    let fields = largest();
    for (kind, place, len, error) in to_queue {
        let mut bytes = written(|out| fields.to_queue(kind).write(out));
        assert!(read_to_queue(1, &bytes).is_ok(), "as long as it may be");
        lengthen(&mut bytes[place..place + len]);
        assert_eq!(read_to_queue(1, &bytes), Err(error), "kind {kind} at {place}");
    }
    let pushes = [
        (ROW, 99, 4, over(payload, PAYLOAD_BYTES_MAX)),
        (ROW, 103, 2, over("the length of a text in bytes", TEXT_BYTES_MAX)),
        (ROW, 105, 2, over("the length of a text in bytes", TEXT_BYTES_MAX)),
        (LEASE, 38, 4, over(payload, PAYLOAD_BYTES_MAX)),
        (LATENCIES, 21, 2, over(buckets, BUCKETS_MAX)),
        (LATENCIES, 39, 2, over(buckets, BUCKETS_MAX)),
    ];
    for (kind, place, len, error) in pushes {
        let mut bytes = written(|out| fields.push(kind).write(out));
        assert!(read_pushes(1, &bytes).is_ok(), "as long as it may be");
        lengthen(&mut bytes[place..place + len]);
        assert_eq!(read_pushes(1, &bytes), Err(error), "kind {kind} at {place}");
    }
}

/// Adds one to a little-endian number.
fn lengthen(number: &mut [u8]) {
    for byte in number {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            break;
        }
    }
}

#[test]
fn a_job_whose_name_is_too_long_is_not_opened() {
    let name = [b'j'; JOB_NAME_BYTES_MAX];
    let mut bytes =
        written(|out| ToQueue::OpenJob { request: 1, job: None, name: &name }.write(out));
    lengthen(&mut bytes[9..11]);
    let error =
        WireError::OverLimit { what: "the length of a job's name in bytes", value: 256, max: 255 };
    assert_eq!(read_to_queue(1, &bytes), Err(error));
}

#[test]
fn a_payload_over_the_limit_is_refused() {
    let (kind, variables) = (PayloadKind::Shell, Variables::default());
    let fits = |payload: TaskPayload<'_>| {
        let mut bytes = Vec::new();
        payload.write_to(&mut bytes);
        TaskPayload::read(&bytes).map(|read| assert_eq!(read, payload))
    };
    let command = vec![b'x'; PAYLOAD_BYTES_MAX - 15];
    let largest = TaskPayload { kind, name: b"", cwd: b"", command: &command, variables };
    assert_eq!(largest.encoded_len(), PAYLOAD_BYTES_MAX);
    assert_eq!(fits(largest), Ok(()));
    let (max, what) = (PAYLOAD_BYTES_MAX as u64, "the length of a payload in bytes");
    let error = WireError::OverLimit { what, value: max + 1, max };
    assert_eq!(fits(TaskPayload { cwd: b"/", ..largest }), Err(error));
}

#[test]
fn names_that_are_too_long_are_cut_between_characters() {
    let name = |bytes: &[u8]| {
        let body =
            written(|out| ToQueue::OpenJob { request: 1, job: None, name: bytes }.write(out));
        match read_to_queue(1, &body).expect("a message")[..] {
            [ToQueue::OpenJob { name, .. }] => name.to_vec(),
            ref other => panic!("{other:?}"),
        }
    };
    let (plain, euros) = ("j".repeat(300), "€".repeat(100));
    assert_eq!(name(plain.as_bytes()), plain.as_bytes()[..255]);
    assert_eq!(name(euros.as_bytes()), euros.as_bytes()[..255]);
    for shift in 1..3 {
        let text = format!("{}{euros}", "j".repeat(shift));
        let cut = name(text.as_bytes());
        assert_eq!(std::str::from_utf8(&cut).map(str::len), Ok(252 + shift));
    }
    // No UTF-8 at all: cut at the limit.
    assert_eq!(name(&[0x80; 300]), [0x80; 255]);
}

#[test]
fn every_name_that_is_too_long_is_cut_where_it_is_written() {
    let long = vec![b'n'; 3 * TEXT_BYTES_MAX];
    let mut fields = Fields::some();
    let short = fields.clone();
    fields.texts = [long.clone(), long.clone(), long];
    let len = |write: &dyn Fn(&mut BatchWriter)| written(write).len();
    let text = |index: usize| short.texts[index].len();
    // The kind, the texts in it, and what is left of them.
    for (kind, texts, left) in [
        (0, text(0), JOB_NAME_BYTES_MAX),
        (7, text(0), TEXT_BYTES_MAX),
        (ENLIST, text(0) + text(1), 2 * TEXT_BYTES_MAX),
    ] {
        let grown = len(&|out| fields.to_queue(kind).write(out));
        assert_eq!(grown, len(&|out| short.to_queue(kind).write(out)) - texts + left);
    }
    for (kind, texts, left) in [
        (ROW, text(0) + text(1), 2 * TEXT_BYTES_MAX),
        (5, text(0), JOB_NAME_BYTES_MAX),
        (6, text(0) + text(1), 2 * TEXT_BYTES_MAX),
        (9, text(0), TEXT_BYTES_MAX),
        (LEASE, text(0), JOB_NAME_BYTES_MAX),
    ] {
        let body = written(|out| fields.push(kind).write(out));
        assert_eq!(body.len(), len(&|out| short.push(kind).write(out)) - texts + left);
        assert!(read_pushes(1, &body).is_ok(), "kind {kind}");
    }
    let named = TaskPayload {
        kind: PayloadKind::Noop,
        name: &fields.texts[0],
        cwd: b"",
        command: b"",
        variables: Variables::default(),
    };
    let mut payload = Vec::new();
    named.write_to(&mut payload);
    assert_eq!(TaskPayload::read(&payload).map(|read| read.name.len()), Ok(TEXT_BYTES_MAX));
    assert_eq!(payload.len(), named.encoded_len());
}

#[test]
fn a_filter_that_is_too_long_is_refused_since_a_cut_one_would_match_more() {
    for len in [TEXT_BYTES_MAX + 1, 100_000] {
        let long = vec![b'f'; len];
        let filters = [
            Selection { include: &long, ..Selection::default() },
            Selection { exclude: &long, ..Selection::default() },
            Selection { worker: &long, ..Selection::default() },
        ];
        for selection in filters {
            let (request, limit, with_output) = (1, 10, false);
            let query = ToQueue::Query { request, selection, limit, with_output };
            let body = written(|out| query.write(out));
            let (what, max) = ("the length of a text in bytes", TEXT_BYTES_MAX as u64);
            let value = len.min(usize::from(u16::MAX)) as u64;
            let error = WireError::OverLimit { what, value, max };
            assert_eq!(read_to_queue(1, &body), Err(error));
        }
    }
}

#[test]
fn a_row_has_an_end_only_if_there_was_one() {
    let fields = Fields::some();
    let row = TaskRow { end: None, ..fields.task_row() };
    let body = written(|out| QueuePush::Row { request: 1, row }.write(out));
    assert_eq!(read_pushes(1, &body), Ok(vec![QueuePush::Row { request: 1, row }]));
    let with_end = TaskRow { end: Some(fields.end()), ..row };
    let longer = written(|out| QueuePush::Row { request: 1, row: with_end }.write(out));
    assert_eq!(longer.len(), body.len() + fields.end().encoded_len());
}
