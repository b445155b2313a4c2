//! The original's layout: names of its hashes, and what is in their fields.

use punctual_taskfile::{ReadOptions, parse_line};
use punctual_wire::task::{Captured, EndKind, TaskEnd};
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// Line of a task → nothing. Those that wait.
pub(crate) const TODO: &str = "todo_tasks";
/// Line of a task → worker.
pub(crate) const IN_PROGRESS: &str = "in_progress_tasks";
/// Line of a task → worker and what it wrote.
pub(crate) const FINISHED: &str = "finished_tasks";
/// Line of a task → the workers where it failed, a comma behind each.
pub(crate) const FAILED: &str = "failed_tasks";
/// Line of a task → why it failed the last time.
pub(crate) const REASONS: &str = "task_fail_reason";
/// Worker → [`Status`].
pub(crate) const STATUS: &str = "worker_status";
/// All of them.
pub(crate) const KEYS: [&str; 6] = [TODO, IN_PROGRESS, FINISHED, FAILED, REASONS, STATUS];

/// A field of [`TODO`] that is no task: all workers finish what they run and end.
pub(crate) const STOP_ORDER: &str = "WORKER_COMMAND_CLOSE";

/// Where it is told that there are new tasks. The original does not listen.
pub(crate) const NEWS: &str = "punctual:todo";
/// Where a worker tells that it has found nothing to do.
pub(crate) const IDLE: &str = "punctual:idle";

/// After so many intervals without a word a worker counts as gone.
pub(crate) const GONE_INTERVALS: u32 = 20;

/// Output of a task from which on the original keeps none of it, in bytes.
const OUTPUT_MAX: u64 = 1 << 20;
/// Characters that are left of too long a reason.
const REASON_CHARS: usize = 1024;
/// What the original calls a GB.
const GIB: f64 = (1_u64 << 30) as f64;

/// Seconds since 1970.
pub(crate) fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// What a task asks for, as its line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) priority: i32,
    pub(crate) memory: u64,
    pub(crate) cores_milli: u32,
}

impl Head {
    /// Reads the beginning of a line: enough to order it among a million others, without taking
    /// all of it apart. `None` if it is no task.
    pub(crate) fn read(line: &[u8], options: &ReadOptions) -> Option<Self> {
        let at = line.iter().position(|byte| matches!(byte, b':' | b';'))?;
        if !matches!(&line[..at], b"shell" | b"python" | b"demo") {
            // A task in JSON, or something else.
            let draft = parse_line(line, options).ok()?;
            let (priority, memory, cores_milli) = (draft.priority, draft.memory, draft.cores_milli);
            return Some(Self { priority, memory, cores_milli });
        }
        let mut fields = line[at + 1..].splitn(4, |byte| *byte == line[at]);
        let priority = digits(fields.next()?)?;
        let (memory, cores) = (digits(fields.next()?)?, digits(fields.next()?)?);
        fields.next().filter(|command| !command.is_empty())?;
        Some(Self {
            priority: i32::try_from(priority).ok()?,
            memory: memory.checked_mul(1 << 30)?,
            cores_milli: u32::try_from(cores.checked_mul(1000)?).ok()?,
        })
    }
}

fn digits(field: &[u8]) -> Option<u64> {
    let is_number = !field.is_empty() && field.iter().all(u8::is_ascii_digit);
    is_number.then(|| str::from_utf8(field).ok()?.parse().ok()).flatten()
}

/// Whether the original's workers can make something of a line: five fields, no more.
pub(crate) fn is_original(line: &[u8]) -> bool {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
    let [kind, priority, memory, cores, command] = fields[..] else { return false };
    kind == b"shell"
        && [priority, memory, cores].into_iter().all(|field| digits(field).is_some())
        && !command.is_empty()
}

/// A name that can stand in all of these fields: the original splits them at these characters.
pub(crate) fn worker_name(wish: &str) -> String {
    let is_fine = |character: char| !character.is_control() && !",: ".contains(character);
    let name: String =
        wish.chars().map(|character| if is_fine(character) { character } else { '-' }).collect();
    if name.is_empty() { "worker".to_owned() } else { name }
}

/// What a worker says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Status {
    /// When, in seconds since 1970 by the clock of its machine.
    pub(crate) time: i64,
    pub(crate) cores_used: f64,
    pub(crate) cores_total: f64,
    /// In GB.
    pub(crate) memory_used: f64,
    pub(crate) memory_total: f64,
}

impl Status {
    pub(crate) fn new(time: i64, cores_milli: [u32; 2], memory: [u64; 2]) -> Self {
        let [cores_used, cores_total] = cores_milli.map(|milli| f64::from(milli) / 1e3);
        let [memory_used, memory_total] = memory.map(|bytes| bytes as f64 / GIB);
        Self { time, cores_used, cores_total, memory_used, memory_total }
    }

    pub(crate) fn read(text: &[u8]) -> Option<Self> {
        let mut fields = str::from_utf8(text).ok()?.split(':').map(str::parse::<f64>);
        let mut next = || fields.next()?.ok();
        Some(Self {
            time: next()? as i64,
            cores_used: next()?,
            cores_total: next()?,
            memory_used: next()?,
            memory_total: next()?,
        })
    }

    /// When a worker said something, whatever it was.
    pub(crate) fn time_of(text: &[u8]) -> Option<i64> {
        let text = str::from_utf8(text).ok()?;
        let seconds = text.split(':').next()?.parse::<f64>().ok()?;
        seconds.is_finite().then_some(seconds as i64)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { time, cores_used, cores_total, memory_used, memory_total } = self;
        write!(f, "{time}:{cores_used:.2}:{cores_total:.2}:{memory_used:.2}:{memory_total:.2}")
    }
}

/// What stands with a task that succeeded.
pub(crate) fn finished_value(worker: &str, stdout: &Captured<'_>) -> String {
    if stdout.bytes >= OUTPUT_MAX {
        return format!("{worker}: stdout is too large");
    }
    format!("{worker}: {}", json(kept(stdout).trim()))
}

/// What stands with a task that failed: what it wrote about it, and how it ended unless that was
/// an exit code, for then nobody else would say so.
pub(crate) fn failure_reason(worker: &str, end: &TaskEnd<'_>) -> String {
    let mut text = match end.kind {
        EndKind::Exited => String::new(),
        EndKind::OutOfMemory => {
            format!("require too much dram (worker {worker}): {}. ", end.summary())
        }
        _ => format!("{}. ", end.summary()),
    };
    let stderr = kept(&end.stderr);
    if end.stderr.bytes >= OUTPUT_MAX {
        text += "stderr is too large. ";
        text.extend(stderr.chars().take(REASON_CHARS));
    } else {
        text += stderr.trim();
    }
    json(text.trim_end())
}

/// What there is of an output. A report carries the end of it.
fn kept(output: &Captured<'_>) -> String {
    let text = String::from_utf8_lossy(output.tail);
    let cut = output.bytes.saturating_sub(output.tail.len() as u64);
    if cut == 0 { text.into_owned() } else { format!("[{cut} bytes before this] {text}") }
}

/// A string in JSON, in ASCII as the original writes it: its readers may know nothing else.
fn json(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    if json.is_ascii() {
        return json;
    }
    let mut ascii = String::with_capacity(2 * json.len());
    for character in json.chars() {
        if character.is_ascii() {
            ascii.push(character);
            continue;
        }
        for unit in &*character.encode_utf16(&mut [0; 2]) {
            ascii += &format!("\\u{unit:04x}");
        }
    }
    ascii
}

#[cfg(test)]
mod tests;
