//! The journal of a task queue: records that nobody looks into, in segments that say whose they
//! are.

use super::*;

/// Kinds and bodies of all lengths that make a difference.
fn samples() -> Vec<(u8, Vec<u8>)> {
    [0, 1, 7, 4_000, 9_000]
        .into_iter()
        .zip([0, 1, 17, 200, 255])
        .map(|(len, kind)| (kind, vec![kind ^ 0x5a; len]))
        .collect()
}

fn owner() -> LogOwner {
    LogOwner {
        holder: Holder::Tasks,
        shard: ShardId(0),
        shards: 1,
        session: SessionId(0xbead),
        limits: Limits::DEFAULT,
    }
}

#[test]
fn records_of_a_task_queue_are_read_back_as_they_were_written() {
    let (mut records, mut ends) = (Vec::new(), Vec::new());
    for (kind, body) in samples() {
        let before = records.len();
        // A body may be written in parts.
        let (front, back) = body.split_at(body.len() / 2);
        let len = write_task(&mut records, kind, |out| {
            out.extend_from_slice(front);
            out.extend_from_slice(back);
        });
        assert_eq!(len, RECORD_HEAD_BYTES + 2 + body.len());
        assert_eq!(records.len(), before + len);
        ends.push(Lsn(500).plus(records.len()));
    }

    let head = owner().head(SegmentKind::Log, 3, Lsn(500));
    let mut segment = head.to_block().to_vec();
    segment.resize(SEGMENT_HEAD_BYTES + block_bytes(records.len()), 0);
    let out = &mut segment[SEGMENT_HEAD_BYTES..];
    seal_block(out, &head, head.start, head.start, &records);

    let found = SegmentHead::read(&segment).expect("it was just written");
    let mut scan = SegmentScan::new(&segment, &found);
    for ((kind, body), end) in samples().iter().zip(ends) {
        let (_, record) = scan.next_record().expect("it is whole").expect("it is there");
        assert_eq!(record, Record::Task { kind: *kind, body });
        assert_eq!(scan.lsn(), end);
    }
    assert_eq!(scan.next_record(), Ok(None));
    assert_eq!(scan.tail(), Some(&Tail::Clean));
}

#[test]
fn the_head_of_a_segment_says_all_that_is_known_of_its_owner() {
    for kind in [SegmentKind::Log, SegmentKind::Snapshot] {
        let head = owner().head(kind, 3, Lsn(500));
        assert_eq!((head.kind, head.generation, head.start), (kind, 3, Lsn(500)));
        let SegmentHead { holder, shard, shards, session, limits, .. } =
            SegmentHead::read(&head.to_block()).expect("it was just written");
        assert_eq!(LogOwner { holder, shard, shards, session, limits }, owner());
    }
}
