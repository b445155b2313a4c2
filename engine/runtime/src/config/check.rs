//! The bounds of every setting, and the checks that more than one setting takes part in.
//!
//! Files and programs go through the same checks. A [`Violation`] names the keys that it is about;
//! whoever has the file turns them into a line.

use super::{ClusterConfig, Config, CoreList, DurabilitySettings, ProberSettings, ProcessConfig};
use super::{show_bytes, show_duration};
use punctual_core::journal::BLOCK_ALIGN;
use punctual_wire::Limits;
use std::collections::HashSet;
use std::fmt::Display;
use std::hash::Hash;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Shards of a cluster: their ids are `u16`.
const SHARDS: RangeInclusive<u16> = 1..=u16::MAX;
/// A frame is 64 KiB at least, so that small messages always share one.
pub(super) const FRAME_BYTES: RangeInclusive<u32> = HEADS_BYTES..=Limits::FRAME_BYTES_CEILING;
/// Messages of a frame: counted by a `u16`.
pub(super) const BATCH: RangeInclusive<u16> = 1..=u16::MAX;
/// A key may always be an 8-byte word.
pub(super) const KEY_BYTES: RangeInclusive<u16> = 8..=u16::MAX;
/// A value may always be a counter; two of the longest leave room in the largest frame for the
/// longest key and the most results.
pub(super) const VALUE_BYTES: RangeInclusive<u32> =
    8..=Limits::FRAME_BYTES_CEILING / 2 - 6 * HEADS_BYTES;
/// Operations of a piece: counted by a `u16`.
pub(super) const OPS: RangeInclusive<u16> = 1..=u16::MAX;
/// Worker threads of a process.
pub(super) const COORDINATORS: RangeInclusive<u16> = 1..=1024;
/// Slots of a session: their number is 16 bits of a transaction's sequence.
pub(super) const IN_FLIGHT: RangeInclusive<u32> = 1..=1 << 16;
/// Sessions of a shard.
pub(super) const SESSIONS: RangeInclusive<u32> = 1..=1 << 16;
/// Transactions that wait for others.
pub(super) const WAITING: RangeInclusive<u32> = 1..=1 << 24;
/// Share of a probe's pause.
pub(super) const JITTER: RangeInclusive<f64> = 0.0..=0.5;
/// Core numbers: what a fixed-size affinity mask can say.
pub(super) const CORES: RangeInclusive<usize> = 0..=1023;

/// From where a store is worth having to far beyond any machine.
const STORE_BYTES: RangeInclusive<u64> = 1 << 20..=1 << 50;
/// Timeouts: from what a thread can notice to what a person would wait.
const TIMEOUT: RangeInclusive<Duration> = Duration::from_micros(1)..=Duration::from_secs(3600);
/// What two clocks may differ by, what a transaction may travel and what is added to be safe.
const DISTANCE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(60);
/// Pauses between probes: the shortest costs a core a few percent.
const PROBE_INTERVAL: RangeInclusive<Duration> =
    Duration::from_micros(100)..=Duration::from_secs(3600);
/// How late an answered transaction may become durable: from what a disk needs for a write.
const WITHIN: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(60);
/// Files of a log: small ones are changed all the time, and each is read as a whole.
const SEGMENT_BYTES: RangeInclusive<u64> = 1 << 20..=1 << 32;
/// Frames that one of them has room for, so that whatever was admitted can be written down.
const SEGMENT_FRAMES_MIN: u64 = 4;
/// Log between two snapshots; zero is never.
const SNAPSHOT_AFTER: RangeInclusive<u64> = 0..=1 << 50;
/// A unit to reckon room for heads, keys and results with.
const HEADS_BYTES: u32 = 1 << 16;
const NAME_BYTES_MAX: usize = 64;

/// A setting that is outside its bounds or contradicts another.
#[derive(Debug)]
pub(super) struct Violation {
    /// Full names of the settings that it is about; the first one that a file has is to blame.
    pub(super) keys: Vec<&'static str>,
    /// What is wrong, and what to do.
    pub(super) message: String,
}

type Checked = Result<(), Violation>;

/// Checks a whole configuration.
pub(super) fn check(config: &Config) -> Checked {
    check_cluster(&config.cluster)?;
    check_addresses(&config.cluster)?;
    check_limits(&config.cluster.limits)?;
    check_serve(&config.process, config.cluster.shards)?;
    check_process(&config.process, &config.cluster.limits)?;
    check_timeouts(&config.process)?;
    check_times(&config.cluster, &config.process)?;
    check_prober(&config.process.prober)?;
    check_durability(&config.process.durability, &config.cluster.limits)?;
    check_network(config)?;
    check_cores("placement.shards", &config.process.placement.shards)?;
    check_cores("placement.coordinators", &config.process.placement.coordinators)?;
    check_cores("placement.journal", &config.process.placement.journal)?;
    match config.process.placement.prober {
        Some(core) => within("placement.prober", core, &CORES),
        None => Ok(()),
    }
}

fn check_cluster(cluster: &ClusterConfig) -> Checked {
    let name = &cluster.name;
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains(char::is_control) {
        return fail(
            &["cluster.name"],
            format!("name = {name:?} must be 1 to {NAME_BYTES_MAX} bytes of printable text"),
        );
    }
    if !SHARDS.contains(&cluster.shards) {
        return fail(&["cluster.shards"], "a cluster needs at least one shard".to_owned());
    }
    Ok(())
}

fn check_addresses(cluster: &ClusterConfig) -> Checked {
    let keys = ["cluster.shards"];
    let count = cluster.addresses.len();
    if count != 0 && count != usize::from(cluster.shards) {
        return fail(
            &keys,
            format!("{count} addresses for {} shards; give one address a shard", cluster.shards),
        );
    }
    for (index, address) in cluster.addresses.iter().enumerate() {
        if let Err(problem) = address.check() {
            return fail(&keys, format!("shards[{index}] = \"{address}\" {problem}"));
        }
    }
    let fixed = cluster.addresses.iter().filter(|address| !address.may_repeat());
    match first_repeat(fixed) {
        None => Ok(()),
        Some(address) => fail(
            &keys,
            format!("shards names {address} twice; every shard needs an address of its own"),
        ),
    }
}

fn check_limits(limits: &Limits) -> Checked {
    within("cluster.limits.frame_bytes_max", limits.frame_bytes_max, &FRAME_BYTES)?;
    within("cluster.limits.batch_max", limits.batch_max, &BATCH)?;
    within("cluster.limits.key_bytes_max", limits.key_bytes_max, &KEY_BYTES)?;
    within("cluster.limits.value_bytes_max", limits.value_bytes_max, &VALUE_BYTES)?;
    within("cluster.limits.ops_max", limits.ops_max, &OPS)?;

    // The bounds above keep this sum below the ceiling, so there is always a frame to ask for.
    let room = limits.frame_bytes_min();
    if u64::from(limits.frame_bytes_max) >= room {
        return Ok(());
    }
    fail(
        &[
            "cluster.limits.frame_bytes_max",
            "cluster.limits.value_bytes_max",
            "cluster.limits.key_bytes_max",
            "cluster.limits.ops_max",
        ],
        format!(
            "frame_bytes_max = {} has no room for a compare-and-set with a key of {} bytes and two \
             values of {}, and for {} results; raise it to {room} or lower value_bytes_max",
            limits.frame_bytes_max, limits.key_bytes_max, limits.value_bytes_max, limits.ops_max
        ),
    )
}

fn check_serve(process: &ProcessConfig, shards: u16) -> Checked {
    let keys = ["serve.shards"];
    let serve = process.serve.as_deref().unwrap_or_default();
    if let Some(shard) = serve.iter().find(|shard| **shard >= shards) {
        let last = shards - 1;
        return fail(&keys, format!("shards names shard {shard}; the cluster has 0..={last}"));
    }
    match first_repeat(serve.iter().copied()) {
        None => Ok(()),
        Some(shard) => fail(&keys, format!("shards names shard {shard} twice; once is enough")),
    }
}

fn check_process(process: &ProcessConfig, limits: &Limits) -> Checked {
    within("coordinator.workers", process.coordinators, &COORDINATORS)?;
    within("coordinator.in_flight", process.in_flight, &IN_FLIGHT)?;
    within("serve.sessions_max", process.sessions_max, &SESSIONS)?;
    within_as("serve.store_bytes_max", process.store_bytes_max, &STORE_BYTES, show_bytes)?;
    within("serve.pending_per_peer_max", process.pending_per_peer_max, &WAITING)?;
    within("serve.blocked_max", process.blocked_max, &WAITING)?;
    let batch = 1..=limits.batch_max;
    if batch.contains(&process.batch) {
        return Ok(());
    }
    // The limit may have been lowered in the file while the batch is the default.
    fail(
        &["coordinator.batch", "cluster.limits.batch_max"],
        format!("batch = {} is outside 1..={} (batch_max)", process.batch, limits.batch_max),
    )
}

fn check_timeouts(process: &ProcessConfig) -> Checked {
    let ProcessConfig { request_timeout, deadline, connect_timeout, .. } = *process;
    within_as("coordinator.request_timeout", request_timeout, &TIMEOUT, show_duration)?;
    within_as("coordinator.deadline", deadline, &TIMEOUT, show_duration)?;
    within_as("coordinator.connect_timeout", connect_timeout, &TIMEOUT, show_duration)?;
    if deadline >= request_timeout {
        return Ok(());
    }
    fail(
        &["coordinator.deadline", "coordinator.request_timeout"],
        format!(
            "deadline = {} is shorter than request_timeout = {}; nothing would ever be sent again",
            show_duration(deadline),
            show_duration(request_timeout)
        ),
    )
}

/// What transactions on several shards are stamped with and held by.
fn check_times(cluster: &ClusterConfig, process: &ProcessConfig) -> Checked {
    let ClusterConfig { max_hold, dispatch_timeout, .. } = *cluster;
    let ProcessConfig { headroom, default_owd, .. } = *process;
    within_as("cluster.epsilon", cluster.clock_bound(), &DISTANCE, show_duration)?;
    within_as("cluster.max_hold", max_hold, &TIMEOUT, show_duration)?;
    within_as("cluster.dispatch_timeout", dispatch_timeout, &TIMEOUT, show_duration)?;
    within_as("coordinator.headroom", headroom, &DISTANCE, show_duration)?;
    within_as("coordinator.default_owd", default_owd, &DISTANCE, show_duration)?;
    if headroom + default_owd < max_hold {
        return Ok(());
    }
    fail(
        &["coordinator.headroom", "coordinator.default_owd", "cluster.max_hold"],
        format!(
            "headroom = {} and default_owd = {} reach beyond max_hold = {}; every transaction on \
             several shards would be refused",
            show_duration(headroom),
            show_duration(default_owd),
            show_duration(max_hold)
        ),
    )
}

fn check_prober(prober: &ProberSettings) -> Checked {
    let ProberSettings {
        first_interval, first_for, interval, jitter, late_max, lost_after, ..
    } = *prober;
    within_as("prober.first_interval", first_interval, &PROBE_INTERVAL, show_duration)?;
    within_as("prober.first_for", first_for, &DISTANCE, show_duration)?;
    within_as("prober.interval", interval, &PROBE_INTERVAL, show_duration)?;
    within("prober.jitter", jitter, &JITTER)?;
    within_as("prober.late_max", late_max, &TIMEOUT, show_duration)?;
    within_as("prober.lost_after", lost_after, &TIMEOUT, show_duration)
}

fn check_durability(durability: &DurabilitySettings, limits: &Limits) -> Checked {
    let DurabilitySettings { modes, dir, segment_bytes, snapshot_after, .. } = durability;
    if modes.0.is_empty() {
        let message = "mode = [] names no mode; write memory, journal or journal-async";
        return fail(&["durability.mode"], message.to_owned());
    }
    if dir.as_os_str().is_empty() {
        let message = "dir = \"\" is no directory; write its path, as in \".punctual/data\"";
        return fail(&["durability.dir"], message.to_owned());
    }
    within_as("durability.within", durability.within, &WITHIN, show_duration)?;
    within_as("durability.segment_bytes", *segment_bytes, &SEGMENT_BYTES, show_bytes)?;
    within_as("durability.snapshot_after", *snapshot_after, &SNAPSHOT_AFTER, show_bytes)?;
    let block = BLOCK_ALIGN as u64;
    let shown = show_bytes(*segment_bytes);
    if !segment_bytes.is_multiple_of(block) {
        let message = format!("segment_bytes = {shown} must be a multiple of {block}");
        return fail(&["durability.segment_bytes"], message);
    }
    let room = (SEGMENT_FRAMES_MIN * u64::from(limits.frame_bytes_max)).next_multiple_of(block);
    if *segment_bytes >= room || !modes.any_journal() {
        return Ok(());
    }
    fail(
        &["durability.segment_bytes", "cluster.limits.frame_bytes_max"],
        format!(
            "segment_bytes = {shown} has no room for {SEGMENT_FRAMES_MIN} frames of \
             frame_bytes_max = {}; raise it to {}",
            limits.frame_bytes_max,
            show_bytes(room)
        ),
    )
}

fn check_network(config: &Config) -> Checked {
    let Some(network) = &config.process.network else { return Ok(()) };
    if let Some(core) = network.core {
        within("network.core", core, &CORES)?;
    }
    if let Some(problem) = network.topology.problem() {
        return fail(&["network.topology"], problem);
    }
    match config.too_short_for_network() {
        None => Ok(()),
        Some((key, message)) => fail(&[key, "network.topology"], message),
    }
}

fn check_cores(key: &'static str, list: &CoreList) -> Checked {
    let CoreList::Cores(cores) = list else { return Ok(()) };
    if cores.is_empty() {
        let name = short(key);
        return fail(&[key], format!("{name} = [] names no core; write \"auto\" or some cores"));
    }
    cores.iter().try_for_each(|core| within(key, *core, &CORES))
}

fn within<T: Copy + PartialOrd + Display>(
    key: &'static str,
    value: T,
    bounds: &RangeInclusive<T>,
) -> Checked {
    within_as(key, value, bounds, |value| value.to_string())
}

fn within_as<T: Copy + PartialOrd>(
    key: &'static str,
    value: T,
    bounds: &RangeInclusive<T>,
    show: impl Fn(T) -> String,
) -> Checked {
    if bounds.contains(&value) {
        return Ok(());
    }
    let (name, value) = (short(key), show(value));
    let (start, end) = (show(*bounds.start()), show(*bounds.end()));
    fail(&[key], format!("{name} = {value} is outside {start}..={end}"))
}

fn fail(keys: &[&'static str], message: String) -> Checked {
    Err(Violation { keys: keys.to_vec(), message })
}

/// The last part of a full name: what stands before the `=` in a file.
fn short(key: &'static str) -> &'static str {
    key.rsplit_once('.').map_or(key, |(_, name)| name)
}

fn first_repeat<T: Copy + Eq + Hash>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let mut seen = HashSet::new();
    items.find(|item| !seen.insert(*item))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Address;

    fn refused(change: impl FnOnce(&mut Config)) -> String {
        let mut config = Config::embedded(2);
        change(&mut config);
        config.validate().unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_are_valid_for_any_number_of_shards() {
        for shards in [1, 2, 1000, u16::MAX] {
            assert_eq!(Config::embedded(shards).validate(), Ok(()));
        }
    }

    #[test]
    fn numbers_outside_their_bounds_are_refused_with_both() {
        assert_eq!(refused(|c| c.process.in_flight = 0), "in_flight = 0 is outside 1..=65536");
        assert_eq!(refused(|c| c.process.coordinators = 0), "workers = 0 is outside 1..=1024");
        assert_eq!(
            refused(|c| c.process.batch = 257),
            "batch = 257 is outside 1..=256 (batch_max)"
        );
        assert_eq!(
            refused(|c| c.process.store_bytes_max = 512),
            "store_bytes_max = 512 B is outside 1 MiB..=1 PiB"
        );
        assert_eq!(
            refused(|c| c.process.request_timeout = Duration::ZERO),
            "request_timeout = 0s is outside 1us..=1h"
        );
        let frame =
            |c: &mut Config| c.cluster.limits.frame_bytes_max = Limits::FRAME_BYTES_CEILING + 1;
        assert_eq!(refused(frame), "frame_bytes_max = 67108865 is outside 65536..=67108864");
    }

    #[test]
    fn the_largest_limits_fit_the_largest_frame() {
        let mut config = Config::embedded(1);
        config.cluster.limits = Limits {
            frame_bytes_max: *FRAME_BYTES.end(),
            batch_max: *BATCH.end(),
            key_bytes_max: *KEY_BYTES.end(),
            value_bytes_max: *VALUE_BYTES.end(),
            ops_max: *OPS.end(),
        };
        assert_eq!(config.validate(), Ok(()));
    }

    #[test]
    fn clusters_need_a_name_a_shard_and_an_address_for_each() {
        assert!(refused(|c| c.cluster.name = "a\nb".to_owned()).contains("printable"));
        assert!(refused(|c| c.cluster.name.clear()).contains("1 to 64 bytes"));
        assert_eq!(refused(|c| c.cluster.shards = 0), "a cluster needs at least one shard");
        let one = |c: &mut Config| c.cluster.addresses = vec![Address::Tcp("a:1".to_owned())];
        assert_eq!(refused(one), "1 addresses for 2 shards; give one address a shard");
        let bad = |c: &mut Config| c.cluster.addresses = vec![Address::Tcp("a".to_owned()); 2];
        assert!(refused(bad).starts_with("shards[0] = \"a\" has no port"));
    }

    #[test]
    fn two_shards_share_an_address_only_where_the_system_chooses_the_port() {
        let same = |c: &mut Config| c.cluster.addresses = vec![Address::Tcp("a:1".to_owned()); 2];
        assert!(refused(same).starts_with("shards names a:1 twice"));
        let mut config = Config::embedded(2);
        config.cluster.addresses = vec![Address::Tcp("127.0.0.1:0".to_owned()); 2];
        assert_eq!(config.validate(), Ok(()));
    }

    #[test]
    fn core_lists_name_cores_and_may_name_one_twice() {
        let none = |c: &mut Config| c.process.placement.shards = CoreList::Cores(Vec::new());
        assert!(refused(none).starts_with("shards = [] names no core"));
        let far =
            |c: &mut Config| c.process.placement.coordinators = CoreList::Cores(vec![0, 1024]);
        assert_eq!(refused(far), "coordinators = 1024 is outside 0..=1023");
        let mut config = Config::embedded(2);
        config.process.placement.shards = CoreList::Cores(vec![1, 1]);
        assert_eq!(config.validate(), Ok(()));
    }
}
