//! A worker on an existing Redis: options, and the bridge between the two.

use super::load;
use super::work::Limits;
use clap::{Args, ValueEnum};
use punctual_redis::{
    BadPolling, Polling, RedisAddress, RedisBridge, RedisBridgeConfig, WorkLimits,
};
use punctual_runtime::tasks::{QueueAddress, QueueLinks};
use punctual_taskfile::{Format, OriginalConf, ReadOptions};

/// Options that have a meaning where the tasks are in a Redis.
#[derive(Debug, Args)]
#[command(next_help_heading = "With --broker redis://...")]
pub(super) struct RedisArgs {
    /// How tasks are looked for: adaptive (at once while there are some), adaptive:5s (with another
    /// longest pause than 10s), fixed:2s, or fixed (the pause that conf.json says)
    #[arg(long, value_name = "HOW", default_value = "adaptive", value_parser = looks)]
    polling: Looks,

    /// Claim and report many tasks at once, from a sorted list of all; off: one by one
    #[arg(long, value_enum, value_name = "on|off", default_value = "on")]
    pipeline: Switch,

    /// Let the cores that tasks ask for count, which the original never looks at
    #[arg(long)]
    count_cores: bool,

    /// How lines are read: auto, or timeout for those with six fields
    #[arg(long, value_name = "FORMAT", default_value = "auto", value_parser = load::format)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

/// How tasks are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Looks {
    Said(Polling),
    /// With the pause of the original, as it is configured.
    Original,
}

fn looks(text: &str) -> Result<Looks, String> {
    match text {
        "fixed" => Ok(Looks::Original),
        text => text.parse().map(Looks::Said).map_err(|error: BadPolling| error.to_string()),
    }
}

impl RedisArgs {
    /// What a bridge for the worker with this name is started with.
    fn config(
        &self,
        address: RedisAddress,
        name: &str,
        conf: Option<&OriginalConf>,
        limits: Limits,
    ) -> RedisBridgeConfig {
        let usual = OriginalConf::default();
        let said = conf.unwrap_or(&usual);
        let polling = match self.polling {
            Looks::Said(polling) => polling,
            Looks::Original => Polling::Fixed(said.sleep_between_tasks),
        };
        let options = ReadOptions {
            format: self.format,
            default_timeout: said.task_timeout,
            ..ReadOptions::default()
        };
        RedisBridgeConfig {
            polling,
            pipeline: self.pipeline == Switch::On,
            count_cores: self.count_cores,
            limits: work_limits(conf, limits),
            options,
            ..RedisBridgeConfig::new(address, name)
        }
    }

    /// Connects to the Redis, and starts a bridge to it.
    pub(super) fn start(
        &self,
        address: RedisAddress,
        name: &str,
        conf: Option<&OriginalConf>,
        limits: Limits,
    ) -> anyhow::Result<RedisBridge> {
        Ok(RedisBridge::start(self.config(address, name, conf, limits))?)
    }
}

/// What may change while the bridge runs. How many tasks its worker has at once, the worker says.
pub(super) fn work_limits(conf: Option<&OriginalConf>, limits: Limits) -> WorkLimits {
    let said = conf.map_or_else(WorkLimits::default, WorkLimits::from);
    WorkLimits { accept_free: limits.accept_free, ..said }
}

/// Where the worker finds what it takes for its queue.
pub(super) fn queue_of(bridge: &RedisBridge) -> QueueAddress {
    let links = bridge.links();
    QueueAddress::Links(QueueLinks::new(move || links.link()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::time::Duration;

    #[derive(Debug, Parser)]
    struct Options {
        #[command(flatten)]
        redis: RedisArgs,
    }

    fn config(args: &[&str], conf: Option<&OriginalConf>) -> RedisBridgeConfig {
        let options = Options::parse_from(std::iter::once("test").chain(args.iter().copied()));
        let address = "redis://node0".parse().expect("an address");
        let limits = Limits { slots: 3, accept_free: 5, return_free: 4 };
        options.redis.config(address, "node1", conf, limits)
    }

    #[test]
    fn without_options_everything_that_helps_is_on() {
        let found = config(&[], None);
        assert!(found.pipeline && !found.count_cores);
        assert_eq!(found.polling, Polling::default());
        assert_eq!(found.limits.attempts_max, OriginalConf::default().attempts_max);
        assert_eq!(found.limits.accept_free, 5);
        assert_eq!(found.options, ReadOptions::default());
    }

    #[test]
    fn each_switch_can_be_off_by_itself_and_the_original_has_its_say() {
        assert!(!config(&["--pipeline", "off"], None).pipeline);
        let polling = |option: &str, conf| config(&["--polling", option], conf).polling;
        let (two, five) = (Duration::from_secs(2), Duration::from_secs(5));
        assert_eq!(polling("fixed:5s", None), Polling::Fixed(five));
        assert_eq!(polling("fixed", None), Polling::Fixed(two), "as it is shipped");
        let conf = OriginalConf {
            sleep_between_tasks: five,
            attempts_max: 9,
            task_timeout: Some(two),
            ..OriginalConf::default()
        };
        assert_eq!(polling("fixed", Some(&conf)), Polling::Fixed(five));
        let found = config(&["--format", "timeout", "--count-cores"], Some(&conf));
        assert_eq!((found.limits.attempts_max, found.count_cores), (9, true));
        assert_eq!(found.options.default_timeout, Some(two));
        assert_eq!(found.options.format, Format::Timeout);
        assert!(looks("often").unwrap_err().contains("adaptive"));
    }
}
