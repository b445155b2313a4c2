//! The help of every command has examples, and they are of use.

use crate::root;
use crate::support::run;
use punctual_load::workload;
use std::collections::BTreeMap;

const COMMANDS: [&str; 42] = [
    "punctual",
    "punctual bench",
    "punctual bench bank",
    "punctual bench calibrate",
    "punctual bench counters",
    "punctual bench micro",
    "punctual bench pingpong",
    "punctual bench prototype",
    "punctual bench roofline",
    "punctual bench sweep",
    "punctual bench tpcc",
    "punctual bench ycsb",
    "punctual env",
    "punctual journal",
    "punctual journal check",
    "punctual journal dump",
    "punctual owd",
    "punctual report",
    "punctual serve",
    "punctual sim",
    "punctual study",
    "punctual study compare",
    "punctual study list",
    "punctual study run",
    "punctual task",
    "punctual task bench",
    "punctual task cancel",
    "punctual task export",
    "punctual task jobs",
    "punctual task manager",
    "punctual task remove",
    "punctual task requeue",
    "punctual task retry",
    "punctual task run",
    "punctual task serve",
    "punctual task status",
    "punctual task stop-worker",
    "punctual task submit",
    "punctual task watch",
    "punctual task worker",
    "punctual task workers",
    "punctual top",
];

#[test]
fn every_command_has_help_with_examples() {
    let commands = commands();
    assert_eq!(commands.keys().collect::<Vec<_>>(), COMMANDS.iter().collect::<Vec<_>>());
    for (command, help) in &commands {
        let examples = examples(help);
        assert!(!examples.is_empty(), "{command} has no examples:\n{help}");
        for example in examples {
            assert!(example.starts_with(command), "an example of {command} is {example:?}");
        }
    }
}

#[test]
fn every_option_in_an_example_exists() {
    let commands = commands();
    let mut options = 0;
    for example in commands.values().flat_map(|help| examples(help)) {
        // The longest command that the example begins with.
        let command = commands.keys().rev().find(|command| example.starts_with(command.as_str()));
        let command = command.expect("examples begin with a command");
        let help = &commands[command];
        assert!(!help.contains("Commands:"), "{example:?} lacks a subcommand");
        for option in example.split_whitespace().filter(|word| word.starts_with("--")) {
            assert!(is_option(help, option), "{command} has no {option}, which is in {example:?}");
            options += 1;
        }
    }
    assert!(options > 10, "the examples show only {options} options");
}

#[test]
fn every_file_of_the_book_in_an_example_exists() {
    let commands = commands();
    let mut files = 0;
    for example in commands.values().flat_map(|help| examples(help)) {
        for file in example.split_whitespace().filter(|word| word.starts_with("docs/")) {
            assert!(root().join(file).is_file(), "there is no {file}, which is in {example:?}");
            files += 1;
        }
    }
    assert!(files > 0, "no example shows a file of the book");
}

#[test]
fn the_version_is_that_of_the_package() {
    let ended = run(&["--version"]);
    ended.expect_code(0);
    assert_eq!(ended.stdout, format!("punctual {}\n", env!("CARGO_PKG_VERSION")));
}

/// Every command with its help, found by asking each for its subcommands.
pub(crate) fn commands() -> BTreeMap<String, String> {
    let mut commands = BTreeMap::new();
    let mut open = vec!["punctual".to_owned()];
    while let Some(command) = open.pop() {
        let mut args: Vec<&str> = command.split(' ').skip(1).collect();
        args.push("--help");
        let ended = run(&args);
        ended.expect_code(0);
        assert_eq!(ended.stderr, "", "{command} --help");
        open.extend(subcommands(&ended.stdout).iter().map(|name| format!("{command} {name}")));
        commands.insert(command, ended.stdout);
    }
    // Behind the name of a workload a sweep takes what that one takes.
    let helps = workload::names().map(|name| &commands[&format!("punctual bench {name}")]);
    let options: String = helps.filter_map(|help| help.split("Examples:").next()).collect();
    let sweep = commands.get_mut("punctual bench sweep").expect("there are sweeps");
    sweep.insert_str(0, &options);
    commands
}

/// The names in the section of subcommands. What is indented further goes on with the line above.
fn subcommands(help: &str) -> Vec<&str> {
    let section = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = section.take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| !name.is_empty() && *name != "help").collect()
}

/// The lines of the section of examples.
fn examples(help: &str) -> Vec<&str> {
    let section = help.lines().skip_while(|line| *line != "Examples:").skip(1);
    section.take_while(|line| !line.is_empty()).map(str::trim).collect()
}

/// Whether the help has this option, in its part before the examples.
pub(crate) fn is_option(help: &str, option: &str) -> bool {
    let is_part = |character: char| character.is_alphanumeric() || "-_".contains(character);
    help.split("Examples:").next().is_some_and(|help| {
        help.split(|character: char| !is_part(character)).any(|word| word == option)
    })
}

#[test]
fn the_reader_of_help_finds_names_examples_and_options() {
    let help = "Usage: x\n\nCommands:\n  run   Runs\n        for long\n  help  Helps\n\n\
        Options:\n      --some-time <T>  As in --other\n\nExamples:\n  x run --wrong\n\nMore.\n";
    assert_eq!(subcommands(help), ["run"]);
    assert_eq!(examples(help), ["x run --wrong"]);
    assert!(is_option(help, "--some-time") && !is_option(help, "--some"));
    assert!(!is_option(help, "--wrong"));
}
