//! Where everybody is, and how long a frame takes from one place to another.

use super::random::{JITTERS_MAX, scaled_normal, scaled_pareto};
use crate::rng::Rng;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How the delays of single frames are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SimDistribution {
    /// Not at all.
    Constant,
    /// Evenly, from the delay less the jitter to the delay and the jitter.
    Uniform,
    /// Normally; the jitter is the standard deviation.
    #[default]
    Normal,
    /// With a long tail: netem's `pareto`, of exponent 3, from two thirds of the jitter below the
    /// delay to four jitters above.
    Pareto,
}

/// One direction between two places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimPath {
    /// How long a frame takes on average.
    pub delay_ns: u64,
    /// How far frames differ.
    #[serde(default)]
    pub jitter_ns: u64,
    /// How they do.
    #[serde(default)]
    pub distribution: SimDistribution,
}

impl SimPath {
    /// A delay with normal jitter, both in microseconds.
    #[must_use]
    pub const fn normal_us(delay_us: u64, jitter_us: u64) -> Self {
        let (delay_ns, jitter_ns) = (delay_us * 1_000, jitter_us * 1_000);
        Self { delay_ns, jitter_ns, distribution: SimDistribution::Normal }
    }

    /// The delay of one frame; never less than nothing.
    pub(super) fn sample(&self, rng: &mut Rng) -> i64 {
        let (delay, jitter) = (self.delay_ns.cast_signed(), self.jitter_ns.cast_signed());
        if jitter == 0 {
            return delay;
        }
        let drawn = match self.distribution {
            SimDistribution::Constant => 0,
            SimDistribution::Uniform => rng.between(-jitter, jitter),
            SimDistribution::Normal => scaled_normal(rng, jitter),
            SimDistribution::Pareto => scaled_pareto(rng, jitter),
        };
        (delay + drawn).max(0)
    }

    fn longest_ns(&self) -> u64 {
        self.delay_ns.saturating_add(self.jitter_ns.saturating_mul(JITTERS_MAX.into()))
    }
}

/// Places, the ways between them, and who is where.
///
/// A connection carries frames in order, so one that is delayed holds up those behind it. Nothing
/// is lost, and there is room for everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimNetwork {
    /// What it is called in reports.
    pub name: String,
    /// The places, by name.
    pub places: Vec<String>,
    /// The way from one place to another, at `from * places + to`; also from a place to itself,
    /// which is the way between two who are both there.
    pub paths: Vec<SimPath>,
    /// Where the shards are: the shard of number `n` at entry `n` modulo the length.
    pub shards_at: Vec<usize>,
    /// Where the coordinators are, in the same way.
    pub coordinators_at: Vec<usize>,
}

/// Name, one-way delay and jitter in microseconds.
static PRESETS: [(&str, SimPath); 5] = [
    ("none", SimPath::normal_us(0, 0)),
    ("same-region", SimPath::normal_us(2_000, 500)),
    ("same-continent", SimPath::normal_us(30_000, 5_000)),
    ("cross-continent", SimPath::normal_us(80_000, 10_000)),
    ("geo", SimPath::normal_us(150_000, 20_000)),
];

impl SimNetwork {
    /// A network in which the way between any two is the same.
    #[must_use]
    pub fn even(name: &str, path: SimPath) -> Self {
        Self::between(name, &["everywhere"], |_, _| path)
    }

    /// A network of these places. Shards and coordinators take them in turn.
    #[must_use]
    pub fn between(name: &str, places: &[&str], path: impl Fn(usize, usize) -> SimPath) -> Self {
        let all = 0..places.len();
        let pairs = all.clone().flat_map(|from| all.clone().map(move |to| (from, to)));
        Self {
            name: name.to_owned(),
            paths: pairs.map(|(from, to)| path(from, to)).collect(),
            places: places.iter().map(|&place| place.to_owned()).collect(),
            shards_at: all.clone().collect(),
            coordinators_at: all.collect(),
        }
    }

    /// A network with a name: `none`, `same-region` (2 ms), `same-continent` (30 ms),
    /// `cross-continent` (80 ms) or `geo` (150 ms), each way, between any two.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let found = PRESETS.iter().find(|(preset, _)| *preset == name);
        found.map(|(name, path)| Self::even(name, *path))
    }

    /// The names that [`named`](Self::named) knows.
    pub fn names() -> impl Iterator<Item = &'static str> {
        PRESETS.iter().map(|(name, _)| *name)
    }

    /// Where a shard is.
    #[must_use]
    pub fn place_of_shard(&self, shard: usize) -> usize {
        self.shards_at[shard % self.shards_at.len()]
    }

    /// Where a coordinator is.
    #[must_use]
    pub fn place_of_coordinator(&self, coordinator: usize) -> usize {
        self.coordinators_at[coordinator % self.coordinators_at.len()]
    }

    /// The way from one place to another.
    ///
    /// # Panics
    /// If there is no such place.
    #[must_use]
    pub fn path(&self, from: usize, to: usize) -> SimPath {
        assert!(from < self.places.len() && to < self.places.len(), "a place that there is not");
        self.paths[from * self.places.len() + to]
    }

    /// No frame takes longer than this, but for those ahead of it.
    #[must_use]
    pub fn longest(&self) -> Duration {
        let longest = self.paths.iter().map(SimPath::longest_ns).max();
        Duration::from_nanos(longest.unwrap_or(0))
    }

    /// What is wrong with it, if anything.
    pub(super) fn flaw(&self) -> Option<String> {
        let count = self.places.len();
        let (paths, needed) = (self.paths.len(), count * count);
        if paths != needed {
            return Some(format!("{paths} ways between {count} places, which need {needed}"));
        }
        let who = [("shards", &self.shards_at), ("coordinators", &self.coordinators_at)];
        for (who, places) in who {
            if places.is_empty() {
                return Some(format!("no place for its {who}"));
            }
            if let Some(place) = places.iter().find(|place| **place >= count) {
                return Some(format!("{who} at place {place}, and only {count} places"));
            }
        }
        None
    }
}

/// The shortest time in which a transaction can commit over this network by the rules of the
/// protocol, from its dispatch to the last reply, if nobody needs time for anything. It takes the
/// mean of each delay.
///
/// With `d(a, b)` the way from a to b, coordinator `c`, shards `S`, and everything counted from the
/// dispatch:
///
/// ```text
/// arrival(s)  = d(c, s)
/// stamp       = max of d(c, s) over S, plus headroom                      (R1)
/// agreed      = max of stamp and arrival(s) over S                        (R2, R5)
/// knows(s)    = max of arrival(s) and, over the others t, arrival(t) + d(t, s)   (R4)
/// release(s)  = max of agreed + epsilon and knows(s)                      (R6)
/// bound       = max of release(s) + d(s, c) over S                        (R7)
/// ```
///
/// Where all ways take the same time d, that is 2 d on one shard, and 3 d on several as long as
/// headroom and epsilon are below d: dispatch, proposal, reply. One shard makes nobody wait, so it
/// has neither stamp nor proposals.
#[must_use]
pub fn protocol_bound(
    network: &SimNetwork,
    headroom: Duration,
    epsilon: Duration,
    coordinator_at: usize,
    shards_at: &[usize],
) -> Duration {
    let delay = |from: usize, to: usize| network.path(from, to).delay_ns.cast_signed();
    let wait_ns = |wait: Duration| i64::try_from(wait.as_nanos()).unwrap_or(i64::MAX / 4);
    let wait_ns = wait_ns(headroom).saturating_add(wait_ns(epsilon));
    let bound_ns = bound_ns(&delay, wait_ns, coordinator_at, shards_at);
    Duration::from_nanos(bound_ns.max(0).unsigned_abs())
}

/// [`protocol_bound`] for any delays; `wait_ns` is headroom and epsilon together.
pub(super) fn bound_ns(
    delay: &impl Fn(usize, usize) -> i64,
    wait_ns: i64,
    coordinator_at: usize,
    shards_at: &[usize],
) -> i64 {
    let dispatch = |shard: usize| delay(coordinator_at, shard);
    if let [shard] = shards_at {
        return dispatch(*shard) + delay(*shard, coordinator_at);
    }
    let last = shards_at.iter().map(|shard| dispatch(*shard)).max().unwrap_or(0);
    let agreed = last.saturating_add(wait_ns);
    let done = |(at, shard): (usize, &usize)| {
        let others = shards_at.iter().enumerate().filter(|(other, _)| *other != at);
        let knows = others.map(|(_, other)| dispatch(*other) + delay(*other, *shard)).max();
        agreed.max(knows.unwrap_or(0)) + delay(*shard, coordinator_at)
    };
    shards_at.iter().enumerate().map(done).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn equal_ways_make_a_bound_of_two_on_one_shard_and_of_three_on_several() {
        let network = SimNetwork::named("geo").expect("a preset");
        let bound = |shards: &[usize]| protocol_bound(&network, MS, MS, 0, shards);
        assert_eq!(bound(&[0]), 300 * MS);
        assert_eq!(bound(&[0, 0]), 450 * MS);
        assert_eq!(bound(&[0, 0, 0]), 450 * MS);
    }

    #[test]
    fn headroom_counts_once_it_is_longer_than_a_proposal_takes() {
        let network = SimNetwork::even("two", SimPath::normal_us(2_000, 0));
        let bound = |headroom| protocol_bound(&network, headroom, MS, 0, &[0, 0]);
        assert_eq!(bound(MS), 6 * MS);
        assert_eq!(bound(5 * MS), (2 + 5 + 1 + 2) * MS);
    }

    #[test]
    fn a_far_shard_decides_by_dispatch_and_reply_or_by_its_proposal() {
        // The coordinator is with the near shard; the far one is 10 ms away.
        let far = |from: usize, to: usize| SimPath::normal_us(10_000 * u64::from(from != to), 0);
        let network = SimNetwork::between("far", &["near", "far"], far);
        let bound = |from| protocol_bound(&network, Duration::ZERO, Duration::ZERO, from, &[0, 1]);
        assert_eq!(bound(0), 20 * MS, "there, and back as a proposal and as a reply");
        // From a third place, the proposal goes between the shards and comes back as a reply.
        let at = [[0, 10, 10], [10, 0, 30], [10, 30, 0]];
        let path = |from: usize, to: usize| SimPath::normal_us(at[from][to] * 1_000, 0);
        let network = SimNetwork::between("star", &["centre", "one", "two"], path);
        let bound = protocol_bound(&network, Duration::ZERO, Duration::ZERO, 0, &[1, 2]);
        assert_eq!(bound, 50 * MS);
    }

    #[test]
    fn samples_keep_to_their_path() {
        let mut rng = Rng::new(1, 0);
        for name in SimNetwork::names() {
            let network = SimNetwork::named(name).expect("it names itself");
            assert_eq!(network.flaw(), None);
            let path = network.path(0, 0);
            let longest = network.longest().as_nanos() as i64;
            let mean = (0..10_000).map(|_| path.sample(&mut rng)).sum::<i64>() / 10_000;
            assert!(mean.abs_diff(path.delay_ns.cast_signed()) <= path.delay_ns / 100, "{name}");
            assert!((0..1_000).all(|_| (0..=longest).contains(&path.sample(&mut rng))), "{name}");
        }
        let wide = SimPath { delay_ns: 10, jitter_ns: 100, distribution: SimDistribution::Uniform };
        let drawn: Vec<i64> = (0..10_000).map(|_| wide.sample(&mut rng)).collect();
        assert_eq!((drawn.iter().min(), drawn.iter().max()), (Some(&0), Some(&110)));
        let still = SimPath { distribution: SimDistribution::Constant, ..wide };
        assert!((0..100).all(|_| still.sample(&mut rng) == 10));
    }

    #[test]
    fn a_network_with_somebody_nowhere_is_told_from_a_sound_one() {
        let sound = SimNetwork::between("three", &["a", "b", "c"], |_, _| SimPath::default());
        assert_eq!(sound.flaw(), None);
        assert_eq!((sound.place_of_shard(4), sound.place_of_coordinator(2)), (1, 2));
        let nowhere = SimNetwork { shards_at: vec![0, 3], ..sound.clone() };
        assert_eq!(nowhere.flaw().as_deref(), Some("shards at place 3, and only 3 places"));
        let nobody = SimNetwork { coordinators_at: Vec::new(), ..sound.clone() };
        assert_eq!(nobody.flaw().as_deref(), Some("no place for its coordinators"));
        let short = SimNetwork { paths: vec![SimPath::default(); 8], ..sound };
        assert_eq!(short.flaw().as_deref(), Some("8 ways between 3 places, which need 9"));
    }
}
