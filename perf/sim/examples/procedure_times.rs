//! How long the procedures of the workloads take on this machine: for the table `[procedures]` of a
//! service model. For a workload of one's own, call `time_procedures` with it in the same way.
//!
//! ```text
//! cargo run --release -p punctual-sim --example procedure_times
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use punctual_load::tpcc::Tpcc;
use punctual_load::workload::Workload;
use punctual_load::ycsb::{Mix, Ycsb};
use punctual_sim::bench::{SimBenchConfig, SimBenchError, time_procedures};

/// Transactions of each workload.
const TRANSACTIONS: u64 = 300_000;

fn main() -> Result<(), SimBenchError> {
    println!("[procedures]");
    print_times(1, &Tpcc::default(), &[])?;
    // What one shard supplies to another takes two of them.
    print_times(2, &Tpcc { warehouses: 2, ..Tpcc::default() }, &["tpcc.supply"])?;
    for mix in [Mix::A, Mix::F] {
        print_times(1, &Ycsb { mix, ..Ycsb::default() }, &[])?;
    }
    Ok(())
}

/// Prints the times of some procedures, or of all.
fn print_times(shards: u16, workload: &impl Workload, names: &[&str]) -> Result<(), SimBenchError> {
    let config = SimBenchConfig { shards, ..SimBenchConfig::default() };
    for (name, time) in time_procedures(&config, workload, TRANSACTIONS)? {
        if names.is_empty() || names.contains(&name.as_str()) {
            println!("\"{name}\" = {:.1} # {} calls", time.mean_ns, time.calls);
        }
    }
    Ok(())
}
