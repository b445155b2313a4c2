//! What every member of a cluster must agree on.

use super::Address;
use super::names::named;
use punctual_wire::Limits;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64;

/// Between machines that are kept in step over a network, clocks are surely that near.
const EPSILON_REALTIME: Duration = Duration::from_millis(1);

/// Rules that must be equal on every member: their hash is part of the handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterConfig {
    /// Name of the cluster, at most 64 bytes: keeps two clusters on one network apart.
    pub name: String,
    /// How many shards there are, at least 1.
    pub shards: u16,
    /// The address of each shard in the order of their ids, or empty: everything in one process.
    pub addresses: Vec<Address>,
    /// The clock that stamps transactions.
    pub clock: ClockSource,
    /// How far two clocks of the cluster may be apart; `None` means: what the clock allows, see
    /// [`clock_bound`](Self::clock_bound).
    pub epsilon: Option<Duration>,
    /// A transaction that is stamped further ahead of a shard's clock than this is refused.
    pub max_hold: Duration,
    /// A transaction of which a shard has heard from others only is refused after this.
    pub dispatch_timeout: Duration,
    /// Whether every frame carries a checksum.
    pub checksum: bool,
    /// Bounds of frames and messages.
    pub limits: Limits,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            name: "punctual".to_owned(),
            shards: 1,
            addresses: Vec::new(),
            clock: ClockSource::Auto,
            epsilon: None,
            max_hold: Duration::from_secs(1),
            dispatch_timeout: Duration::from_secs(1),
            checksum: true,
            limits: Limits::DEFAULT,
        }
    }
}

impl ClusterConfig {
    /// Hash of everything that two members must agree on before they may talk.
    ///
    /// Addresses are left out, because two machines may reach a shard under different names. The
    /// clock and its bound count as what they [resolve](ClockSource::resolve) to: a member that
    /// found only loopback addresses and one that did not would stamp on clocks decades apart.
    #[must_use]
    pub fn hash(&self) -> u64 {
        xxh3_64(self.canonical().as_bytes())
    }

    /// The text that is hashed. The name comes last, so that no name can look like another field.
    fn canonical(&self) -> String {
        let Limits { frame_bytes_max, batch_max, key_bytes_max, value_bytes_max, ops_max } =
            self.limits;
        format!(
            "punctual cluster 2\nshards={}\nclock={}\nepsilon_ns={}\nmax_hold_ns={}\n\
             dispatch_timeout_ns={}\nchecksum={}\n\
             frame_bytes_max={frame_bytes_max}\nbatch_max={batch_max}\n\
             key_bytes_max={key_bytes_max}\nvalue_bytes_max={value_bytes_max}\n\
             ops_max={ops_max}\nname={}\n",
            self.shards,
            self.clock.resolve(&self.addresses),
            self.clock_bound().as_nanos(),
            self.max_hold.as_nanos(),
            self.dispatch_timeout.as_nanos(),
            self.checksum,
            self.name,
        )
    }

    /// How far two clocks of the cluster may be apart. Where nothing was chosen that is nothing for
    /// the one monotonic clock of a machine, and 1 ms for clocks of several machines.
    #[must_use]
    pub fn clock_bound(&self) -> Duration {
        self.epsilon.unwrap_or(match self.clock.resolve(&self.addresses) {
            ClockSource::Realtime => EPSILON_REALTIME,
            ClockSource::Auto | ClockSource::Monotonic => Duration::ZERO,
        })
    }
}

/// The clock that stamps transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ClockSource {
    /// Monotonic where all members are surely on one machine, else realtime.
    #[default]
    Auto,
    /// `CLOCK_MONOTONIC`: never steps, but counts from the boot of one machine.
    Monotonic,
    /// `CLOCK_REALTIME`, to be kept in step between machines by NTP or PTP.
    Realtime,
}

named!(ClockSource { Auto = "auto", Monotonic = "monotonic", Realtime = "realtime" });

impl ClockSource {
    /// The clock for shards at these addresses; never [`ClockSource::Auto`].
    #[must_use]
    pub fn resolve(self, addresses: &[Address]) -> Self {
        match self {
            Self::Auto if addresses.iter().all(Address::is_local) => Self::Monotonic,
            Self::Auto => Self::Realtime,
            chosen => chosen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn at(addresses: &[&str]) -> ClusterConfig {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        ClusterConfig { shards: 2, addresses, ..ClusterConfig::default() }
    }

    #[test]
    fn auto_is_monotonic_on_one_machine_and_realtime_between_machines() {
        let auto = ClockSource::Auto;
        assert_eq!(auto.resolve(&[]), ClockSource::Monotonic);
        let local = at(&["127.0.0.1:1", "unix:a.sock"]);
        assert_eq!(auto.resolve(&local.addresses), ClockSource::Monotonic);
        let remote = at(&["127.0.0.1:1", "10.0.0.1:1"]);
        assert_eq!(auto.resolve(&remote.addresses), ClockSource::Realtime);
        let chosen = ClockSource::Monotonic.resolve(&remote.addresses);
        assert_eq!(chosen, ClockSource::Monotonic);
    }

    #[test]
    fn the_hash_ignores_addresses() {
        let local = at(&["127.0.0.1:1", "127.0.0.1:2"]).hash();
        assert_eq!(local, at(&[]).hash());
        assert_eq!(local, at(&["unix:a.sock", "localhost:9"]).hash());
        assert_eq!(at(&["10.0.0.1:1", "a:1"]).hash(), at(&["b:1", "10.0.0.2:1"]).hash());
    }

    #[test]
    fn the_hash_tells_a_monotonic_member_from_a_realtime_one() {
        assert_ne!(at(&["127.0.0.1:1"]).hash(), at(&["10.0.0.1:1"]).hash());
    }

    #[test]
    fn clocks_are_equal_on_one_machine_and_a_millisecond_apart_between_machines() {
        assert_eq!(at(&["127.0.0.1:1"]).clock_bound(), Duration::ZERO);
        let mut remote = at(&["10.0.0.1:1"]);
        assert_eq!(remote.clock_bound(), Duration::from_millis(1));
        let hash = remote.hash();
        remote.epsilon = Some(Duration::from_millis(1));
        assert_eq!(remote.hash(), hash, "what counts is the bound, not who chose it");
        remote.epsilon = Some(Duration::ZERO);
        assert_eq!(remote.clock_bound(), Duration::ZERO);
    }

    #[test]
    fn the_hash_changes_with_every_other_cluster_field() {
        let changes: [fn(&mut ClusterConfig); 12] = [
            |cluster| cluster.name.push('2'),
            |cluster| cluster.shards += 1,
            |cluster| cluster.clock = ClockSource::Realtime,
            |cluster| cluster.epsilon = Some(Duration::from_nanos(1)),
            |cluster| cluster.max_hold *= 2,
            |cluster| cluster.dispatch_timeout *= 3,
            |cluster| cluster.checksum = !cluster.checksum,
            |cluster| cluster.limits.frame_bytes_max += 1,
            |cluster| cluster.limits.batch_max += 1,
            |cluster| cluster.limits.key_bytes_max += 1,
            |cluster| cluster.limits.value_bytes_max += 1,
            |cluster| cluster.limits.ops_max += 1,
        ];
        let mut hashes = HashSet::from([ClusterConfig::default().hash()]);
        for change in changes {
            let mut cluster = ClusterConfig::default();
            change(&mut cluster);
            hashes.insert(cluster.hash());
        }
        assert_eq!(hashes.len(), 1 + changes.len());
    }

    #[test]
    fn the_hashed_text_stays_as_it_is_between_releases() {
        let expected = "punctual cluster 2\nshards=1\nclock=monotonic\nepsilon_ns=0\n\
            max_hold_ns=1000000000\ndispatch_timeout_ns=1000000000\nchecksum=true\n\
            frame_bytes_max=1048576\nbatch_max=256\nkey_bytes_max=1024\nvalue_bytes_max=262144\n\
            ops_max=1024\nname=punctual\n";
        assert_eq!(ClusterConfig::default().canonical(), expected);
    }
}
