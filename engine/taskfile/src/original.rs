//! Lines in the format of the original: `type:priority:memory:cores:command`.

use crate::draft::{TaskDraft, key_of};
use crate::fault::{Fault, quoted};
use crate::layout::{Format, Rules, Separator};
use crate::names::hint;
use crate::units::{CORE_MILLI, GIB};
use punctual_wire::task::PayloadKind;
use std::time::Duration;

/// The command is the fifth field, and goes on to the end whatever is in it.
const FIELDS: usize = 5;

/// The fields of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fields<'a> {
    pub(crate) kind: PayloadKind,
    pub(crate) priority: i32,
    pub(crate) memory: u64,
    pub(crate) cores_milli: u32,
    /// The command, or the timeout and the command.
    pub(crate) rest: &'a [u8],
}

/// Takes a line apart.
pub(crate) fn split(line: &[u8], separator: Separator) -> Result<Fields<'_>, Fault> {
    if line.contains(&0) {
        return Err(Fault::Nul);
    }
    let mut fields: [&[u8]; FIELDS] = [&[]; FIELDS];
    let mut count = 0;
    for field in line.splitn(FIELDS, |byte| *byte == separator.byte()) {
        fields[count] = field;
        count += 1;
    }
    if count < FIELDS {
        return Err(too_few(line, count, separator));
    }
    let [kind, priority, memory, cores, rest] = fields;
    let kind = kind_of(kind)?;
    let priority = number("priority", priority, i32::MAX.unsigned_abs().into())?;
    let memory = number("memory in GB", memory, u64::MAX / GIB)?;
    let cores = number("number of cores", cores, u64::from(u32::MAX) / CORE_MILLI)?;
    if rest.is_empty() {
        return Err(Fault::NoCommand);
    }
    Ok(Fields {
        kind,
        // Both were just compared with what fits.
        priority: i32::try_from(priority).unwrap_or(i32::MAX),
        memory: memory * GIB,
        cores_milli: u32::try_from(cores * CORE_MILLI).unwrap_or(u32::MAX),
        rest,
    })
}

/// The timeout that what follows the fourth separator begins with, if it does: digits and a
/// separator. The rest is the command.
pub(crate) fn split_timeout(rest: &[u8], separator: Separator) -> Option<(&[u8], &[u8])> {
    let end = rest.iter().position(|byte| !byte.is_ascii_digit())?;
    if end == 0 || rest[end] != separator.byte() {
        return None;
    }
    Some((&rest[..end], &rest[end + 1..]))
}

/// A task from its line. The line is also what makes it the same task as another.
pub(crate) fn draft(line: usize, text: &[u8], rules: &Rules) -> Result<TaskDraft, Fault> {
    let fields = split(text, rules.separator)?;
    let mut draft = TaskDraft {
        line,
        kind: fields.kind,
        command: Vec::new(),
        name: String::new(),
        cwd: None,
        env: Vec::new(),
        priority: fields.priority,
        memory: fields.memory,
        cores_milli: fields.cores_milli,
        timeout: rules.default_timeout,
        retries: None,
        after: Vec::new(),
        key: key_of(text),
        is_named: false,
    };
    let mut command = fields.rest;
    let has_more = command.contains(&rules.separator.byte());
    if rules.format == Format::Timeout && has_more {
        let Some((digits, rest)) = split_timeout(command, rules.separator) else {
            return Err(no_timeout(command, rules.separator));
        };
        draft.timeout = timeout(digits)?;
        command = rest;
    }
    if command.is_empty() {
        return Err(Fault::NoCommand);
    }
    draft.command = command.to_vec();
    draft.check()?;
    Ok(draft)
}

/// Takes the timeout from a task that was read as if its line had none.
pub(crate) fn take_timeout(draft: &mut TaskDraft, separator: Separator) -> Result<(), Fault> {
    let Some((digits, command)) = split_timeout(&draft.command, separator) else {
        return Err(no_timeout(&draft.command, separator));
    };
    if command.is_empty() {
        return Err(Fault::NoCommand);
    }
    let (timeout, command) = (timeout(digits)?, command.to_vec());
    draft.timeout = timeout;
    draft.command = command;
    Ok(())
}

/// Seconds, of which 0 means no limit.
fn timeout(digits: &[u8]) -> Result<Option<Duration>, Fault> {
    // What a queue is told are milliseconds.
    let seconds = number("timeout", digits, u64::MAX / 1000)?;
    Ok((seconds > 0).then(|| Duration::from_secs(seconds)))
}

fn kind_of(name: &[u8]) -> Result<PayloadKind, Fault> {
    match name {
        b"shell" => Ok(PayloadKind::Shell),
        b"python" => Ok(PayloadKind::Python),
        // A fork has it for trying things out.
        b"demo" => Ok(PayloadKind::Noop),
        _ => Err(Fault::Kind { kind: quoted(name), hint: kind_hint(name) }),
    }
}

fn kind_hint(name: &[u8]) -> String {
    let bare = name.trim_ascii();
    if bare.len() < name.len() && kind_of(bare).is_ok() {
        return "; blanks around it count, so take them away".to_owned();
    }
    if bare.starts_with(b"#") {
        return "; the # of a comment has to be the first character".to_owned();
    }
    let text = String::from_utf8_lossy(name).to_lowercase();
    hint(&text, ["shell", "python", "demo"])
}

/// The number that a field is, in digits alone.
fn number(what: &'static str, field: &[u8], max: u64) -> Result<u64, Fault> {
    if field.is_empty() || !field.iter().all(u8::is_ascii_digit) {
        let is_decimal = field.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
        let hint = match is_decimal && field.contains(&b'.') {
            true => "; fractions can be said in JSON lines",
            false => "",
        };
        return Err(Fault::NotDigits { what, text: quoted(field), hint });
    }
    let text = String::from_utf8_lossy(field);
    let value = text.parse::<u64>().ok().filter(|value| *value <= max);
    value.ok_or_else(|| Fault::Number { what, text: quoted(field), max })
}

fn no_timeout(rest: &[u8], separator: Separator) -> Fault {
    let end = rest.iter().position(|byte| *byte == separator.byte()).unwrap_or(rest.len());
    let hint = "; a command with a separator in it needs a timeout before it, 0 for none";
    Fault::NotDigits { what: "timeout", text: quoted(&rest[..end]), hint }
}

fn too_few(line: &[u8], count: usize, separator: Separator) -> Fault {
    let other = match separator {
        Separator::Semicolon => Separator::Colon,
        _ => Separator::Semicolon,
    };
    let count_other = line.split(|byte| *byte == other.byte()).count();
    let hint = if count_other >= FIELDS && split(line, other).is_ok() {
        "; it would be a task with the other separator"
    } else if line.trim_ascii_start().starts_with(b"{") {
        "; it looks like JSON, while other lines do not"
    } else if line.trim_ascii_start().starts_with(b"#") {
        "; the # of a comment has to be the first character"
    } else {
        ""
    };
    Fault::Fields { count, separator: separator.byte().into(), hint }
}
