//! Workloads with procedures, several kinds of transactions and checks of their own, simulated.

use crate::bench::run_checked;
use punctual_core::MemoryHooks;
use punctual_load::bank::Bank;
use punctual_load::counting::{Counted, Counts};
use punctual_load::tpcc::Tpcc;
use punctual_load::workload::{Place, Workload};
use punctual_load::ycsb::{Mix, Ycsb};
use punctual_sim::bench::{
    ServiceModel, SimBenchConfig, SimBenchReport, SimNetwork, SimPath, run, time_procedures,
};
use punctual_wire::Limits;
use serde_json::{Map, Value};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// So many shards, half a millisecond apart, and three coordinators.
fn apart(shards: u16) -> SimBenchConfig {
    SimBenchConfig {
        shards,
        coordinators: 3,
        in_flight: 8,
        network: SimNetwork::even("near", SimPath::normal_us(500, 50)),
        warmup: 10 * MS,
        duration: 100 * MS,
        ..SimBenchConfig::default()
    }
}

/// A small database that behaves like a large one.
fn small(warehouses: u16) -> Tpcc {
    Tpcc { warehouses, items: 200, customers: 30, rollback: 0.05, ..Tpcc::default() }
}

fn records(mix: Mix) -> Ycsb {
    Ycsb { mix, records: 200, fields: 2, field_bytes: 20, skew: 0.9 }
}

fn committed_by_kind(report: &SimBenchReport) -> Vec<(&str, u64)> {
    report.kinds.iter().map(|kind| (kind.name, kind.committed)).collect()
}

#[test]
fn tpcc_runs_its_five_transactions_on_two_shards_and_stays_consistent() {
    let report = run_checked(&apart(2), &small(4));
    let kinds = committed_by_kind(&report);
    assert_eq!(kinds.len(), 5, "{kinds:?}");
    assert!(kinds.iter().all(|(_, committed)| *committed > 0), "{kinds:?}");
    let new_orders = &report.kinds[0];
    assert!(new_orders.name == "new-order" && new_orders.aborted > 0, "some are rolled back");
    assert_eq!(report.kinds.iter().map(|kind| kind.aborted).sum::<u64>(), report.aborted);
    assert!(report.stamped > 0 && report.stamped < report.committed, "some are on both shards");
    assert!(report.figures["new_orders"].as_u64() > Some(0), "{:?}", report.figures);
    assert!(report.warnings.is_empty(), "{:?}", report.warnings);
    assert_eq!(report, run_checked(&apart(2), &small(4)), "it is repeated exactly");
}

#[test]
fn every_mix_of_ycsb_keeps_count_of_its_updates_and_inserts() {
    for mix in [Mix::A, Mix::B, Mix::C, Mix::D, Mix::E, Mix::F] {
        let report = run_checked(&apart(3), &records(mix));
        let scans = report.stamped > 0;
        assert_eq!(scans, mix == Mix::E, "{mix}: only scans are on several shards");
        let kinds = committed_by_kind(&report);
        assert!(kinds.iter().all(|(_, committed)| *committed > 0), "{mix}: {kinds:?}");
    }
}

#[test]
fn no_money_is_lost_between_the_accounts_of_three_shards() {
    let report = run_checked(&apart(3), &Bank { accounts: 50, looks: 0.2, skew: 0.5 });
    assert!(report.stamped > 0, "transfers between shards");
}

/// The bank, as somebody else may have written it: a workload need not say how many shards its
/// transactions are on.
#[derive(Debug, Clone)]
struct OtherBank(Bank);

impl Workload for OtherBank {
    type Generator = <Bank as Workload>::Generator;

    fn name(&self) -> &'static str {
        "other-bank"
    }

    fn check(&self, shards: u16, limits: &Limits) -> Result<(), String> {
        self.0.check(shards, limits)
    }

    fn parameters(&self) -> Map<String, Value> {
        self.0.parameters()
    }

    fn describe(&self) -> String {
        self.0.describe()
    }

    fn generator(&self, place: &Place) -> Self::Generator {
        self.0.generator(place)
    }

    fn check_store(&self, done: &Counts, found: &Counted) -> Result<(), String> {
        self.0.check_store(done, found)
    }
}

#[test]
fn ways_are_probed_whatever_a_workload_says_of_itself() {
    let report = run_checked(&apart(3), &OtherBank(Bank { accounts: 500, looks: 0.2, skew: 0.0 }));
    // By the last reply alone, hardly half of them would be in time.
    let on_time = report.on_time_ratio().expect("transfers between shards");
    assert!(on_time > 0.85, "{on_time}");
}

#[test]
fn a_thousand_coordinators_share_generators_and_the_check_still_adds_up() {
    let config = SimBenchConfig { coordinators: 1_000, in_flight: 2, ..apart(2) };
    for mix in [Mix::D, Mix::F] {
        let report = run_checked(&config, &records(mix));
        assert!(report.committed > 1_000, "{mix}: {}", report.committed);
    }
}

/// One shard that is busy with procedures, and nothing else takes time.
fn only_calls(service: ServiceModel) -> SimBenchReport {
    let config = SimBenchConfig {
        in_flight: 64,
        service,
        warmup: MS,
        duration: 100 * MS,
        ..SimBenchConfig::default()
    };
    run_checked(&config, &Ycsb { skew: 0.0, ..records(Mix::A) })
}

#[test]
fn a_procedure_takes_the_time_that_the_model_has_for_it() {
    let mut service = ServiceModel::instant();
    service.procedures.insert("ycsb.update".to_owned(), 10_000.0);
    let report = only_calls(service);
    // Half of the transactions are updates, of 10 us each.
    let share = report.throughput_tps / 200_000.0;
    assert!((0.93..1.07).contains(&share), "{share} of what one core can do");
    assert!(report.warnings.is_empty(), "{:?}", report.warnings);
}

#[test]
fn a_procedure_that_the_model_does_not_know_is_named_and_taken_for_any_other() {
    let report = only_calls(ServiceModel { call_ns: 20_000.0, ..ServiceModel::instant() });
    let share = report.throughput_tps / 100_000.0;
    assert!((0.93..1.07).contains(&share), "{share} of what one core can do");
    let told = "the service model has no time for ycsb.update: each call is taken for 20000 ns";
    assert_eq!(report.warnings, [told]);
}

#[test]
fn what_a_workload_cannot_do_on_such_a_cluster_is_said_in_its_own_words() {
    let error = run(&apart(3), &small(2), &mut |_| {}).expect_err("a shard without a warehouse");
    assert!(error.to_string().contains("leave some of 3 shards without any"), "{error}");
}

#[test]
fn procedures_are_timed_as_they_are_called_and_loading_is_not_among_them() {
    let times =
        time_procedures(&apart(2), &small(2), 2_000, MemoryHooks::default()).expect("it runs");
    for name in ["new-order", "supply", "payment", "order-status", "delivery", "stock-level"] {
        let time = times.get(&format!("tpcc.{name}")).copied().unwrap_or_default();
        assert!(time.calls > 0 && time.mean_ns > 0.0, "{name}: {time:?}");
    }
    assert!(!times.contains_key("tpcc.load") && !times.contains_key("tpcc.check"), "{times:?}");
}
