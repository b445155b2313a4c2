//! `punctual task`: the task farm, from one command on one machine to a server with many workers.

mod bar;
mod bench;
mod bridge;
mod conf;
pub(super) mod connect;
mod control;
mod export;
mod follow;
mod lines;
mod load;
mod manager;
mod outcome;
mod rows;
mod run;
mod select;
mod serve;
mod signals;
mod status;
mod submit;
pub(super) mod text;
mod watch;
mod work;
mod worker;
mod workers;

use clap::Subcommand;
use std::process::ExitCode;

/// Run shell tasks, on this machine or on many
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  punctual task run sweep.task                       everything in one process
  punctual task serve                                or: a server,
  punctual task worker --server node0                workers, as many as there are machines,
  punctual task submit sweep.task --wait             and tasks for them
  punctual task status --state failed                what failed, and why
  punctual task watch                                how it goes

A task file has a line a task: `shell:4:2:1:./run --fast` (type, priority, memory in GB, cores,
command), or an object in JSON.")]
pub(crate) enum TaskCommand {
    Run(Box<run::RunArgs>),
    Serve(Box<serve::ServeArgs>),
    Submit(Box<submit::SubmitArgs>),
    Worker(Box<worker::WorkerArgs>),
    Status(Box<status::StatusArgs>),
    Jobs(status::JobsArgs),
    Workers(workers::WorkersArgs),
    Watch(watch::WatchArgs),
    Cancel(Box<control::CancelArgs>),
    Retry(Box<control::RetryArgs>),
    Requeue(Box<control::RequeueArgs>),
    Remove(Box<control::RemoveArgs>),
    StopWorker(control::StopWorkerArgs),
    Export(Box<export::ExportArgs>),
    Bench(Box<bench::BenchArgs>),
    Manager(Box<manager::ManagerArgs>),
    /// Guard the processes of a worker, which starts this by itself
    #[command(hide = true)]
    Guardian,
}

/// Runs the command.
pub(crate) fn run(command: &TaskCommand) -> anyhow::Result<ExitCode> {
    match command {
        TaskCommand::Run(args) => run::run(args),
        TaskCommand::Serve(args) => serve::serve(args),
        TaskCommand::Submit(args) => submit::submit(args),
        TaskCommand::Worker(args) => worker::worker(args),
        TaskCommand::Status(args) => status::status(args),
        TaskCommand::Jobs(args) => status::jobs(args),
        TaskCommand::Workers(args) => workers::workers(args),
        TaskCommand::Watch(args) => watch::watch(args),
        TaskCommand::Cancel(args) => control::cancel(args),
        TaskCommand::Retry(args) => control::retry(args),
        TaskCommand::Requeue(args) => control::requeue(args),
        TaskCommand::Remove(args) => control::remove(args),
        TaskCommand::StopWorker(args) => control::stop_worker(args),
        TaskCommand::Export(args) => export::export(args),
        TaskCommand::Bench(args) => bench::bench(args),
        TaskCommand::Manager(args) => manager::manager(args),
        TaskCommand::Guardian => {
            punctual_process::guardian_main(std::io::stdin());
            Ok(ExitCode::SUCCESS)
        }
    }
}
