//! `punctual study`: whole experiments, from one file to one report.

mod check;
mod progress;

use crate::commands::output::{Output, grouped, print};
use crate::commands::{UsageError, bench};
use crate::{eprintln_line, interrupt};
use anyhow::Context;
use clap::{Args, Subcommand};
use progress::{Show, about};
use punctual_study::experiment::Experiment;
use punctual_study::grid::quoted;
use punctual_study::metric::MetricPath;
use punctual_study::run::Outcome;
use punctual_study::shipped::{self, SHIPPED, Source};
use punctual_study::{Cell, Comparison, Folder, ProcessRunner, Results, StudyError, utc_now};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Where results go that are told no place, below the current directory.
const HOME: &str = "studies";
/// A study was interrupted: 128 and the number of SIGINT.
const INTERRUPTED: u8 = 130;

/// Run whole experiments: grids of benches, their tables, pictures and reports
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  punctual study list                          what there is, and how long it takes
  punctual study run network-latency --quick   one of them, in a few minutes
  punctual study run my-study.toml --out here  an experiment of your own
  punctual study compare before after          two results side by side")]
pub(crate) enum StudyCommand {
    Run(RunArgs),
    Compare(CompareArgs),
    List(ListArgs),
}

/// Run an experiment and write its report
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  punctual study run batching --quick                     the quick form: a few minutes
  punctual study run batching --quick --dry-run           what it would run
  punctual study run my-study.toml --out here             a file of your own, a folder of your own
  punctual study run my-study.toml --out here --resume    go on after an interruption

Every run is a process of its own. Ctrl-C keeps what is finished. Exit code 1 means that a run
failed; the others are in the report all the same.")]
pub(crate) struct RunArgs {
    /// The name of a study that comes with the program, or an experiment file
    #[arg(value_name = "NAME|FILE")]
    study: String,

    /// The quick form: what `quick` of the file says, for a look
    #[arg(long)]
    quick: bool,

    /// Folder for the results (default: studies/NAME-TIME)
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Go on with the study in that folder: run what is not finished or has failed
    #[arg(long, requires = "out")]
    resume: bool,

    /// Check the experiment, print its command lines, and run nothing
    #[arg(long)]
    dry_run: bool,
}

/// Lay two results side by side: ratios, and what is within the noise
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  punctual study compare studies/before studies/after
  punctual study compare before after --csv ratios.csv --json ratios.json")]
pub(crate) struct CompareArgs {
    /// Folder of the first study
    #[arg(value_name = "A")]
    first: PathBuf,

    /// Folder of the second one
    #[arg(value_name = "B")]
    second: PathBuf,

    /// Also write it as JSON to FILE; with -, print JSON, and the table to standard error
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Also write it as comma-separated values to FILE
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

/// Show the studies that come with the program, and how long they take
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  punctual study list")]
pub(crate) struct ListArgs {}

/// Runs the command.
pub(crate) fn run(command: &StudyCommand) -> anyhow::Result<ExitCode> {
    match command {
        StudyCommand::Run(args) => run_study(args),
        StudyCommand::Compare(args) => compare(args),
        StudyCommand::List(_) => list(),
    }
}

fn run_study(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let source = shipped::open(&args.study)?;
    let experiment = Experiment::parse(&source.text, &source.file, args.quick)?;
    check::cells(&experiment)?;
    if args.dry_run {
        let lines: Vec<String> = experiment.cells().iter().map(Cell::command).collect();
        print(&(lines.join("\n") + "\n"))?;
        eprintln_line(&summary(&experiment));
        return Ok(ExitCode::SUCCESS);
    }
    let folder = folder(args, &experiment, &source)?;
    let dir = folder.dir().display().to_string();
    eprintln_line(&format!("{}: {} in {dir}", experiment.name, summary(&experiment)));
    let interrupted = interrupt::install()?;
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let mut runner = ProcessRunner::new(program, interrupted);
    let mut show = Show::new(&experiment);
    let ran = punctual_study::run::run(&folder, &experiment, &mut runner, &mut |progress| {
        show.see(progress);
    });
    show.end();
    let outcome = ran?;
    let rendered = punctual_study::render(&folder, &experiment)?;
    let report = rendered.report.display();
    print(&format!("report: {report}\n{} pictures beside it\n", rendered.pictures))?;
    Ok(conclude(args, &dir, &outcome))
}

/// Says what is not as it should be; the exit code.
fn conclude(args: &RunArgs, dir: &str, outcome: &Outcome) -> ExitCode {
    for (run, why) in &outcome.failed {
        eprintln_line(&format!("failed: {run}: {why}"));
    }
    let quick = if args.quick { " --quick" } else { "" };
    let (study, dir) = (quoted(&args.study), quoted(dir));
    let again = format!("punctual study run {study}{quick} --out {dir} --resume");
    if outcome.interrupted {
        eprintln_line(&format!("interrupted; what is finished is kept. To go on:\n{again}"));
        return ExitCode::from(INTERRUPTED);
    }
    if outcome.failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    let failed = outcome.failed.len();
    eprintln_line(&format!("error: {failed} runs failed; to try them again: {again}"));
    ExitCode::FAILURE
}

/// The folder to run in: a new one, or that of an earlier call.
fn folder(args: &RunArgs, experiment: &Experiment, source: &Source) -> anyhow::Result<Folder> {
    let now = utc_now();
    let dir = match &args.out {
        Some(dir) => dir.clone(),
        None => Path::new(HOME).join(format!("{}-{}", experiment.name, now.replace(':', ""))),
    };
    if args.resume {
        return Ok(Folder::resume(&dir, experiment)?);
    }
    let build = bench::build();
    let commit = build.git_commit.map(|commit| format!(" ({commit})")).unwrap_or_default();
    let program = format!("punctual {}{commit}", build.version);
    Ok(Folder::create(&dir, experiment, &source.text, &now, &program)?)
}

/// How much it is.
fn summary(experiment: &Experiment) -> String {
    let (cells, repeats) = (experiment.cells().len(), experiment.repeats);
    let time = about(experiment.estimate().as_secs_f64());
    let runs = if repeats == 1 { "run" } else { "runs" };
    format!("{cells} cells, {repeats} {runs} each, about {time}")
}

fn compare(args: &CompareArgs) -> anyhow::Result<ExitCode> {
    let output = Output::open(args.json.as_deref())?;
    let folders = [Folder::open(&args.first)?, Folder::open(&args.second)?];
    let mut metrics: Vec<MetricPath> = Vec::new();
    for folder in &folders {
        for metric in folder.experiment()?.metrics {
            if !metrics.contains(&metric.path) {
                metrics.push(metric.path);
            }
        }
    }
    let [first, second] = [Results::load(&folders[0])?, Results::load(&folders[1])?];
    let compared = Comparison::of(&first, &second, &metrics);
    if compared.rows.is_empty() {
        let (first, second) = (args.first.display(), args.second.display());
        let message = format!("{first} and {second} have no cell with good runs in common");
        return Err(UsageError(message).into());
    }
    if let Some(path) = &args.csv {
        let written = std::fs::write(path, compared.csv());
        written.with_context(|| format!("writing {}", path.display()))?;
    }
    output.write(&compared.text(), &compared)?;
    Ok(ExitCode::SUCCESS)
}

fn list() -> anyhow::Result<ExitCode> {
    let mut text = String::new();
    for shipped in SHIPPED {
        let form = |is_quick| Experiment::parse(shipped.text, shipped.name, is_quick);
        let (full, quick): (Experiment, Experiment) = (form(false)?, form(true)?);
        text += &format!("{}: {}\n", full.name, full.title);
        for (name, form) in [("full", &full), ("quick", &quick)] {
            text += &format!("  {name:<6} {}\n", summary(form));
        }
        text += &format!("  {}\n\n", full.about.replace('\n', "\n  "));
    }
    let count = grouped(SHIPPED.len() as f64);
    text += &format!("{count} studies; punctual study run NAME --quick runs one\n");
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Whether the user can mend an error by writing or calling something else.
pub(super) fn is_usage(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<StudyError>().is_some_and(StudyError::is_usage)
}
