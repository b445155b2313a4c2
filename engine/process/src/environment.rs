//! The environment of a task: the worker's, what the task says, and what we tell it.

use crate::error::LaunchError;
use crate::strings::{CStrings, NulInside};
use punctual_wire::task::Variables;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// How the variables begin that are ours alone: a worker that is itself run by a task hands none of
/// them on.
const OURS: &[u8] = b"PUNCTUAL_TASK_";
/// Ours as well.
const WORKER: &[u8] = b"PUNCTUAL_WORKER";
/// Secrets of the program, and none of its tasks' business.
const SECRETS: [&[u8]; 2] = [b"PUNCTUAL_HTTP_TOKEN", b"PUNCTUAL_REDIS_PASSWORD"];
/// How the variables begin in which bash hands on functions.
const FUNCTION: &[u8] = b"BASH_FUNC_";

/// What every task of a worker gets.
#[derive(Debug, Clone, Default)]
pub(crate) struct Inherited {
    variables: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The environment of one task.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    strings: CStrings,
    path: Option<Vec<u8>>,
    has_functions: bool,
    has_bash_file: bool,
}

impl Inherited {
    /// That of this process.
    pub(crate) fn read() -> Self {
        Self::of(std::env::vars_os())
    }

    fn of(variables: impl Iterator<Item = (OsString, OsString)>) -> Self {
        let bytes = variables.map(|(name, value)| (name.into_vec(), value.into_vec()));
        let is_ours =
            |name: &[u8]| name.starts_with(OURS) || name == WORKER || SECRETS.contains(&name);
        let handed_on = bytes.filter(|(name, _)| !is_ours(name));
        Self { variables: handed_on.collect() }
    }

    /// With the variables of a task and, over those, our own.
    pub(crate) fn for_task<'v>(
        &'v self,
        variables: Variables<'v>,
        ours: &[(&'static str, &'v [u8])],
    ) -> Result<Environment, LaunchError> {
        // Of several with one name the last counts, as if they had been set one after the other.
        let mut changed: BTreeMap<&[u8], &[u8]> = BTreeMap::new();
        for (name, value) in variables.iter() {
            if name.is_empty() || name.iter().any(|byte| matches!(byte, b'=' | 0)) {
                let name = String::from_utf8_lossy(name).into_owned();
                return Err(LaunchError::VariableName(name));
            }
            changed.insert(name, value);
        }
        changed.extend(ours.iter().map(|(name, value)| (name.as_bytes(), *value)));
        let mut environment = Environment::default();
        let kept = self.variables.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
        let kept = kept.filter(|(name, _)| !changed.contains_key(name));
        for (name, value) in kept.chain(changed.iter().map(|(name, value)| (*name, *value))) {
            environment
                .add(name, value)
                .map_err(|source| LaunchError::Nul { what: "environment", source })?;
        }
        Ok(environment)
    }
}

impl Environment {
    /// `NAME=VALUE`, each.
    pub(crate) fn strings(&self) -> &CStrings {
        &self.strings
    }

    /// Where programs are looked for.
    pub(crate) fn path(&self) -> Option<&[u8]> {
        self.path.as_deref()
    }

    /// Whether it has functions of bash, any of which may stand for a program.
    pub(crate) fn has_functions(&self) -> bool {
        self.has_functions
    }

    /// Whether it names a file that bash runs before every command.
    pub(crate) fn has_bash_file(&self) -> bool {
        self.has_bash_file
    }

    fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), NulInside> {
        self.strings.push(&[name, b"=", value])?;
        self.has_functions |= name.starts_with(FUNCTION);
        match name {
            b"PATH" => self.path = Some(value.to_vec()),
            b"BASH_ENV" => self.has_bash_file = !value.is_empty(),
            _ => {}
        }
        Ok(())
    }
}

/// An environment of these variables.
#[cfg(test)]
pub(crate) fn environment(variables: &[(&str, &str)]) -> Environment {
    let mut environment = Environment::default();
    for (name, value) in variables {
        environment.add(name.as_bytes(), value.as_bytes()).expect("no NUL");
    }
    environment
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inherited(variables: &[(&str, &str)]) -> Inherited {
        Inherited::of(variables.iter().map(|(name, value)| (name.into(), value.into())))
    }

    fn encoded(variables: &[(&[u8], &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        Variables::encode(&mut bytes, variables.iter().copied());
        bytes
    }

    #[test]
    fn a_tasks_variables_go_before_the_workers_and_ours_before_both() {
        let worker = inherited(&[("A", "worker"), ("B", "worker"), ("C", "worker")]);
        let task = encoded(&[
            (b"B", b"task"),
            (b"C", b"task"),
            (b"D", b"first"),
            (b"D", b"a=b \xff"),
            (b"PUNCTUAL_TASK_ID", b"a lie"),
        ]);
        let variables = Variables::read(&task).expect("whole variables");
        let ours = [("PUNCTUAL_TASK_ID", b"7".as_slice())];
        let environment = worker.for_task(variables, &ours).expect("good variables");
        let expected: [&[u8]; 5] =
            [b"A=worker", b"B=task", b"C=task", b"D=a=b \xff", b"PUNCTUAL_TASK_ID=7"];
        assert_eq!(environment.strings().to_vec(), expected);
    }

    #[test]
    fn what_another_worker_told_this_one_is_not_handed_on() {
        let worker = inherited(&[
            ("PUNCTUAL_TASK_ID", "1"),
            ("PUNCTUAL_WORKER", "outer"),
            ("PUNCTUAL_HTTP_TOKEN", "secret"),
            ("PUNCTUAL_REDIS_PASSWORD", "secret"),
            ("PUNCTUAL_TASK_SERVER", "redis://:secret@node0"),
            ("PUNCTUAL_LOG", "debug"),
        ]);
        let environment = worker.for_task(Variables::default(), &[]).expect("good variables");
        assert_eq!(environment.strings().to_vec(), [b"PUNCTUAL_LOG=debug"]);
    }

    #[test]
    fn names_that_no_process_can_have_are_refused() {
        for name in [b"".as_slice(), b"A=B", b"A\0"] {
            let task = encoded(&[(name, b"x")]);
            let variables = Variables::read(&task).expect("whole variables");
            let outcome = Inherited::default().for_task(variables, &[]);
            assert!(matches!(outcome, Err(LaunchError::VariableName(_))), "{name:?}");
        }
        let task = encoded(&[(b"A", b"\0")]);
        let variables = Variables::read(&task).expect("whole variables");
        let outcome = Inherited::default().for_task(variables, &[]);
        assert!(matches!(outcome, Err(LaunchError::Nul { .. })));
    }

    #[test]
    fn what_changes_the_meaning_of_a_command_is_seen() {
        let plain = environment(&[("PATH", "/a:/b"), ("BASH_ENV", "")]);
        assert_eq!(plain.path(), Some(b"/a:/b".as_slice()));
        assert!(!plain.has_functions() && !plain.has_bash_file());
        assert!(environment(&[("BASH_FUNC_module%%", "() { :; }")]).has_functions());
        assert!(environment(&[("BASH_ENV", "/etc/modules.sh")]).has_bash_file());
        assert_eq!(environment(&[]).path(), None);
    }
}
