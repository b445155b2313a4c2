//! When what was sent arrives: the rules of an emulated network, without any input or output.
//!
//! A direction of a link is an ordered stream, as TCP makes one of a network that loses and
//! reorders packets. So nothing overtakes: what has been delayed for longer, or had to be sent
//! again, keeps back what was sent after it.

use super::random::Random;
use std::time::Duration;

/// No delay is further from its mean than so many times the jitter: where the tables of netem end,
/// too.
const SPREAD_MAX: f64 = 4.0;
/// Bytes of a packet that may be lost: what a TCP segment carries over Ethernet.
const PACKET_BYTES: usize = 1448;
/// A packet that was lost so often arrives all the same.
const RETRANSMISSIONS_MAX: u32 = 16;
const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// How delays vary about their mean. Names and meanings are those of netem, see tc-netem(8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Distribution {
    /// Normal, with the jitter as standard deviation.
    #[default]
    Normal,
    /// Most delays are a little below the mean and a few far above: Pareto with shape 3, as in
    /// netem's table.
    Pareto,
    /// Everything between the mean less the jitter and the mean plus the jitter is as likely.
    Uniform,
    /// No jitter.
    Constant,
}

impl Distribution {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Normal, Self::Pareto, Self::Uniform, Self::Constant];

    /// The name in topology files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Pareto => "pareto",
            Self::Uniform => "uniform",
            Self::Constant => "constant",
        }
    }

    /// A distance from the mean, in jitters.
    fn draw(self, random: &mut Random) -> f64 {
        match self {
            Self::Constant => 0.0,
            Self::Uniform => 2.0 * random.unit() - 1.0,
            Self::Normal => random.normal().clamp(-SPREAD_MAX, SPREAD_MAX),
            // 1 / u^(1/3) has the mean 3/2; netem scales what is left by 4/3 and cuts it at 4.
            Self::Pareto => {
                let value = 1.0 / (1.0 - random.unit()).cbrt();
                ((value - 1.5) * 4.0 / 3.0).min(SPREAD_MAX)
            }
        }
    }

    /// The largest distance from the mean, in jitters.
    fn spread_max(self) -> f64 {
        match self {
            Self::Constant => 0.0,
            Self::Uniform => 1.0,
            Self::Normal | Self::Pareto => SPREAD_MAX,
        }
    }
}

/// What one direction of a network does to what is sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// The mean delay.
    pub delay: Duration,
    /// How far delays are from it; what that means is up to the distribution. No delay is negative.
    pub jitter: Duration,
    /// How delays vary.
    pub distribution: Distribution,
    /// Share of the packets that are lost and sent again, below 1. A batch is as many packets as it
    /// has 1,448 bytes, or parts of them.
    pub loss: f64,
    /// Bits a second; `None`: as many as there are.
    pub bandwidth: Option<u64>,
    /// A lost packet arrives a round trip later, or this if it is longer.
    pub retransmit_min: Duration,
}

impl Shape {
    /// Nothing is delayed or lost.
    pub const NONE: Self = Self {
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        distribution: Distribution::Normal,
        loss: 0.0,
        bandwidth: None,
        retransmit_min: Self::RETRANSMIT_MIN,
    };

    /// Below a round trip as short as this it is the sender's timer that counts, not the path:
    /// Linux notices the loss of a last packet by a probe (RFC 8985) that it sends after two ticks
    /// of the kernel at the soonest, 8 ms at 250 a second.
    pub const RETRANSMIT_MIN: Duration = Duration::from_millis(10);

    /// A delay that varies normally.
    #[must_use]
    pub const fn normal(delay: Duration, jitter: Duration) -> Self {
        Self { delay, jitter, ..Self::NONE }
    }

    /// Whether everything arrives at once.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.longest() == Duration::ZERO && self.loss <= 0.0 && self.bandwidth.is_none()
    }

    /// The longest delay of something that is sent once, on a free line.
    #[must_use]
    pub fn longest(&self) -> Duration {
        let spread = self.jitter.as_secs_f64() * self.distribution.spread_max();
        self.delay.saturating_add(Duration::try_from_secs_f64(spread).unwrap_or(Duration::MAX))
    }
}

/// Both directions between two agents.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NetworkPath {
    /// From the one that opens the link.
    pub there: Shape,
    /// To it.
    pub back: Shape,
}

impl NetworkPath {
    /// Both directions alike.
    #[must_use]
    pub const fn symmetric(shape: Shape) -> Self {
        Self { there: shape, back: shape }
    }

    /// Whether everything arrives at once, in both directions.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.there.is_none() && self.back.is_none()
    }

    /// The mean of a round trip.
    #[must_use]
    pub fn round_trip(&self) -> Duration {
        self.there.delay.saturating_add(self.back.delay)
    }
}

/// Decides when what is sent in one direction arrives.
#[derive(Debug, Clone)]
pub struct Shaper {
    shape: Shape,
    /// How much later what was lost once arrives.
    retransmit_ns: u64,
    random: Random,
    /// When the line has taken everything that was sent so far.
    line_free_ns: u64,
    last_due_ns: u64,
    packets_lost: u64,
}

impl Shaper {
    /// A direction whose losses cost a `round_trip`.
    #[must_use]
    pub fn new(shape: Shape, round_trip: Duration, seed: u64) -> Self {
        Self {
            shape,
            retransmit_ns: nanos(round_trip.max(shape.retransmit_min)),
            random: Random::new(seed),
            line_free_ns: 0,
            last_due_ns: 0,
            packets_lost: 0,
        }
    }

    /// When `bytes` arrive that are sent at `sent_ns`: not before, and not before what was asked
    /// about earlier.
    pub fn due_ns(&mut self, sent_ns: u64, bytes: usize) -> u64 {
        let starts_ns = sent_ns.max(self.line_free_ns);
        self.line_free_ns = starts_ns.saturating_add(self.line_ns(bytes));
        let on_the_way_ns = self.delay_ns().saturating_add(self.lost_ns(bytes));
        let due_ns = self.line_free_ns.saturating_add(on_the_way_ns);
        self.last_due_ns = self.last_due_ns.max(due_ns);
        self.last_due_ns
    }

    /// Packets that were lost so far.
    #[must_use]
    pub fn packets_lost(&self) -> u64 {
        self.packets_lost
    }

    /// How long it takes to put so many bytes on the line.
    fn line_ns(&self, bytes: usize) -> u64 {
        let Some(bandwidth) = self.shape.bandwidth else { return 0 };
        let nanobits = bytes as u128 * 8 * NANOS_PER_SECOND;
        u64::try_from(nanobits / u128::from(bandwidth.max(1))).unwrap_or(u64::MAX)
    }

    fn delay_ns(&mut self) -> u64 {
        let Shape { delay, jitter, distribution, .. } = self.shape;
        if jitter == Duration::ZERO {
            return nanos(delay);
        }
        let distance = distribution.draw(&mut self.random) * jitter.as_nanos() as f64;
        // What is negative becomes zero.
        (delay.as_nanos() as f64 + distance) as u64
    }

    /// How much later something arrives because parts of it were lost, each time anew.
    fn lost_ns(&mut self, bytes: usize) -> u64 {
        if self.shape.loss <= 0.0 {
            return 0;
        }
        let mut under_way = bytes.div_ceil(PACKET_BYTES);
        let mut times = 0;
        while times < RETRANSMISSIONS_MAX {
            let lost = (0..under_way).filter(|_| self.random.unit() < self.shape.loss).count();
            if lost == 0 {
                break;
            }
            self.packets_lost += lost as u64;
            under_way = lost;
            times += 1;
        }
        self.retransmit_ns.saturating_mul(u64::from(times))
    }
}

/// Saturates at 584 years.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
