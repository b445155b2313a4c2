//! Which key of a file sets which field.

use super::check::{self, BATCH, COORDINATORS, CORES, FRAME_BYTES, IN_FLIGHT, JITTER, KEY_BYTES};
use super::check::{OPS, SESSIONS, VALUE_BYTES, WAITING};
use super::section::{Document, Entry, Section};
use super::{Address, ClusterConfig, Config, ConfigError, CoreList, DurabilitySettings, Modes};
use super::{NetworkConfig, NetworkWait, ProberSettings, ProcessConfig, network};
use punctual_wire::Limits;
use std::path::{Path, PathBuf};

pub(super) const ROOT: &[&str] =
    &["cluster", "serve", "coordinator", "prober", "durability", "placement", "runtime", "network"];
pub(super) const CLUSTER: &[&str] =
    &["name", "shards", "clock", "epsilon", "max_hold", "dispatch_timeout", "checksum", "limits"];
pub(super) const LIMITS: &[&str] =
    &["frame_bytes_max", "batch_max", "key_bytes_max", "value_bytes_max", "ops_max"];
pub(super) const SERVE: &[&str] =
    &["shards", "sessions_max", "store_bytes_max", "pending_per_peer_max", "blocked_max"];
pub(super) const COORDINATOR: &[&str] = &[
    "workers",
    "in_flight",
    "batch",
    "request_timeout",
    "deadline",
    "connect_timeout",
    "headroom",
    "estimator",
    "default_owd",
];
pub(super) const PROBER: &[&str] =
    &["enabled", "first_interval", "first_for", "interval", "jitter", "late_max", "lost_after"];
pub(super) const DURABILITY: &[&str] =
    &["mode", "dir", "within", "segment_bytes", "snapshot_after", "backend"];
pub(super) const PLACEMENT: &[&str] = &["shards", "coordinators", "prober", "journal"];
pub(super) const RUNTIME: &[&str] = &["backend", "idle", "overprovisioned"];
pub(super) const NETWORK: &[&str] = &["topology", "core", "wait", "seed"];

type Read = Result<(), ConfigError>;

/// Reads and checks a whole file.
pub(super) fn read(text: &str, file: &str) -> Result<Config, ConfigError> {
    let document = Document::parse(text, file)?;
    let root = document.root(ROOT)?;
    let cluster = read_cluster(&root.section("cluster", CLUSTER)?)?;
    let mut process = ProcessConfig::default();
    read_serve(&root.section("serve", SERVE)?, &mut process)?;
    read_coordinator(
        &root.section("coordinator", COORDINATOR)?,
        cluster.limits.batch_max,
        &mut process,
    )?;
    read_prober(&root.section("prober", PROBER)?, &mut process.prober)?;
    read_durability(&root.section("durability", DURABILITY)?, &mut process.durability)?;
    read_placement(&root.section("placement", PLACEMENT)?, &mut process)?;
    read_runtime(&root.section("runtime", RUNTIME)?, &mut process)?;
    let network = read_network(&root.section("network", NETWORK)?, file)?;
    let mut config = Config { cluster, process };
    if let Some(network) = network {
        config.set_network(network);
    }
    check::check(&config).map_err(|violation| document.locate(violation))?;
    Ok(config)
}

fn read_cluster(section: &Section<'_>) -> Result<ClusterConfig, ConfigError> {
    let mut cluster = ClusterConfig::default();
    section.set("name", &mut cluster.name, Entry::text)?;
    section.set("clock", &mut cluster.clock, Entry::parsed)?;
    section.set("epsilon", &mut cluster.epsilon, |entry| match entry.is_word("auto") {
        true => Ok(None),
        false => entry.duration().map(Some),
    })?;
    section.set("max_hold", &mut cluster.max_hold, Entry::duration)?;
    section.set("dispatch_timeout", &mut cluster.dispatch_timeout, Entry::duration)?;
    section.set("checksum", &mut cluster.checksum, Entry::boolean)?;
    read_limits(&section.section("cluster.limits", LIMITS)?, &mut cluster.limits)?;

    let shards = section.required("shards", "list the address of each shard")?;
    cluster.addresses = shards.list(Entry::parsed::<Address>)?;
    cluster.shards = u16::try_from(cluster.addresses.len())
        .map_err(|_| shards.refuse("names more than 65535 shards"))?;
    Ok(cluster)
}

fn read_limits(section: &Section<'_>, limits: &mut Limits) -> Read {
    section.set("frame_bytes_max", &mut limits.frame_bytes_max, |e| e.integer(&FRAME_BYTES))?;
    section.set("batch_max", &mut limits.batch_max, |e| e.integer(&BATCH))?;
    section.set("key_bytes_max", &mut limits.key_bytes_max, |e| e.integer(&KEY_BYTES))?;
    section.set("value_bytes_max", &mut limits.value_bytes_max, |e| e.integer(&VALUE_BYTES))?;
    section.set("ops_max", &mut limits.ops_max, |e| e.integer(&OPS))
}

fn read_serve(section: &Section<'_>, process: &mut ProcessConfig) -> Read {
    section.set("shards", &mut process.serve, |entry| {
        entry.list(|element| element.integer(&(0..=u16::MAX))).map(Some)
    })?;
    section.set("sessions_max", &mut process.sessions_max, |e| e.integer(&SESSIONS))?;
    section.set("store_bytes_max", &mut process.store_bytes_max, Entry::bytes)?;
    section
        .set("pending_per_peer_max", &mut process.pending_per_peer_max, |e| e.integer(&WAITING))?;
    section.set("blocked_max", &mut process.blocked_max, |e| e.integer(&WAITING))
}

fn read_coordinator(section: &Section<'_>, batch_max: u16, process: &mut ProcessConfig) -> Read {
    section.set("workers", &mut process.coordinators, |e| e.integer(&COORDINATORS))?;
    section.set("in_flight", &mut process.in_flight, |e| e.integer(&IN_FLIGHT))?;
    // A batch of one message is no batching at all.
    section.set("batch", &mut process.batch, |entry| {
        entry.word_or("off", 1, |entry| entry.integer(&(1..=batch_max)))
    })?;
    section.set("request_timeout", &mut process.request_timeout, Entry::duration)?;
    section.set("deadline", &mut process.deadline, Entry::duration)?;
    section.set("connect_timeout", &mut process.connect_timeout, Entry::duration)?;
    section.set("headroom", &mut process.headroom, Entry::duration)?;
    section.set("estimator", &mut process.estimator, Entry::parsed)?;
    section.set("default_owd", &mut process.default_owd, Entry::duration)
}

fn read_prober(section: &Section<'_>, prober: &mut ProberSettings) -> Read {
    section.set("enabled", &mut prober.enabled, |entry| {
        entry.word_or("auto", None, |entry| entry.boolean().map(Some))
    })?;
    section.set("first_interval", &mut prober.first_interval, Entry::duration)?;
    section.set("first_for", &mut prober.first_for, Entry::duration)?;
    section.set("interval", &mut prober.interval, Entry::duration)?;
    section.set("jitter", &mut prober.jitter, |e| e.number(&JITTER))?;
    section.set("late_max", &mut prober.late_max, Entry::duration)?;
    section.set("lost_after", &mut prober.lost_after, Entry::duration)
}

fn read_durability(section: &Section<'_>, durability: &mut DurabilitySettings) -> Read {
    section.set("mode", &mut durability.modes, |e| e.one_or_list(Entry::parsed).map(Modes))?;
    section.set("dir", &mut durability.dir, |entry| entry.text().map(PathBuf::from))?;
    section.set("within", &mut durability.within, Entry::duration)?;
    section.set("segment_bytes", &mut durability.segment_bytes, Entry::bytes)?;
    section.set("snapshot_after", &mut durability.snapshot_after, Entry::bytes)?;
    section.set("backend", &mut durability.backend, Entry::parsed)
}

fn read_placement(section: &Section<'_>, process: &mut ProcessConfig) -> Read {
    section.set("shards", &mut process.placement.shards, read_cores)?;
    section.set("coordinators", &mut process.placement.coordinators, read_cores)?;
    section.set("prober", &mut process.placement.prober, |entry| {
        entry.word_or("auto", None, |entry| entry.integer(&CORES).map(Some))
    })?;
    section.set("journal", &mut process.placement.journal, read_cores)
}

fn read_cores(entry: &Entry<'_>) -> Result<CoreList, ConfigError> {
    entry.word_or("auto", CoreList::Auto, |entry| {
        entry.list(|element| element.integer(&CORES)).map(CoreList::Cores)
    })
}

fn read_runtime(section: &Section<'_>, process: &mut ProcessConfig) -> Read {
    section.set("backend", &mut process.backend, Entry::parsed)?;
    section.set("idle", &mut process.idle, Entry::parsed)?;
    section.set("overprovisioned", &mut process.overprovisioned, |entry| {
        entry.word_or("auto", None, |entry| entry.boolean().map(Some))
    })
}

/// The network, unless there is none. The path of a topology file is relative to the folder of this
/// one.
fn read_network(section: &Section<'_>, file: &str) -> Result<Option<NetworkConfig>, ConfigError> {
    let (mut core, mut wait, mut seed) = (None, NetworkWait::default(), 1);
    section.set("core", &mut core, |entry| {
        entry.word_or("auto", None, |entry| entry.integer(&CORES).map(Some))
    })?;
    section.set("wait", &mut wait, Entry::parsed)?;
    section.set("seed", &mut seed, |entry| entry.integer(&(0..=i64::MAX.unsigned_abs())))?;
    if !section.is_given() {
        return Ok(None);
    }
    let what = "name one, as in \"geo\", or the path of a topology file, or \"none\"";
    let entry = section.required("topology", what)?;
    if entry.is_word("none") {
        return Ok(None);
    }
    let folder = Path::new(file).parent().unwrap_or(Path::new(""));
    let topology = network::topology(&entry.text()?, folder);
    let topology = topology.map_err(|why| entry.refuse(&why))??;
    Ok(Some(NetworkConfig { topology, core, wait, seed }))
}
