//! The prober under virtual time, with three shards that the test plays: clocks, paths and moods
//! are settings. Times are in microseconds unless a name says otherwise.

mod answers;
mod rows;
mod schedule;

use super::*;
use punctual_wire::{FrameKind, FrameReader, Limits};
use std::collections::BTreeMap;

const SHARDS: [ShardId; 3] = [ShardId(0), ShardId(1), ShardId(2)];
const SECOND_US: i64 = 1_000_000;

fn us(micros: i64) -> Nanos {
    Nanos(micros * 1000)
}

/// A shard as its prober meets it.
#[derive(Debug, Clone, Copy)]
struct Path {
    there: Nanos,
    back: Nanos,
    /// The shard's clock less the prober's.
    offset: Nanos,
    /// Between reading a probe and writing its answer.
    at_shard: Nanos,
    answers: bool,
}

/// 50 us there, 30 us back, and a clock that is an hour ahead.
const FINE: Path = Path {
    there: Nanos(50_000),
    back: Nanos(30_000),
    offset: Nanos(3_600_000_000_000),
    at_shard: Nanos(5_000),
    answers: true,
};

/// Says nothing.
const SILENT: Path = Path { answers: false, ..FINE };

/// 20 ms there, 10 ms back, and a clock that is two seconds behind.
const SLOW: Path = Path {
    there: Nanos(20_000_000),
    back: Nanos(10_000_000),
    offset: Nanos(-2_000_000_000),
    ..FINE
};

/// The outgoing batches of the links; one that is shut is down or full.
struct Links {
    batches: [BatchWriter; 3],
    open: [bool; 3],
}

impl Outbox for Links {
    fn to_shard(&mut self, shard: ShardId) -> Option<&mut BatchWriter> {
        let at = usize::from(shard.0);
        self.open[at].then_some(&mut self.batches[at])
    }
}

/// A prober, three shards and what is between them.
struct World {
    prober: Prober,
    links: Links,
    paths: [Path; 3],
    now: Nanos,
    /// How much later than it is due the timer always runs.
    tardiness: Nanos,
    /// Frames on their way back, by arrival and a number that tells equal ones apart.
    on_the_way: BTreeMap<(Nanos, u64), (ShardId, Vec<u8>)>,
    frames: u64,
    sent: Vec<(ShardId, Probe)>,
    samples: Vec<ProbeSample>,
}

impl World {
    fn new(paths: [Path; 3]) -> Self {
        Self::with(ProberConfig::new(3, 42), paths)
    }

    /// All links come up at time zero.
    fn with(config: ProberConfig, paths: [Path; 3]) -> Self {
        let mut prober = Prober::new(config);
        for shard in SHARDS {
            prober.on_link_up(Nanos::ZERO, shard);
        }
        let batch = |_| BatchWriter::new(Limits::DEFAULT, 16, false);
        Self {
            prober,
            links: Links { batches: [0, 1, 2].map(batch), open: [true; 3] },
            paths,
            now: Nanos::ZERO,
            tardiness: Nanos::ZERO,
            on_the_way: BTreeMap::new(),
            frames: 0,
            sent: Vec::new(),
            samples: Vec::new(),
        }
    }

    /// Time passes, and everything happens when it is due.
    fn run_until(&mut self, end: Nanos) {
        loop {
            let timer = self.prober.next_deadline().map(|due| due + self.tardiness);
            let arrival = self.on_the_way.first_key_value().map(|((at, _), _)| *at);
            let next = [timer, arrival].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            self.step();
        }
        self.now = self.now.max(end);
    }

    /// Takes what has arrived and sends what is due.
    fn step(&mut self) {
        while let Some(entry) = self.on_the_way.first_entry()
            && entry.key().0 <= self.now
        {
            let (shard, frame) = entry.remove();
            self.deliver(shard, &frame).expect("a shard's frame is fine");
        }
        self.prober.on_timer(self.now, &mut self.links);
        for shard in SHARDS {
            self.carry(shard);
        }
    }

    /// Hands what was sent to a shard, and puts its answer on the way.
    fn carry(&mut self, shard: ShardId) {
        let batch = &mut self.links.batches[usize::from(shard.0)];
        batch.seal();
        let frame = batch.sealed().to_vec();
        batch.clear_sealed();
        if frame.is_empty() {
            return;
        }
        self.sent.extend(probes_in(&frame).into_iter().map(|probe| (shard, probe)));
        let path = self.paths[usize::from(shard.0)];
        if !path.answers {
            return;
        }
        let mut clock = self.now + path.there + path.offset - path.at_shard;
        let read_clock = || {
            clock = clock + path.at_shard;
            clock
        };
        let mut out = BatchWriter::new(Limits::DEFAULT, 16, false);
        answer_probes(read_clock, &only_frame(&frame), &mut out).expect("a prober's frame is fine");
        out.seal();
        let arrival = self.now + path.there + path.at_shard + path.back;
        self.on_the_way.insert((arrival, self.frames), (shard, out.sealed().to_vec()));
        self.frames += 1;
    }

    fn deliver(&mut self, shard: ShardId, frame: &[u8]) -> Result<(), WireError> {
        let samples = |sample| self.samples.push(sample);
        self.prober.on_frame(self.now, shard, &only_frame(frame), samples)
    }

    fn link_down(&mut self, shard: ShardId) {
        self.links.open[usize::from(shard.0)] = false;
        self.prober.on_link_down(shard);
    }

    fn link_up(&mut self, shard: ShardId) {
        self.links.open[usize::from(shard.0)] = true;
        self.prober.on_link_up(self.now, shard);
    }

    fn row(&self, shard: ShardId) -> ProbeRow {
        self.prober.row(self.now, shard)
    }

    fn sent_to(&self, shard: ShardId) -> Vec<Probe> {
        let to_shard = self.sent.iter().filter(|(to, _)| *to == shard);
        to_shard.map(|(_, probe)| *probe).collect()
    }

    fn samples_of(&self, shard: ShardId) -> Vec<ProbeSample> {
        self.samples.iter().filter(|sample| sample.shard == shard).copied().collect()
    }
}

fn only_frame(bytes: &[u8]) -> Frame<'_> {
    let mut reader = FrameReader::new(bytes, Limits::DEFAULT, false);
    let frame = reader.next_frame().expect("a valid frame").expect("a whole frame");
    assert_eq!(reader.taken(), bytes.len(), "one frame only");
    assert_eq!(frame.kind, FrameKind::Probe);
    frame
}

fn frame_of(probes: &[Probe]) -> Vec<u8> {
    let mut batch = BatchWriter::new(Limits::DEFAULT, 16, false);
    probes.iter().for_each(|probe| probe.write(&mut batch));
    batch.seal();
    batch.sealed().to_vec()
}

fn probes_in(frame: &[u8]) -> Vec<Probe> {
    let mut reader = ProbeReader::new(&only_frame(frame));
    let mut probes = Vec::new();
    while let Some(probe) = reader.next_probe().expect("a valid probe") {
        probes.push(probe);
    }
    probes
}
