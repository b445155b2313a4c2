//! Lines in JSON: each an object that describes a task, or an array of them.

use crate::ARRAY_INDEX_VARIABLE;
use crate::canonical::canonical;
use crate::draft::{TaskDraft, key_of};
use crate::fault::Fault;
use crate::values::{self, Array, Command, Object};
use punctual_wire::task::{PayloadKind, TaskKey};
use serde_json::Value;
use std::collections::HashSet;
use std::time::Duration;

/// Where the index of an array goes.
const INDEX: &str = "{index}";

const KEYS: [&str; 12] = [
    "command",
    "kind",
    "id",
    "name",
    "env",
    "cwd",
    "resources",
    "priority",
    "timeout",
    "retries",
    "after",
    "array",
];

/// What a line says: a task, or what all tasks of an array have in common.
#[derive(Debug)]
pub(crate) struct Template {
    /// Everything but line and key.
    base: TaskDraft,
    id: Option<String>,
    /// It says something about the timeout, be it that there is none.
    has_timeout: bool,
    array: Option<Array>,
}

impl Template {
    pub(crate) fn read(line: &[u8]) -> Result<Self, Fault> {
        let parsed = serde_json::from_slice::<Object>(line);
        let Object(pairs) = parsed.map_err(|error| Fault::json(&error))?;
        let base = TaskDraft {
            line: 0,
            kind: PayloadKind::Shell,
            command: Vec::new(),
            name: String::new(),
            cwd: None,
            env: Vec::new(),
            priority: 0,
            memory: 0,
            cores_milli: 0,
            timeout: None,
            retries: None,
            after: Vec::new(),
            key: TaskKey::default(),
            is_named: false,
        };
        let mut template = Self { base, id: None, has_timeout: false, array: None };
        let mut command = None;
        for (key, value) in &pairs {
            // Programs write null for what is not there.
            let is_known = KEYS.contains(&key.as_str());
            match key.as_str() {
                _ if is_known && value.is_null() => {}
                "command" => command = Some(Command::read(key, value)?),
                _ => template.set(key, value)?,
            }
        }
        template.finish(command)
    }

    fn set(&mut self, key: &str, value: &Value) -> Result<(), Fault> {
        let base = &mut self.base;
        match key {
            "kind" => base.kind = values::kind(key, value)?,
            "id" => self.id = Some(values::id(key, value)?),
            "name" => base.name = values::text(key, value)?,
            "env" => base.env = values::environment(key, value)?,
            "cwd" => base.cwd = Some(values::text(key, value)?).filter(|cwd| !cwd.is_empty()),
            "resources" => values::resources(key, value, base)?,
            "priority" => base.priority = values::priority(key, value)?,
            "timeout" => {
                base.timeout = values::timeout(key, value)?;
                self.has_timeout = true;
            }
            "retries" => base.retries = Some(values::retries(key, value)?),
            "after" => base.after = values::after(key, value)?,
            "array" => self.array = Some(values::array(key, value)?),
            "memory" | "cores" => {
                let hint = format!("; it belongs into \"resources\": {{\"{key}\": ...}}");
                return Err(Fault::UnknownKey { key: key.to_owned(), place: "", hint });
            }
            // By its letters it is nearer to "cwd".
            "cmd" => {
                let hint = "; did you mean \"command\"?".to_owned();
                return Err(Fault::UnknownKey { key: key.to_owned(), place: "", hint });
            }
            _ => return Err(Fault::unknown_key(key, &KEYS, "")),
        }
        Ok(())
    }

    /// Checks what only all keys together can tell.
    fn finish(mut self, command: Option<Command>) -> Result<Self, Fault> {
        let base = &mut self.base;
        let line = command.map(|command| command.into_line(base.kind)).transpose()?;
        let line = line.unwrap_or_default();
        if line.trim().is_empty() && base.kind != PayloadKind::Noop {
            return Err(Fault::NoCommand);
        }
        base.command = line.into_bytes();
        base.is_named = self.id.is_some();
        if let Some(id) = &self.id {
            if self.array.is_some() && !id.contains(INDEX) {
                let why = format!("the tasks of an array need an id each; put {INDEX} into it");
                return Err(Fault::value("id", why));
            }
            if base.name.is_empty() {
                base.name.clone_from(id);
            }
        }
        let has_index = base.env.iter().any(|(name, _)| name == ARRAY_INDEX_VARIABLE);
        if self.array.is_some() && has_index {
            return Err(Fault::value(ARRAY_INDEX_VARIABLE, "the array gives it to its tasks"));
        }
        Ok(self)
    }

    pub(crate) fn array(&self) -> Option<Array> {
        self.array
    }

    /// The task, or that of the array with this index. The number stands for all that it says: two
    /// tasks with one id are the same only if it is equal too.
    pub(crate) fn draft(
        &self,
        line: usize,
        index: Option<i64>,
        default_timeout: Option<Duration>,
    ) -> Result<(TaskDraft, u64), Fault> {
        let mut draft = self.base.clone();
        draft.line = line;
        let mut id = self.id.clone();
        if let Some(index) = index {
            put_index(&mut draft, id.as_mut(), index);
        }
        draft.check()?;
        let content = key_of(canonical(&draft, self.has_timeout).as_bytes());
        draft.key = id.map_or(content, |id| key_of(id.as_bytes()));
        if !self.has_timeout {
            draft.timeout = default_timeout;
        }
        Ok((draft, content_of(content)))
    }
}

/// A short form of a key, for telling whether two tasks say the same: half of a hash is a hash.
pub(crate) fn content_of(key: TaskKey) -> u64 {
    key.0 as u64
}

fn put_index(draft: &mut TaskDraft, id: Option<&mut String>, index: i64) {
    let index = index.to_string();
    let put = |text: &mut String| {
        if text.contains(INDEX) {
            *text = text.replace(INDEX, &index);
        }
    };
    if let Ok(mut command) = String::from_utf8(std::mem::take(&mut draft.command)) {
        put(&mut command);
        draft.command = command.into_bytes();
    }
    put(&mut draft.name);
    id.into_iter().for_each(put);
    draft.cwd.iter_mut().for_each(put);
    draft.env.iter_mut().for_each(|(_, value)| put(value));
    draft.after.iter_mut().for_each(put);
    // Now two of them may be one.
    let mut known = HashSet::new();
    draft.after.retain(|id| known.insert(id.clone()));
    draft.env.push((ARRAY_INDEX_VARIABLE.to_owned(), index.clone()));
    draft.env.sort();
}
