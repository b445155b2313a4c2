//! From the command of a task to programs to run.
//!
//! A shell takes some 9 % of the time of the shortest task, so a command is run without one where
//! that makes no difference: where all the shell would do is to split it into words, find the
//! program and run it. In doubt the shell gets it. If the program cannot be run, the shell gets
//! the command as well, so that the message and the exit code are the shell's own.

use crate::config::ProcessConfig;
use crate::environment::Environment;
use crate::strings::{CStrings, NulInside};
use crate::sys::Step;
use punctual_wire::task::PayloadKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Bytes that mean something to some shell, wherever they are.
const MEANINGFUL: &[u8] = b"|&;<>()$`\\\"'*?[]#~!{}^\n\0";

/// Words that are not the name of a program, or of one that does not quite do the same. What POSIX,
/// dash, bash and ksh have built in is here, but for `true` and `false`.
const SHELL_WORDS: &str = "
    . : [ [[ ]] alias autoload bg bind break builtin caller case cd chdir command compgen complete
    compopt continue coproc declare dirs disown do done echo elif else enable esac eval exec exit
    export fc fg fi for function getconf getopts hash help hist history if in integer jobs kill let
    local login logout mapfile nameref newgrp popd print printf pushd pwd read readarray readonly
    return select set shift shopt source stop suspend test then time times trap type typeset ulimit
    umask unalias unset until wait whence while
";

/// Shells that read nothing before a command, or what [`Environment`] tells of.
const PLAIN_SHELLS: &[&str] = &["ash", "bash", "dash", "ksh", "mksh", "sh"];

/// Where programs are looked for when the environment does not say.
const DEFAULT_PATH: &[u8] = b"/usr/local/bin:/usr/bin:/bin";

/// What commands are run with.
#[derive(Debug, Clone)]
pub(crate) struct Tools {
    shell: PathBuf,
    python: PathBuf,
    /// Whether commands may be run without the shell at all.
    is_direct: bool,
    /// Whether the shell reads the file that `BASH_ENV` names.
    is_bash: bool,
}

impl Tools {
    pub(crate) fn new(config: &ProcessConfig) -> Self {
        let name = config.shell.file_name().unwrap_or_default();
        Self {
            shell: config.shell.clone(),
            python: config.python.clone(),
            is_direct: config.exec_directly && PLAIN_SHELLS.iter().any(|shell| name == *shell),
            is_bash: name == "bash",
        }
    }

    /// What runs a command in the end, for messages.
    pub(crate) fn program(&self, kind: PayloadKind, command: &[u8]) -> &Path {
        let is_python = kind == PayloadKind::Python && !is_script(command);
        if is_python { &self.python } else { &self.shell }
    }

    /// What to run, one after the other until something can be run.
    pub(crate) fn steps(
        &self,
        kind: PayloadKind,
        command: &[u8],
        environment: &Environment,
    ) -> Result<Vec<Step>, NulInside> {
        match kind {
            PayloadKind::Noop => Ok(Vec::new()),
            PayloadKind::Shell => self.shell_steps(command, environment),
            PayloadKind::Python if is_script(command) => self.script_steps(command, environment),
            PayloadKind::Python => {
                let python = self.python.as_os_str().as_bytes();
                let arguments = CStrings::of([python, b"-c", command])?;
                Ok(vec![Step { paths: paths(python, environment.path())?, arguments }])
            }
        }
    }

    fn shell_steps(
        &self,
        command: &[u8],
        environment: &Environment,
    ) -> Result<Vec<Step>, NulInside> {
        let mut steps = Vec::with_capacity(2);
        if self.may_go_without_shell(environment)
            && let Some(words) = plain_words(command)
            && is_program(&words)
        {
            let paths = paths(words[0], environment.path())?;
            steps.push(Step { paths, arguments: CStrings::of(words)? });
        }
        steps.push(self.shell_step(command, environment)?);
        Ok(steps)
    }

    /// A command that names a program in Python. To be such a command its first word only has to
    /// end like one; the shell has the last word on what the rest means.
    fn script_steps(
        &self,
        command: &[u8],
        environment: &Environment,
    ) -> Result<Vec<Step>, NulInside> {
        let python = self.python.as_os_str().as_bytes();
        let mut steps = Vec::with_capacity(2);
        if self.may_go_without_shell(environment)
            && let Some(mut words) = plain_words(command)
        {
            words.insert(0, python);
            let paths = paths(python, environment.path())?;
            steps.push(Step { paths, arguments: CStrings::of(words)? });
        }
        let command = [quoted(python).as_slice(), b" ", command].concat();
        steps.push(self.shell_step(&command, environment)?);
        Ok(steps)
    }

    fn shell_step(&self, command: &[u8], environment: &Environment) -> Result<Step, NulInside> {
        let shell = self.shell.as_os_str().as_bytes();
        let arguments = CStrings::of([shell, b"-c", command])?;
        Ok(Step { paths: paths(shell, environment.path())?, arguments })
    }

    fn may_go_without_shell(&self, environment: &Environment) -> bool {
        let reads_file = self.is_bash && environment.has_bash_file();
        self.is_direct && !environment.has_functions() && !reads_file
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Whether the first word names a program in Python.
fn is_script(command: &[u8]) -> bool {
    let mut words = command.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    words.next().is_some_and(|word| word.ends_with(b".py"))
}

/// The words of a command; `None` if a shell would do more than split it, or if it is empty.
fn plain_words(command: &[u8]) -> Option<Vec<&[u8]>> {
    if command.iter().any(|byte| MEANINGFUL.contains(byte)) {
        return None;
    }
    let words = command.split(|byte| is_blank(*byte)).filter(|word| !word.is_empty());
    let words: Vec<&[u8]> = words.collect();
    (!words.is_empty()).then_some(words)
}

/// Whether the first of plain words is the name of a program and nothing else: no assignment, no
/// job (`%1`), nothing that the shell takes for an option of its own, and no word of the shell.
fn is_program(words: &[&[u8]]) -> bool {
    let Some((first, rest)) = words.split_first() else { return false };
    let is_odd = first.contains(&b'=') || matches!(first[0], b'%' | b'-' | b'+');
    let is_of_shell = match *first {
        // The programs have options (`true --help`), the words of the shell have none.
        b"true" | b"false" => rest.iter().any(|word| word.starts_with(b"--")),
        word => SHELL_WORDS.split_ascii_whitespace().any(|known| known.as_bytes() == word),
    };
    !is_odd && !is_of_shell
}

/// Where a program may be, as a shell looks for it: by its path if it is one, else in these
/// directories.
fn paths(program: &[u8], path: Option<&[u8]>) -> Result<CStrings, NulInside> {
    let mut paths = CStrings::default();
    if program.contains(&b'/') {
        paths.push(&[program])?;
        return Ok(paths);
    }
    for directory in path.unwrap_or(DEFAULT_PATH).split(|byte| *byte == b':') {
        match directory {
            // An empty entry is the current directory.
            b"" => paths.push(&[b"./", program])?,
            _ => paths.push(&[directory, b"/", program])?,
        }
    }
    Ok(paths)
}

/// The text as one word of a shell.
fn quoted(text: &[u8]) -> Vec<u8> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+".contains(byte);
    if text.iter().all(is_plain) {
        return text.to_vec();
    }
    let mut word = vec![b'\''];
    for byte in text {
        match byte {
            b'\'' => word.extend_from_slice(b"'\\''"),
            byte => word.push(*byte),
        }
    }
    word.push(b'\'');
    word
}

#[cfg(test)]
mod tests;
