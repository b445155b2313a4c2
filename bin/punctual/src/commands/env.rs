//! `punctual env`: what this machine offers a thread that must be on time, and what would help.

use anyhow::Context;
use clap::Args;
use punctual_runtime::config::show_bytes;
use punctual_runtime::host::{self, Advice, HostReport, IoUring, Jitter};
use serde::Serialize;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Version of the JSON document; it changes when a field changes its meaning or goes away.
const SCHEMA: u32 = 1;
/// More than this on each core shows nothing new.
const SECONDS_MAX: f64 = 60.0;

/// Show what this machine offers: cores, limits, clocks, jitter; and what would help
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  punctual env                        tables for people
  punctual env --seconds 10           ten seconds of jitter on each core
  punctual env --seconds 0 --json -   JSON for programs, without measuring")]
pub(crate) struct EnvArgs {
    /// Also write the report as JSON to FILE; with -, print JSON instead of the tables
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Seconds of measuring jitter on each allowed core, one after the other; 0 skips it
    #[arg(long, value_name = "S", default_value_t = 1.0, value_parser = parse_seconds)]
    seconds: f64,
}

/// The whole report; also the JSON document.
#[derive(Debug, Serialize)]
struct Report {
    schema: u32,
    host: HostReport,
    jitter: Vec<Jitter>,
    advice: Vec<Advice>,
}

/// Runs the command.
///
/// # Errors
/// When the JSON file or standard output cannot be written.
pub(crate) fn run(args: &EnvArgs) -> anyhow::Result<ExitCode> {
    let report = collect(args.seconds);
    let to_stdout = args.json.as_deref() == Some(Path::new("-"));
    let mut text = if to_stdout { String::new() } else { tables(&report) };
    if let Some(path) = &args.json {
        let json = serde_json::to_string_pretty(&report)? + "\n";
        if to_stdout {
            text = json;
        } else {
            std::fs::write(path, json).with_context(|| format!("writing {}", path.display()))?;
        }
    }
    std::io::stdout().write_all(text.as_bytes()).context("writing to standard output")?;
    Ok(ExitCode::SUCCESS)
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=SECONDS_MAX).contains(&seconds) => Ok(seconds),
        _ => Err(format!("is not a number of seconds from 0 to {SECONDS_MAX}")),
    }
}

fn collect(seconds: f64) -> Report {
    let facts = HostReport::read();
    let jitter = if seconds > 0.0 {
        let duration = Duration::from_secs_f64(seconds);
        facts.cores_allowed.iter().map(|core| host::measure_jitter(*core, duration)).collect()
    } else {
        Vec::new()
    };
    let advice = host::advice(&facts);
    Report { schema: SCHEMA, host: facts, jitter, advice }
}

fn tables(report: &Report) -> String {
    let mut text = format!("Machine\n{}", aligned(&host_rows(&report.host)));
    if !report.jitter.is_empty() {
        text += "\nJitter: gaps between two readings of the clock by a thread that never waits\n";
        text += &jitter_table(&report.jitter);
        if report.jitter.iter().any(|jitter| !jitter.pinned) {
            text += "  ? could not be pinned to this core\n";
        }
    }
    text += "\nAdvice\n";
    if report.advice.is_empty() {
        text += "  none; this machine is as it should be\n";
    }
    for Advice { topic, text: what } in &report.advice {
        text += &format!("  - {topic}: {what}\n");
    }
    text
}

fn host_rows(host: &HostReport) -> Vec<(&'static str, String)> {
    let allowed = host.cores_allowed.len();
    let smt = match host.smt {
        Some(true) => "on",
        Some(false) => "off",
        None => "unknown",
    };
    let io_uring = match &host.io_uring {
        IoUring::Available => "available".to_owned(),
        IoUring::Disabled { why } => format!("disabled: {why}"),
    };
    vec![
        ("processor", or(&host.cpu_model, "unknown")),
        ("cores online", host.cores_online.to_string()),
        ("cores allowed", format!("{allowed} ({})", host::show_core_list(&host.cores_allowed))),
        ("cores isolated", or(&host::show_core_list(&host.isolated), "none")),
        ("cores without tick", or(&host::show_core_list(&host.nohz_full), "none")),
        ("SMT", smt.to_owned()),
        ("NUMA nodes", host.numa_nodes.to_string()),
        ("governor", host.governor.clone().unwrap_or_else(|| "unknown".to_owned())),
        ("virtual machine", if host.hypervisor { "yes" } else { "no" }.to_owned()),
        ("kernel", or(&host.kernel, "unknown")),
        ("locked memory", host.memlock_bytes.map_or_else(|| "unlimited".to_owned(), show_bytes)),
        ("io_uring", io_uring),
        ("huge pages", host.huge_pages.to_string()),
        ("transparent", or(&host.transparent_huge_pages, "unknown")),
        ("clock source", or(&host.clocksource, "unknown")),
        ("load, 1 minute", format!("{:.2}", host.loadavg_1m)),
    ]
}

fn or(text: &str, otherwise: &str) -> String {
    if text.is_empty() { otherwise } else { text }.to_owned()
}

fn aligned(rows: &[(&'static str, String)]) -> String {
    let width = rows.iter().map(|(label, _)| label.len()).max().unwrap_or_default();
    rows.iter().map(|(label, value)| format!("  {label:width$}  {value}\n")).collect()
}

fn jitter_table(jitter: &[Jitter]) -> String {
    let head = ["core", "samples", "p99", "max", ">1us", ">10us", ">100us", "lost", "stolen"];
    std::iter::once(head.map(str::to_owned))
        .chain(jitter.iter().map(jitter_cells))
        .map(|cells| {
            let cells = cells.map(|cell| format!("{cell:>9}"));
            format!("{}\n", cells.join(" "))
        })
        .collect()
}

fn jitter_cells(jitter: &Jitter) -> [String; 9] {
    [
        format!("{}{}", jitter.core, if jitter.pinned { "" } else { "?" }),
        jitter.samples.to_string(),
        show_time(jitter.p99_ns),
        show_time(jitter.max_ns),
        jitter.over_1us.to_string(),
        jitter.over_10us.to_string(),
        jitter.over_100us.to_string(),
        show_time(jitter.lost_ns),
        format!("{:.1}%", jitter.stolen_share * 100.0),
    ]
}

/// A time with three to four figures, which is all that a measurement of jitter is good for.
fn show_time(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{:.1} us", ns as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", ns as f64 / 1e6),
        _ => format!("{:.2} s", ns as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let quiet = Jitter {
            core: 0,
            pinned: true,
            samples: 40_000_000,
            max_ns: 1_234_567,
            p99_ns: 31,
            over_1us: 250,
            over_10us: 3,
            over_100us: 1,
            lost_ns: 2_500,
            stolen_share: 0.015,
        };
        let loose = Jitter { core: 7, pinned: false, ..quiet.clone() };
        let facts = HostReport {
            cpu_model: "EPYC".to_owned(),
            cores_online: 8,
            cores_allowed: vec![0, 7],
            isolated: vec![],
            nohz_full: vec![],
            numa_nodes: 1,
            governor: None,
            kernel: "6.18.0".to_owned(),
            hypervisor: true,
            memlock_bytes: None,
            io_uring: IoUring::Disabled { why: "old kernel".to_owned() },
            huge_pages: 0,
            transparent_huge_pages: "madvise".to_owned(),
            clocksource: "tsc".to_owned(),
            loadavg_1m: 0.5,
            smt: None,
        };
        let advice = host::advice(&facts);
        Report { schema: SCHEMA, host: facts, jitter: vec![quiet, loose], advice }
    }

    #[test]
    fn the_machine_is_shown_in_two_aligned_columns() {
        let rows = host_rows(&report().host);
        let text = aligned(&rows);
        let width = rows.iter().map(|(label, _)| label.len()).max().unwrap();
        for (line, (label, value)) in text.lines().zip(&rows) {
            assert_eq!(line[2..2 + width].trim_end(), *label);
            assert_eq!(line[width + 4..], **value);
        }
        assert!(text.contains("unlimited") && text.contains("2 (0,7)"), "{text}");
        assert!(text.contains("disabled: old kernel"), "{text}");
    }

    #[test]
    fn every_measured_core_has_a_line_of_right_aligned_figures() {
        let text = jitter_table(&report().jitter);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| line.len() == lines[0].len()), "{text}");
        let cells: Vec<&str> = lines[1].split_whitespace().collect();
        let expected = "0 40000000 31 ns 1.2 ms 250 3 1 2.5 us 1.5%";
        assert_eq!(cells.join(" "), expected);
        assert!(lines[2].trim_start().starts_with("7?"), "{text}");
    }

    #[test]
    fn the_tables_hold_all_advice_and_explain_their_marks() {
        let mut report = report();
        let text = tables(&report);
        for Advice { topic, text: what } in &report.advice {
            assert!(text.contains(&format!("- {topic}: {what}")), "{text}");
        }
        assert!(!report.advice.is_empty() && text.contains("? could not be pinned"), "{text}");

        report.advice.clear();
        report.jitter.clear();
        let text = tables(&report);
        assert!(text.ends_with("Advice\n  none; this machine is as it should be\n"), "{text}");
        assert!(!text.contains("Jitter"), "{text}");
    }

    #[test]
    fn the_json_document_has_a_schema_and_all_parts() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(json["schema"], 1);
        assert_eq!(json["host"]["cores_allowed"], serde_json::json!([0, 7]));
        assert_eq!(json["host"]["io_uring"]["state"], "disabled");
        assert_eq!(json["host"]["memlock_bytes"], serde_json::Value::Null);
        assert_eq!(json["jitter"][0]["max_ns"], 1_234_567);
        assert_eq!(json["advice"][0]["topic"], "isolation");
    }

    #[test]
    fn seconds_are_a_number_that_someone_would_wait_for() {
        assert_eq!(parse_seconds("0"), Ok(0.0));
        assert_eq!(parse_seconds("1.5"), Ok(1.5));
        for text in ["-1", "61", "nan", "inf", "1s", ""] {
            assert!(parse_seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn without_seconds_nothing_is_measured() {
        let report = collect(0.0);
        assert!(report.jitter.is_empty());
        assert!(!report.host.cores_allowed.is_empty());
    }
}
