//! What a report says to people.

use super::durability;
use super::{grouped, row};
use punctual_load::Report;
use punctual_load::report::{NetworkFigures, ShardFigures};
use punctual_load::summary::fmt_ns_or_dash;
use serde_json::Value;

/// Shards that have a row each; of more, the document tells.
const SHARDS_SHOWN: usize = 16;

/// The result for people. `became` says what became of the journals.
pub(crate) fn render(report: &Report, became: Option<&str>) -> String {
    let mut text = String::new();
    let Report { workload, transport, description, batch, in_flight, .. } = report;
    text += &format!(
        "{workload} over {transport}: {description}, {in_flight} in flight, batch {}\n",
        if *batch == 1 { "off".to_owned() } else { batch.to_string() },
    );
    let per_frame = report.messages_per_frame.unwrap_or(0.0);
    text += &row("throughput", &format!("{} txn/s", grouped(report.throughput_tps)));
    text += &row("latency", &report.latency_ns.to_string());
    if let Some(latency) = &report.intended_latency_ns {
        text += &row("response", &format!("{latency} (from the intended start)"));
    }
    if let Some(lag) = &report.lag_ns {
        text += &row("generator lag", &lag.to_string());
    }
    text += &row(
        "committed",
        &format!(
            "{} in {:.2} s; {} aborted, {} refused, {} retries; {} unknown in the whole run",
            report.committed,
            report.duration_s,
            report.aborted,
            report.refused,
            report.retries,
            report.unknown,
        ),
    );
    text += &row("frames", &format!("{} sent, {per_frame:.1} messages each", report.frames_sent));
    text += &rows_of_workload(report);
    if report.shards > 1 {
        text += &rows_of_shards(report);
    }
    if let Some(network) = &report.network {
        text += &row("network", &network_text(network));
    }
    if let Some(bytes) = report.bytes_per_key {
        text += &row("store", &format!("{bytes:.1} bytes a key"));
    }
    text += &row("self-check", &report.self_check);
    if let (Some(journal), Some(became)) = (&report.durability, became) {
        text += &durability::rows(journal, became);
    }
    for warning in &report.warnings {
        text += &row("warning", warning);
    }
    text
}

/// The kinds of transactions, and what only this workload has.
fn rows_of_workload(report: &Report) -> String {
    let mut text = String::new();
    for kind in &report.kinds {
        let aborted = match kind.aborted {
            0 => String::new(),
            aborted => format!(", {aborted} aborted"),
        };
        text += &row(&kind.name, &format!("{}{aborted}; {}", kind.committed, kind.latency_ns));
    }
    for (name, value) in &report.figures {
        let value = match value.as_f64() {
            Some(number) if value.is_f64() => format!("{number:.3}"),
            _ => value.to_string(),
        };
        text += &row(&name.replace('_', " "), &value);
    }
    text
}

fn network_text(network: &NetworkFigures) -> String {
    let NetworkFigures { name, delay_max_ns, added_error_ns, delayed, lost } = network;
    format!(
        "{name}, up to {} one way; {delayed} batches delayed, {lost} lost; added error p50 {}, p99 \
         {}, max {}",
        fmt_ns_or_dash(Some(*delay_max_ns)),
        fmt_ns_or_dash(added_error_ns.p50),
        fmt_ns_or_dash(added_error_ns.p99),
        fmt_ns_or_dash(added_error_ns.max),
    )
}

/// What there is to say where there are several shards.
fn rows_of_shards(report: &Report) -> String {
    let mut text = String::new();
    if let Some(share) = report.cross_share.filter(|share| *share > 0.0) {
        let share = share * 100.0;
        let on = match report.parameters.get("span").and_then(Value::as_u64) {
            Some(span) => format!("{span}"),
            None => "several".to_owned(),
        };
        text += &row("cross", &format!("{share:.1} % on {on} of {} shards", report.shards));
    }
    if let Some(ratio) = report.on_time_ratio {
        let late_ns = report.late_ns.unwrap_or_default();
        let late_by = match report.late {
            0 => String::new(),
            late => format!(
                "; {late} late, by p50 {}, p99 {}, max {}",
                fmt_ns_or_dash(late_ns.p50),
                fmt_ns_or_dash(late_ns.p99),
                fmt_ns_or_dash(late_ns.max),
            ),
        };
        let share = ratio * 100.0;
        text += &row("on time", &format!("{share:.2} % of {} stamped{late_by}", report.stamped));
    }
    for (name, series) in [("hold", &report.hold_ns), ("agreement", &report.agreement_ns)] {
        if let Some(summary) = series {
            text += &row(name, &summary.to_string());
        }
    }
    if let Some(per_frame) = report.proposals_per_frame.filter(|_| report.stamped > 0) {
        text += &row("proposals", &format!("{per_frame:.1} for each frame of a shard"));
    }
    for figures in report.per_shard.iter().take(SHARDS_SHOWN) {
        let ShardFigures { shard, committed, ops, stamped, late, held } = figures;
        let counts = format!(
            "{committed} committed, {ops} ops; {stamped} stamped, {late} late, {held} held at the \
             end"
        );
        text += &row(&format!("shard {shard}"), &counts);
    }
    if let Some(more) = report.per_shard.len().checked_sub(SHARDS_SHOWN).filter(|more| *more > 0) {
        text += &row("", &format!("{more} more shards are in the JSON"));
    }
    text
}
