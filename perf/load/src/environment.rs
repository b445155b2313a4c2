//! What a run was made on, for its report.

use crate::report::{Cores, Environment};
use punctual_runtime::config::Config;
use punctual_runtime::host::HostReport;
use punctual_runtime::{EngineInfo, Transport};
use std::ffi::OsString;

/// Options whose values nobody but who gave them must see: reports are passed on.
const SECRETS: [&str; 2] = ["--token", "--http-token"];

/// What only the program knows.
#[derive(Debug, Clone, Default)]
pub struct Build {
    /// Commit that it was built from, where that is known.
    pub git_commit: Option<String>,
    /// Its version.
    pub version: String,
}

/// The name of a transport in reports.
#[must_use]
pub fn transport_name(transport: Transport) -> &'static str {
    match transport {
        Transport::Ring => "ring",
        Transport::Tcp => "tcp",
        Transport::Unix => "unix",
    }
}

/// The environment of a run without an engine.
#[must_use]
pub fn bare(build: &Build, transport: &str, cores: Cores, pinned: bool) -> Environment {
    let host = HostReport::read();
    Environment {
        git_commit: build.git_commit.clone(),
        version: build.version.clone(),
        config_hash: None,
        cpu_model: host.cpu_model,
        kernel: format!("Linux {}", host.kernel),
        cores,
        pinned,
        idle: "spin".to_owned(),
        backend: "threads".to_owned(),
        transport: transport.to_owned(),
        isolated: host.isolated,
        debug_build: cfg!(debug_assertions),
        command: without_secrets(std::env::args_os()),
    }
}

/// A command line with dots for what is secret in it.
fn without_secrets(words: impl Iterator<Item = OsString>) -> Vec<String> {
    let mut is_secret = false;
    let shown = |word: OsString| {
        let word = word.to_string_lossy().into_owned();
        if std::mem::replace(&mut is_secret, SECRETS.contains(&word.as_str())) {
            return "...".to_owned();
        }
        if let Some((option, _)) = word.split_once('=')
            && SECRETS.contains(&option)
        {
            return format!("{option}=...");
        }
        word
    };
    words.map(shown).collect()
}

/// The environment of a run with an engine.
#[must_use]
pub fn of_engine(
    build: &Build,
    transport: &str,
    config: &Config,
    info: &EngineInfo,
) -> Environment {
    let cores = Cores {
        shards: info.shard_cores.clone(),
        coordinators: info.worker_cores.clone(),
        prober: info.prober_core,
    };
    Environment {
        config_hash: Some(format!("{:016x}", config.cluster.hash())),
        idle: config.process.idle.to_string(),
        backend: info.backend.to_string(),
        ..bare(build, transport, cores, info.pinned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_token_of_the_command_line_is_in_a_report() {
        let line = "bench micro --http-token abc --token=abc --token abc --json run.json";
        let shown = without_secrets(line.split(' ').map(OsString::from));
        let expected = "bench micro --http-token ... --token=... --token ... --json run.json";
        assert_eq!(shown.join(" "), expected);
    }
}
