//! A task as a file describes it, before any queue has seen it.

use crate::fault::Fault;
use crate::show::TaskText;
use punctual_wire::task::{PAYLOAD_BYTES_MAX, PayloadKind, TaskKey, TaskPayload, Variables};
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_128;

/// A task that could be submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskDraft {
    /// The line of the file that it comes from, counted from 1.
    pub line: usize,
    /// What the command is.
    pub kind: PayloadKind,
    /// What is run. Bytes, since a command may name files whose names are not UTF-8.
    pub command: Vec<u8>,
    /// For people; may be empty.
    pub name: String,
    /// The directory to run in; `None`: where the worker runs.
    pub cwd: Option<String>,
    /// Variables that are added to the worker's environment.
    pub env: Vec<(String, String)>,
    /// Higher first.
    pub priority: i32,
    /// Bytes of memory that it asks for.
    pub memory: u64,
    /// Thousandths of a core that it asks for.
    pub cores_milli: u32,
    /// After so long it is killed; `None`: never.
    pub timeout: Option<Duration>,
    /// How often it is tried again when it fails; `None`: as often as is usual.
    pub retries: Option<u16>,
    /// Ids of the tasks that must succeed before.
    pub after: Vec<String>,
    /// What makes it the same task as another one of its job.
    pub key: TaskKey,
    /// It has an id, by which others may say that they come after it.
    pub is_named: bool,
}

impl TaskDraft {
    /// What a worker gets to see of it: an encoded [`TaskPayload`].
    ///
    /// # Panics
    /// Never: variables that were just written can be read.
    #[must_use]
    pub fn payload(&self) -> Vec<u8> {
        let mut variables = Vec::new();
        let pairs = self.env.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        Variables::encode(&mut variables, pairs);
        let payload = TaskPayload {
            kind: self.kind,
            name: self.name.as_bytes(),
            cwd: self.cwd.as_deref().unwrap_or_default().as_bytes(),
            command: &self.command,
            variables: Variables::read(&variables).expect("variables just written are whole"),
        };
        let mut bytes = Vec::with_capacity(payload.encoded_len());
        payload.write_to(&mut bytes);
        bytes
    }

    /// Keys of the tasks that must succeed before.
    #[must_use]
    pub fn after_keys(&self) -> Vec<TaskKey> {
        self.after.iter().map(|id| key_of(id.as_bytes())).collect()
    }

    /// The timeout in milliseconds as a queue wants it: 0 is none, and less than one is one.
    #[must_use]
    pub fn timeout_ms(&self) -> u64 {
        let millis = self.timeout.map_or(0, |timeout| timeout.as_nanos().div_ceil(1_000_000));
        u64::try_from(millis).unwrap_or(u64::MAX)
    }

    /// How often it may be tried in all.
    #[must_use]
    pub fn attempts_max(&self, retries_default: u16) -> u16 {
        self.retries.unwrap_or(retries_default).saturating_add(1)
    }

    /// How the original would show it.
    #[must_use]
    pub fn text(&self) -> TaskText<'_> {
        TaskText {
            kind: self.kind,
            priority: self.priority,
            memory: self.memory,
            cores_milli: self.cores_milli,
            command: &self.command,
        }
    }

    /// Whether a queue and a worker could take it.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        let texts = self.env.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
        let cwd = self.cwd.as_deref().unwrap_or_default().as_bytes();
        let mut bytes = 0;
        for text in texts.chain([cwd, self.name.as_bytes(), self.command.as_slice()]) {
            bytes += text.len();
            if text.contains(&0) {
                return Err(Fault::Nul);
            }
        }
        // Encoding costs an allocation, and hardly any task is even near the limit.
        if bytes + 16 * self.env.len() > PAYLOAD_BYTES_MAX / 2 {
            let bytes = self.payload().len();
            if bytes > PAYLOAD_BYTES_MAX {
                return Err(Fault::PayloadTooLarge { bytes });
            }
        }
        Ok(())
    }
}

/// The key of the task with this text: a whole line of the original's format, or an id.
#[must_use]
pub fn key_of(text: &[u8]) -> TaskKey {
    TaskKey(xxh3_128(text))
}
