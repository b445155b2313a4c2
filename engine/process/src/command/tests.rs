use super::*;
use crate::environment::environment;

fn tools(shell: &str) -> Tools {
    let config = ProcessConfig { shell: PathBuf::from(shell), ..ProcessConfig::new("w") };
    Tools::new(&config)
}

fn steps(tools: &Tools, kind: PayloadKind, command: &str, path: &str) -> Vec<Step> {
    tools.steps(kind, command.as_bytes(), &environment(&[("PATH", path)])).expect("no NUL")
}

fn strings<S: AsRef<[u8]>>(strings: impl IntoIterator<Item = S>) -> CStrings {
    CStrings::of(strings).expect("no NUL")
}

/// Whether the command goes to the shell alone.
fn needs_shell(command: &str) -> bool {
    let steps = steps(&tools("/bin/sh"), PayloadKind::Shell, command, "/bin");
    let last = steps.last().expect("the shell");
    assert_eq!(last.paths, strings(["/bin/sh"]), "{command}");
    assert_eq!(last.arguments, strings(["/bin/sh", "-c", command]), "{command}");
    steps.len() == 1
}

#[test]
fn commands_that_a_shell_would_only_split_go_without_it() {
    for command in [
        "true",
        "true 17",
        "false",
        "sleep 1000",
        " \t./cachesim  trace oracleGeneral fifo,lru 0.001,0.01,0.1\t--ignore-obj-size 0 ",
        "/usr/bin/env",
        "prog --size=10 -x +y a:b@c",
        "date +%s",
        "ls-1.2_3 pr\u{fc}fung",
        "trueish --help",
        "iffy then",
    ] {
        assert!(!needs_shell(command), "{command}");
    }
}

#[test]
fn commands_that_mean_something_to_a_shell_go_to_it() {
    let meaningful = "|&;<>()$`\\\"'*?[]#~!{}^\n";
    for character in meaningful.chars() {
        assert!(needs_shell(&format!("prog a{character}b")), "{character:?} in a word");
        assert!(needs_shell(&format!("prog {character}")), "{character:?} as a word");
        assert!(needs_shell(&format!("{character} prog")), "{character:?} before");
        assert!(needs_shell(&format!("prog{character}")), "{character:?} behind");
    }
    for command in [
        "",
        "  \t",
        "A=1 prog",
        "A=1",
        "%1",
        "-c prog",
        "+x",
        "true --help",
        "false --version",
        "echo -e a",
        "cd /tmp",
        "export A",
        "exit 3",
        "exec prog",
        ". ./setup",
        ": prog",
        "[ a",
        "test -f x",
        "time prog",
        "ulimit -v 1000",
        "umask 022",
        "wait",
        "trap - TERM",
        "source x",
        "while true",
        "kill 1",
        "printf x",
        "read line",
    ] {
        assert!(needs_shell(command), "{command}");
    }
}

#[test]
fn a_program_is_looked_for_where_a_shell_would() {
    let command = "prog a  b";
    let found = steps(&tools("/bin/sh"), PayloadKind::Shell, command, "/usr/bin::rel:/bin/");
    assert_eq!(found[0].paths, strings(["/usr/bin/prog", "./prog", "rel/prog", "/bin//prog"]));
    assert_eq!(found[0].arguments, strings(["prog", "a", "b"]));
    for path in ["./prog", "/opt/prog", "sub/prog"] {
        let found = steps(&tools("/bin/sh"), PayloadKind::Shell, path, "/usr/bin");
        assert_eq!(found[0].paths, strings([path]));
    }
    let nowhere = environment(&[]);
    let found = tools("sh").steps(PayloadKind::Shell, b"prog", &nowhere).expect("no NUL");
    assert_eq!(found[0].paths, strings(["/usr/local/bin/prog", "/usr/bin/prog", "/bin/prog"]));
    assert_eq!(found[1].paths, strings(["/usr/local/bin/sh", "/usr/bin/sh", "/bin/sh"]));
}

#[test]
fn the_shell_gets_everything_where_it_may_know_better() {
    let count = |tools: &Tools, variables: &[(&str, &str)]| {
        let environment = environment(variables);
        tools.steps(PayloadKind::Shell, b"prog", &environment).expect("no NUL").len()
    };
    let path = ("PATH", "/bin");
    assert_eq!(count(&tools("/bin/bash"), &[path]), 2);
    assert_eq!(count(&tools("/bin/bash"), &[path, ("BASH_ENV", "/etc/x")]), 1);
    assert_eq!(count(&tools("/bin/sh"), &[path, ("BASH_ENV", "/etc/x")]), 2);
    assert_eq!(count(&tools("/bin/sh"), &[path, ("BASH_FUNC_prog%%", "() { :; }")]), 1);
    // zsh reads a file before every command; of a shell that is not known, anything may be true.
    assert_eq!(count(&tools("/usr/bin/zsh"), &[path]), 1);
    assert_eq!(count(&tools("/opt/myshell"), &[path]), 1);
    let config = ProcessConfig { exec_directly: false, ..ProcessConfig::new("w") };
    assert_eq!(count(&Tools::new(&config), &[path]), 1);
}

#[test]
fn python_gets_a_program_as_it_is_and_a_script_as_a_command() {
    let mut tools = tools("/bin/sh");
    let program = "import os; print(os.name, \"x.py\")";
    let found = steps(&tools, PayloadKind::Python, program, "/bin");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].paths, strings(["/bin/python3"]));
    assert_eq!(found[0].arguments, strings(["python3", "-c", program]));

    let found = steps(&tools, PayloadKind::Python, " tools/run.py a  b", "/bin");
    assert_eq!(found[0].arguments, strings(["python3", "tools/run.py", "a", "b"]));
    assert_eq!(found[1].arguments, strings(["/bin/sh", "-c", "python3  tools/run.py a  b"]));

    tools.python = PathBuf::from("/opt/my python/bin/it's");
    let found = steps(&tools, PayloadKind::Python, "run.py > out", "/bin");
    assert_eq!(found.len(), 1);
    let command = "'/opt/my python/bin/it'\\''s' run.py > out";
    assert_eq!(found[0].arguments, strings(["/bin/sh", "-c", command]));
    assert_eq!(tools.program(PayloadKind::Python, b"run.py"), Path::new("/bin/sh"));
    assert_eq!(tools.program(PayloadKind::Python, b"1"), tools.python);
}

#[test]
fn a_nul_byte_is_refused_and_nothing_runs_for_a_no_op() {
    let environment = environment(&[("PATH", "/bin")]);
    for kind in [PayloadKind::Shell, PayloadKind::Python] {
        assert_eq!(tools("/bin/sh").steps(kind, b"prog\0", &environment), Err(NulInside));
    }
    assert_eq!(tools("/bin/sh").steps(PayloadKind::Noop, b"", &environment), Ok(Vec::new()));
}
