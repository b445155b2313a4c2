//! `punctual task export`.

use super::connect::ClientArgs;
use super::lines::Lines;
use super::rows::{TaskLine, What};
use super::select::{FilterArgs, find_job};
use super::status::{JobNames, PAGE};
use crate::eprintln_line;
use clap::{Args, ValueEnum};
use punctual_runtime::tasks::TaskRow;
use punctual_taskfile::TaskText;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

/// The columns of a table.
const COLUMNS: &str = "id,job,state,name,runs,command,priority,memory_bytes,cores,attempt,\
                       failures,worker,submitted_ns,leased_ns,ended_ns,how,code,ran_ns,cpu_ns,\
                       peak_memory_bytes,stdout_bytes,stderr_bytes";
/// What task files count memory in, and cores, and what stands between their fields.
const GIGABYTE: u64 = 1 << 30;
const CORE: u32 = 1000;
const SEPARATOR: u8 = b':';

/// Write tasks and what became of them into a file
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  punctual task export sweep --output sweep.jsonl
  punctual task export sweep --format csv --state done --output times.csv
  punctual task export sweep --format original --state failed --output again.task

With --format original the file can be submitted again. It knows no names, directories, variables,
timeouts or tasks that come before; a warning says how many tasks had any of them.")]
pub(crate) struct ExportArgs {
    /// The job; without it all of them
    #[arg(value_name = "JOB")]
    job: Option<String>,

    /// jsonl has everything, output as well; csv is for spreadsheets; original is a task file
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "jsonl")]
    format: Format,

    #[command(flatten)]
    filter: FilterArgs,

    /// Write into FILE instead of to standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    server: ClientArgs,
}

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Jsonl,
    Csv,
    Original,
}

/// Runs the command.
pub(super) fn export(args: &ExportArgs) -> anyhow::Result<ExitCode> {
    let mut client = args.server.connect()?;
    let job = args.job.as_deref().map(|name| find_job(&mut client, name)).transpose()?;
    let names = JobNames::of(&mut client)?;
    let mut out = Lines::to_file(args.output.as_deref())?;
    if args.format == Format::Csv {
        out.write_line(COLUMNS.as_bytes())?;
    }
    let (mut rows, mut lossy, mut left_out, mut failed) = (0_u64, 0_u64, 0_u64, None);
    let with_output = args.format == Format::Jsonl;
    client.rows(&args.filter.selection(job), PAGE, with_output, |row| {
        let name = names.get(row.job);
        let outcome = match args.format {
            Format::Jsonl => out.write(&TaskLine::new(row, name, true)),
            Format::Csv => out.write_line(&csv(row, name)),
            Format::Original => match original(row) {
                Some((line, is_whole)) => {
                    lossy += u64::from(!is_whole);
                    out.write_line(&line)
                }
                None => {
                    left_out += 1;
                    Ok(())
                }
            },
        };
        failed = outcome.err();
        rows += 1;
        if failed.is_some() || out.is_closed() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    failed.map_or(Ok(()), Err)?;
    out.finish()?;
    if lossy > 0 {
        eprintln_line(&format!(
            "warning: {lossy} tasks have a name, a directory, variables, a timeout or resources \
             that this format cannot say"
        ));
    }
    if left_out > 0 {
        eprintln_line(&format!("warning: {left_out} tasks run no command and were left out"));
    }
    if let Some(path) = &args.output {
        eprintln_line(&format!("{} tasks in {}", rows - left_out, path.display()));
    }
    Ok(ExitCode::SUCCESS)
}

/// The task as a line of a task file, and whether that says all of it. `None`: it cannot be one.
fn original(row: &TaskRow<'_>) -> Option<(Vec<u8>, bool)> {
    let what = What::of(row.payload);
    let command: Vec<u8> =
        what.command.iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte }).collect();
    let text = TaskText {
        kind: what.kind?,
        priority: row.priority,
        memory: row.memory,
        cores_milli: row.cores_milli,
        command: what.command,
    };
    let has_more = !what.name.is_empty() || !what.cwd.is_empty() || what.variables > 0;
    if let Some(line) = text.line(SEPARATOR) {
        return Some((line, !has_more && row.timeout_ms == 0));
    }
    let rounded = TaskText {
        priority: row.priority.max(0),
        memory: row.memory.checked_next_multiple_of(GIGABYTE)?,
        cores_milli: row.cores_milli.checked_next_multiple_of(CORE)?,
        command: &command,
        ..text
    };
    Some((rounded.line(SEPARATOR)?, false))
}

/// The task as a line of a table.
fn csv(row: &TaskRow<'_>, job: &str) -> Vec<u8> {
    let what = What::of(row.payload);
    let end = row.end.as_ref();
    let number = |value: Option<u64>| value.map_or_else(String::new, |value| value.to_string());
    let moment = |ns: i64| if ns == 0 { String::new() } else { ns.to_string() };
    let cells: [Vec<u8>; 22] = [
        row.id.to_string().into(),
        job.into(),
        row.state.name().into(),
        what.name.into(),
        what.runner().into(),
        what.command.into(),
        row.priority.to_string().into(),
        row.memory.to_string().into(),
        (f64::from(row.cores_milli) / 1e3).to_string().into(),
        row.attempt.0.to_string().into(),
        row.failures.to_string().into(),
        row.worker.into(),
        moment(row.times.submitted).into(),
        moment(row.times.leased).into(),
        moment(row.times.ended).into(),
        end.map_or("", |end| end.kind.name()).into(),
        end.map_or_else(String::new, |end| end.code.to_string()).into(),
        number(end.map(|end| end.ran_ns)).into(),
        number(end.map(|end| end.cpu_ns)).into(),
        number(end.map(|end| end.memory)).into(),
        number(end.map(|end| end.stdout.bytes)).into(),
        number(end.map(|end| end.stderr.bytes)).into(),
    ];
    cells.map(|cell| quoted(&cell)).join(&b',')
}

/// A cell, in quotes if it needs them.
fn quoted(cell: &[u8]) -> Vec<u8> {
    if !cell.iter().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r')) {
        return cell.to_vec();
    }
    let mut text = vec![b'"'];
    for byte in cell {
        if *byte == b'"' {
            text.push(b'"');
        }
        text.push(*byte);
    }
    text.push(b'"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use punctual_runtime::tasks::{
        Attempt, JobId, PayloadKind, TaskId, TaskKey, TaskPayload, TaskState, TaskTimes, Variables,
    };

    fn payload(kind: PayloadKind, command: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let variables = Variables::default();
        let command = command.as_bytes();
        TaskPayload { kind, name: b"", cwd: b"", command, variables }.write_to(&mut bytes);
        bytes
    }

    fn row(payload: &[u8]) -> TaskRow<'_> {
        TaskRow {
            id: TaskId::new(0, 7),
            key: TaskKey(1),
            job: JobId(1),
            state: TaskState::Ready,
            is_ahead: false,
            priority: 4,
            memory: 2 << 30,
            cores_milli: 1500,
            timeout_ms: 0,
            attempt: Attempt(0),
            failures: 0,
            attempts_max: 4,
            times: TaskTimes { submitted: 5, leased: 0, ended: 0, due: 0 },
            worker: b"",
            payload,
            end: None,
            failed_on: b"",
        }
    }

    #[test]
    fn a_task_is_a_line_of_a_task_file_again() {
        let bytes = payload(PayloadKind::Shell, "curl http://x:80/ | wc");
        let row = row(&bytes);
        let line = b"shell:4:2:2:curl http://x:80/ | wc".to_vec();
        let rounded = original(&row).expect("a line");
        assert_eq!(rounded, (line.clone(), false), "one and a half cores are two there");
        assert_eq!(original(&TaskRow { cores_milli: 2000, ..row }), Some((line, true)));
        let bytes = payload(PayloadKind::Shell, "");
        assert_eq!(original(&TaskRow { payload: &bytes, ..row }), None);
    }

    #[test]
    fn a_line_of_a_table_has_every_column_and_quotes_where_they_are_needed() {
        let bytes = payload(PayloadKind::Shell, "echo \"a,b\"");
        let line = String::from_utf8(csv(&row(&bytes), "sweep")).expect("text");
        assert!(line.starts_with("7,sweep,ready,,shell,\"echo \"\"a,b\"\"\",4,"), "{line}");
        let (columns, commas) = (COLUMNS.matches(',').count(), line.matches(',').count());
        assert_eq!(commas, columns + 1, "one more, in quotes: {line}");
    }
}
