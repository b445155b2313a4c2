//! temp
use punctual_core::*;
use punctual_wire::*;
use std::sync::Arc;
use std::time::{Duration, Instant};

struct Out(Vec<BatchWriter>);
impl Outbox for Out {
    fn to_shard(&mut self, shard: ShardId) -> Option<&mut BatchWriter> { Some(&mut self.0[shard.0 as usize]) }
}
fn main() {
    let secs: f64 = std::env::args().nth(1).map_or(2.0, |s| s.parse().unwrap());
    let span: usize = std::env::args().nth(2).map_or(2, |s| s.parse().unwrap());
    let inflight: u32 = std::env::args().nth(3).map_or(1024, |s| s.parse().unwrap());
    let n = 2u16;
    let limits = Limits::DEFAULT;
    let writer = || BatchWriter::new(limits, 64, false);
    let mut shards: Vec<Shard> = (0..n).map(|id| {
        let mut c = ShardConfig::new(ShardId(id), n);
        c.session = SessionId(100 + u64::from(id));
        Shard::new(c, Arc::new(Procedures::new()))
    }).collect();
    for a in 0..n { for b in 0..n { if a != b { shards[a as usize].on_peer_up(Nanos(1), ShardId(b), SessionId(100 + u64::from(b))); } } }
    let mut co = Coordinator::new(CoordinatorConfig { shards: n, limits, in_flight_max: inflight, request_timeout: Duration::from_secs(1), deadline: Duration::from_secs(10), busy_backoff: Duration::from_millis(1), headroom: Nanos(1000), owd: OwdConfig::default() });
    let sess: Vec<_> = shards.iter_mut().map(|s| s.open_session(Nanos(1), SessionId(7), inflight).unwrap()).collect();
    let mut out = Out((0..n).map(|_| writer()).collect());
    for id in 0..n { co.on_link_up(Nanos(1), ShardId(id), SessionId(100 + u64::from(id)), 1, &mut out, |_| {}); }
    let keys: Vec<Vec<u64>> = (0..n).map(|s| (0..1_000_000u64).filter(|k| shard_of(Key::Word(*k), n) == s).collect()).collect();
    let start = Instant::now();
    let now = || Nanos(start.elapsed().as_nanos() as i64 + 1_000_000);
    let mut t = Transaction::new(n, limits);
    let mut seed = 12345u64;
    let mut rnd = || { seed ^= seed << 13; seed ^= seed >> 7; seed ^= seed << 17; seed };
    let mut done = 0u64;
    let mut replies = writer();
    let mut peer = writer();
    let mut late = 0u64;
    let mut turn = 0u64;
    while start.elapsed().as_secs_f64() < secs {
        turn += 1;
        for _ in 0..64 {
            if co.in_flight() >= inflight { break; }
            if t.op_count() == 0 {
                let first = rnd() as usize % 2;
                for i in 0..10usize {
                    let s = if span == 2 { (first + i) % 2 } else { first };
                    let k = keys[s][rnd() as usize % keys[s].len()];
                    t.word(WordOp { key: k, is_add: i % 2 == 0, delta: 1 });
                }
            }
            if co.submit(now(), &mut t, 0, &mut out).is_err() { break; }
        }
        for s in 0..n as usize {
            out.0[s].seal();
            let bytes = out.0[s].sealed().to_vec();
            out.0[s].clear_sealed();
            let mut r = FrameReader::new(&bytes, limits, false);
            while let Some(f) = r.next_frame().unwrap() { shards[s].on_dispatch(now(), sess[s], &f, &mut replies).unwrap(); }
            shards[s].on_turn(now());
            shards[s].write_replies(sess[s], &mut replies);
            replies.seal();
            let bytes = replies.sealed().to_vec();
            replies.clear_sealed();
            let mut r = FrameReader::new(&bytes, limits, false);
            while let Some(f) = r.next_frame().unwrap() {
                co.on_reply(now(), ShardId(s as u16), &f, |c| { done += 1; late += u64::from(c.timing.is_some_and(|t| t.late > Nanos(0))); assert!(matches!(c.outcome, Outcome::Committed{..})); }).unwrap();
            }
            shards[s].write_peer(ShardId(1 - s as u16), &mut peer);
            peer.seal();
            let bytes = peer.sealed().to_vec();
            peer.clear_sealed();
            let mut r = FrameReader::new(&bytes, limits, false);
            while let Some(f) = r.next_frame().unwrap() { shards[1 - s].on_peer(now(), ShardId(s as u16), &f).unwrap(); }
        }
    }
    println!("{:.0} txn/s, turns {turn}, late {late}", done as f64 / secs);
    for s in &shards { println!("{:?} {}", s.stats(), s.is_idle()); }
    println!("{:?}", co.stats());
}
