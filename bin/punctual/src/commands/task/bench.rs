//! `punctual task bench`: the queue alone, with tasks that do nothing; or what each switch of a
//! worker brings on a Redis.

mod check;
mod jobs;
mod place;
mod queue;
mod report;
mod switches;

use super::connect::{TokenArgs, is_redis, parse, redis_address, shown};
use super::serve::Durability;
use super::signals::INTERRUPTED;
use super::work::prefetch;
use crate::commands::UsageError;
use crate::commands::bench::build;
use crate::commands::http::HttpArgs;
use crate::commands::output::Output;
use crate::commands::token::Secret;
use crate::eprintln_line;
use clap::{Args, ValueEnum};
use punctual_load::environment::bare;
use punctual_load::report::{Cores, Environment};
use punctual_redis::RedisAddress;
use punctual_runtime::Engine;
use punctual_runtime::config::parse_duration;
use punctual_runtime::tasks::Prefetch;
use queue::Remote;
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Bytes of a task, if nobody says how many.
const PAYLOAD: usize = 64;

/// Measure the queue with tasks that do nothing, or the switches of a worker on a Redis
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  punctual task bench
  punctual task bench --durability journal --json run.json
  punctual task bench --transport tcp --workers 64
  punctual task bench --queues 4 --workers 8         several queues that share the tasks
  punctual task bench --queued 1000000               dispatch with a million others in the queue
  punctual task bench --broker punctual://node0      the queue of that server, over the network
  punctual task bench --broker redis://node0:6379/9  what each switch of a worker brings there

Server, workers and client are in this process, unless --broker names another server: then that must
have no workers and no unfinished tasks, since what it gave to the workers of a bench would only
seem to be done; the tasks of the bench are removed in the end. The run checks itself: every task is
done, none is done twice, and the workers have run as many as there are. With --queued, that many
tasks of a lower priority and the measured ones are in the queue before the workers come, and what
is measured is dispatch and completion alone.

At a Redis, lines that run `true` are measured with each of --pipeline, --polling and --prefetch of
`punctual task worker` alone and with all of them, for --duration at most each: with all off it is
half a task a second, as in the original. The database must have no tasks and no workers of the
farm, and has none in the end. The run checks itself: what is done ran once, the rest not at all.")]
pub(crate) struct BenchArgs {
    /// Tasks that are measured (default: 100000; at a Redis 1000 for each row of the table)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    tasks: Option<u64>,

    /// Queues that share the tasks, each on a thread of its own, 64 at most
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u16).range(1..=64))]
    queues: u16,

    /// Workers, each on a thread of its own
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u16).range(1..))]
    workers: u16,

    /// Tasks at once at each worker (default: 64; at a Redis 2)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    slots: Option<u32>,

    /// Tasks that wait at a worker beyond those: auto, off, or a number
    #[arg(long, value_name = "N", default_value = "auto", value_parser = prefetch)]
    prefetch: Prefetch,

    /// What of the tasks outlives the server
    #[arg(long, value_enum, value_name = "MODE", default_value = "memory")]
    durability: Durability,

    /// Directory of the journal, which must be empty or new (default: one in .punctual that is
    /// removed after a good run)
    #[arg(long, value_name = "DIR")]
    journal_dir: Option<PathBuf>,

    /// How workers and client are connected
    #[arg(long, value_enum, value_name = "NAME", default_value = "ring")]
    transport: Transport,

    /// Bytes of each task
    #[arg(long, value_name = "BYTES", default_value_t = PAYLOAD)]
    payload: usize,

    /// Tasks of a lower priority that are in the queue before
    #[arg(long, value_name = "N", default_value_t = 0)]
    queued: u64,

    /// Measure what is at URL: punctual://HOST:PORT or redis://:PASSWORD@HOST:PORT/DB; the
    /// password may be in $PUNCTUAL_REDIS_PASSWORD instead, where others on this machine cannot see
    /// it (default: a queue of this process)
    #[arg(long, value_name = "URL",
          conflicts_with_all = ["queues", "durability", "journal_dir", "transport", "http"])]
    broker: Option<Secret>,

    /// At a Redis: how long each row of the table takes at most
    #[arg(long, value_name = "TIME", default_value = "25s", value_parser = parse_duration)]
    duration: Duration,

    #[command(flatten)]
    token: TokenArgs,

    /// Also write the report as JSON to FILE; with -, print JSON, and the summary to standard error
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    #[command(flatten)]
    http: HttpArgs,
}

/// How frames travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Transport {
    /// Through memory
    Ring,
    /// Over loopback TCP
    Tcp,
}

/// What is measured.
enum Broker {
    /// A queue of this process.
    Own,
    /// A task server.
    Server(Remote),
    /// A Redis.
    Redis(RedisAddress),
}

impl Broker {
    fn of(args: &BenchArgs) -> anyhow::Result<Self> {
        let Some(text) = args.broker.as_ref().map(Secret::text) else { return Ok(Self::Own) };
        if is_redis(text) {
            return Ok(Self::Redis(redis_address(text)?));
        }
        let address =
            parse(text).map_err(|why| UsageError(format!("--broker {:?} {why}", shown(text))))?;
        let endpoint = Engine::resolve(&address)?;
        Ok(Self::Server(Remote { endpoint, token: args.token.token()? }))
    }
}

/// Runs the command.
pub(super) fn bench(args: &BenchArgs) -> anyhow::Result<ExitCode> {
    args.http.check()?;
    match Broker::of(args)? {
        Broker::Own => queue::bench(args, None),
        Broker::Server(remote) => queue::bench(args, Some(&remote)),
        Broker::Redis(address) => switches::bench(args, &address),
    }
}

/// Shows what was measured, for people and for programs, if it was.
fn finish<R: Serialize>(
    output: Output,
    measured: Option<(String, R)>,
    is_good: bool,
) -> anyhow::Result<ExitCode> {
    let Some((summary, report)) = measured else {
        eprintln_line("interrupted");
        return Ok(ExitCode::from(INTERRUPTED));
    };
    output.write(&summary, &report)?;
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The environment of a run. `broker` is how the one that was measured is shown.
fn environment(args: &BenchArgs, transport: &str, broker: Option<&str>) -> Environment {
    let mut environment = bare(&build(), transport, Cores::default(), false);
    "park".clone_into(&mut environment.idle);
    if let Some((text, shown)) = args.broker.as_ref().map(Secret::text).zip(broker) {
        show_broker(&mut environment.command, text, shown);
    }
    environment
}

/// Takes the password out of a command line that may be in the address of a broker.
fn show_broker(command: &mut [String], text: &str, shown: &str) {
    for word in command {
        *word = word.replace(text, shown);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_of_a_broker_is_in_a_report() {
        let (url, shown) = ("redis://:p@ss@node0/3", "redis://node0:6379/3");
        let line = format!("task bench --broker {url} --broker={url} -x");
        let mut command: Vec<String> = line.split(' ').map(str::to_owned).collect();
        show_broker(&mut command, url, shown);
        assert_eq!(command.join(" "), format!("task bench --broker {shown} --broker={shown} -x"));
    }
}
