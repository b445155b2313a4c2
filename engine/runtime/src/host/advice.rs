//! What would make this machine better at being on time.

use super::{HostReport, IoUring, show_core_list};
use crate::config::show_bytes;
use serde::Serialize;

/// The least locked memory with which an `io_uring` executor starts.
pub const MEMLOCK_BYTES_MIN: u64 = 512 << 10;

/// Clock sources that user space reads without a system call and without emulation.
const GOOD_CLOCKS: [&str; 2] = ["tsc", "arch_sys_counter"];

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Advice {
    /// What it is about, in a word or two.
    pub topic: &'static str,
    /// What to do, and why.
    pub text: String,
}

/// What to do about a machine; nothing for one that is as it should be.
#[must_use]
pub fn advice(host: &HostReport) -> Vec<Advice> {
    let rules: [(&'static str, Option<String>); 9] = [
        ("cores", cores(host)),
        ("isolation", isolation(host)),
        ("memlock", memlock(host)),
        ("io_uring", io_uring(host)),
        ("governor", governor(host)),
        ("huge pages", huge_pages(host)),
        ("clock source", clocksource(host)),
        ("smt", smt(host)),
        ("load", load(host)),
    ];
    rules.into_iter().filter_map(|(topic, text)| text.map(|text| Advice { topic, text })).collect()
}

fn cores(host: &HostReport) -> Option<String> {
    (host.cores_allowed.len() == 1).then(|| {
        "Allow this process more than one core: on a single one shards and coordinators wait for \
         each other, and nobody may spin."
            .to_owned()
    })
}

fn isolation(host: &HostReport) -> Option<String> {
    // Isolating the only core would leave none for everybody else.
    if host.cores_online <= 1 {
        return None;
    }
    if host.isolated.is_empty() {
        return Some(
            "Isolate the cores of the shards (boot with isolcpus=, nohz_full= and rcu_nocbs=, or \
             use an isolated cpuset) and name them in [placement]: no core is isolated, so any \
             other thread may interrupt a shard for milliseconds."
                .to_owned(),
        );
    }
    let ticking: Vec<usize> =
        host.isolated.iter().copied().filter(|core| !host.nohz_full.contains(core)).collect();
    (!ticking.is_empty()).then(|| {
        format!(
            "Boot with nohz_full= for the isolated cores {}: the scheduler's tick still interrupts \
             them, up to 1000 times a second.",
            show_core_list(&ticking)
        )
    })
}

fn memlock(host: &HostReport) -> Option<String> {
    let bytes = host.memlock_bytes.filter(|bytes| *bytes < MEMLOCK_BYTES_MIN)?;
    Some(format!(
        "Raise the limit of locked memory (ulimit -l, LimitMEMLOCK= of a systemd unit): it is {}, \
         and an executor with io_uring needs {}.",
        show_bytes(bytes),
        show_bytes(MEMLOCK_BYTES_MIN)
    ))
}

fn io_uring(host: &HostReport) -> Option<String> {
    let IoUring::Disabled { why } = &host.io_uring else { return None };
    Some(format!(
        "Enable io_uring or keep to backend = \"threads\", which does without it ({why})."
    ))
}

fn governor(host: &HostReport) -> Option<String> {
    let governor = host.governor.as_deref().filter(|governor| *governor != "performance")?;
    Some(format!(
        "Set the frequency governor to performance (cpupower frequency-set -g performance): with \
         {governor} a core slows down when idle and needs up to a millisecond to be fast again."
    ))
}

fn huge_pages(host: &HostReport) -> Option<String> {
    let path = "/sys/kernel/mm/transparent_hugepage/enabled";
    match host.transparent_huge_pages.as_str() {
        "always" => Some(format!(
            "Write madvise to {path}: with always, a page fault may stop a thread while the kernel \
             makes room for a huge page."
        )),
        "never" => Some(format!(
            "Write madvise to {path}: with never, a large store misses the TLB on nearly every \
             access."
        )),
        _ => None,
    }
}

fn clocksource(host: &HostReport) -> Option<String> {
    let clock = host.clocksource.as_str();
    if clock.is_empty() || GOOD_CLOCKS.contains(&clock) {
        return None;
    }
    Some(format!(
        "Use the clock source tsc where the processor has a constant one (boot with \
         clocksource=tsc): every turn of an agent reads the clock, and {clock} is slower to read, \
         on some machines by a system call."
    ))
}

fn smt(host: &HostReport) -> Option<String> {
    (host.smt == Some(true)).then(|| {
        "Give each shard a physical core of its own, or switch SMT off: two threads of one core \
         halve each other's speed when both are busy (siblings: \
         /sys/devices/system/cpu/cpu*/topology/thread_siblings_list)."
            .to_owned()
    })
}

fn load(host: &HostReport) -> Option<String> {
    let cores = host.cores_online.max(1);
    (host.loadavg_1m > cores as f64 / 2.0).then(|| {
        format!(
            "Stop other work before measuring: the load average is {:.1} on {cores} cores.",
            host.loadavg_1m
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine that leaves nothing to wish for.
    fn tuned() -> HostReport {
        HostReport {
            cpu_model: "EPYC".to_owned(),
            cores_online: 4,
            cores_allowed: vec![0, 1, 2, 3],
            isolated: vec![2, 3],
            nohz_full: vec![2, 3],
            numa_nodes: 1,
            governor: Some("performance".to_owned()),
            kernel: "6.18.0".to_owned(),
            hypervisor: false,
            memlock_bytes: None,
            io_uring: IoUring::Available,
            huge_pages: 0,
            transparent_huge_pages: "madvise".to_owned(),
            clocksource: "tsc".to_owned(),
            loadavg_1m: 0.0,
            smt: Some(false),
        }
    }

    #[test]
    fn a_tuned_machine_needs_no_advice() {
        assert_eq!(advice(&tuned()), Vec::<Advice>::new());
    }

    #[test]
    fn what_the_kernel_does_not_tell_gives_no_advice() {
        let mut host = tuned();
        host.governor = None;
        host.smt = None;
        host.clocksource.clear();
        host.transparent_huge_pages.clear();
        assert_eq!(advice(&host), Vec::<Advice>::new());
    }

    #[test]
    fn every_shortcoming_gets_advice_on_its_own_topic() {
        type Case = (&'static str, &'static str, fn(&mut HostReport));
        let cases: [Case; 11] = [
            ("cores", "more than one core", |host| host.cores_allowed = vec![0]),
            ("isolation", "isolcpus=", |host| host.isolated.clear()),
            ("isolation", "isolated cores 3", |host| host.nohz_full = vec![2]),
            ("memlock", "it is 64 KiB", |host| host.memlock_bytes = Some(64 << 10)),
            ("io_uring", "(off)", |host| {
                host.io_uring = IoUring::Disabled { why: "off".to_owned() };
            }),
            ("governor", "with powersave", |host| host.governor = Some("powersave".to_owned())),
            ("huge pages", "with always", |host| host.transparent_huge_pages = "always".to_owned()),
            ("huge pages", "with never", |host| host.transparent_huge_pages = "never".to_owned()),
            ("clock source", "hpet", |host| host.clocksource = "hpet".to_owned()),
            ("smt", "physical core", |host| host.smt = Some(true)),
            ("load", "2.5 on 4 cores", |host| host.loadavg_1m = 2.5),
        ];
        for (topic, part, spoil) in cases {
            let mut host = tuned();
            spoil(&mut host);
            let advice = advice(&host);
            assert_eq!(advice.len(), 1, "{topic}: {advice:?}");
            assert_eq!(advice[0].topic, topic);
            assert!(advice[0].text.contains(part), "{topic}: {}", advice[0].text);
        }
    }

    #[test]
    fn half_a_mebibyte_of_locked_memory_is_just_enough() {
        let mut host = tuned();
        host.memlock_bytes = Some(MEMLOCK_BYTES_MIN);
        assert_eq!(advice(&host), Vec::<Advice>::new());
        host.memlock_bytes = Some(MEMLOCK_BYTES_MIN - 1);
        assert_eq!(advice(&host).len(), 1);
    }
}
