//! `punctual top`: what the dashboard shows, in a terminal.

mod place;
mod render;
mod screen;
mod sheets;
mod state;
mod trend;
mod view;

use super::task::connect::ClientArgs;
use super::token::Secret;
use super::{UsageError, http, token};
use crate::commands::output::print;
use anyhow::bail;
use clap::Args;
use place::{Look, Place};
use punctual_dashboard::{Source, Visitor};
use punctual_runtime::config::parse_duration;
use state::State;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

/// The longest pause between the two looks of a single frame: rates are made of two.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Watch a task server, or whatever has a dashboard, in this terminal
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  punctual top                                   the task server of this machine
  punctual top --broker punctual://node0:7470    another one
  punctual top --http 127.0.0.1:7472             shards, a bench or a server that has a dashboard
  punctual top --once                            one look, as text
  punctual top --http 7472 --json                one look, as the dashboard's document

Keys: Tab and arrows move, / filters tasks, f chooses their state, s sorts, ? explains, q quits.
Where standard output is no terminal, one look is printed as with --once.")]
pub(crate) struct TopArgs {
    /// Ask the dashboard there instead of a task server: what --http of another command printed,
    /// such as 127.0.0.1:7471, or a port of this machine
    #[arg(long, value_name = "ADDR", conflicts_with = "server", value_parser = address)]
    http: Option<String>,

    /// What visitors of that dashboard must know; others on this machine can see it
    #[arg(long, value_name = "TOKEN", requires = "http", conflicts_with = "http_token_file")]
    http_token: Option<Secret>,

    /// File with that token (default: the token is $PUNCTUAL_HTTP_TOKEN, else none)
    #[arg(long, value_name = "FILE", requires = "http")]
    http_token_file: Option<PathBuf>,

    /// How often to look
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    interval: Duration,

    /// Print one look as text and end; it takes an interval, of a second at most
    #[arg(long)]
    once: bool,

    /// Print one look as JSON and end
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    server: ClientArgs,
}

/// Reads where a dashboard is: HOST:PORT, with or without what stands around it in a browser.
fn address(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    if bare.parse::<u16>().is_ok() {
        return Ok(format!("127.0.0.1:{bare}"));
    }
    let is_whole = bare.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok()
    });
    if is_whole {
        return Ok(bare.to_owned());
    }
    Err("is no address of a dashboard; write it as 127.0.0.1:7471 or node0:7471, or as a port \
         alone. There is no https"
        .to_owned())
}

/// Runs the command.
pub(crate) fn run(args: &TopArgs) -> anyhow::Result<ExitCode> {
    let place = args.place()?;
    if !args.json && !args.once && std::io::stdout().is_terminal() {
        return screen::watch(place, args.interval);
    }
    let mut looked = place.open();
    looked.summary()?;
    thread::sleep(args.interval.min(PAUSE_MAX));
    if args.json {
        let document = looked.summary()?;
        return print(&(String::from_utf8_lossy(&document) + "\n")).map(|()| ExitCode::SUCCESS);
    }
    let look = looked.look(&State::default().query())?;
    if let Some(why) = look.trouble() {
        bail!("{why}");
    }
    print(&render::text(&look))?;
    Ok(ExitCode::SUCCESS)
}

impl TopArgs {
    /// What is to be watched. That it answers is found out here, where it can be said in one line.
    fn place(&self) -> anyhow::Result<Place> {
        if let Some(address) = &self.http {
            let mut visitor = Visitor::new(address.clone(), self.http_token()?.as_deref())?;
            let first = visitor.summary()?;
            Look::read(&first)?;
            return Ok(Place::Page(visitor));
        }
        drop(self.server.connect()?);
        let (address, connect) = self.server.source()?;
        let title = format!("tasks at {address}");
        let source = Source { tasks: Some(connect), ..Source::default() };
        Ok(Place::Server { title, source })
    }

    /// The token of the dashboard; `None` if there is none.
    fn http_token(&self) -> Result<Option<String>, UsageError> {
        match (&self.http_token, &self.http_token_file) {
            (Some(token), _) => Ok(Some(token.text().to_owned())),
            (None, Some(path)) => token::read("--http-token-file", path).map(Some),
            (None, None) => Ok(http::token_of_environment()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dashboard_is_found_by_what_was_printed_or_by_its_port() {
        for (text, expected) in [
            ("7471", "127.0.0.1:7471"),
            ("127.0.0.1:7471", "127.0.0.1:7471"),
            ("http://127.0.0.1:7471/", "127.0.0.1:7471"),
            ("http://[::1]:7471/", "[::1]:7471"),
            ("node0:80", "node0:80"),
        ] {
            assert_eq!(address(text).expect(text), expected);
        }
        for text in ["", "node0", "https://node0:7471", "node0:99999", "http://node0:1/x", ":1"] {
            assert!(address(text).expect_err(text).contains("127.0.0.1:7471"), "{text}");
        }
    }
}
