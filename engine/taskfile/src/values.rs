//! Values of a line in JSON, each with the forms that it may have.

use crate::ARRAY_TASKS_MAX;
use crate::draft::TaskDraft;
use crate::fault::{Fault, shown};
use crate::quote::quote_words;
use crate::units::{parse_bytes, parse_cores, parse_duration};
use punctual_wire::task::{AFTER_MAX, PayloadKind};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;
use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

/// More retries than this, and the attempts could not be counted.
const RETRIES_MAX: u16 = u16::MAX - 1;

/// The keys and values of an object, in their order. A key that is there twice is an error.
pub(crate) struct Object(pub(crate) Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object such as {\"command\": \"./run\"}")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Object, M::Error> {
                let mut pairs: Vec<(String, Value)> = Vec::new();
                while let Some(key) = map.next_key::<String>()? {
                    if pairs.iter().any(|(known, _)| *known == key) {
                        let key = shown(key.as_bytes());
                        return Err(M::Error::custom(format_args!("\"{key}\" is there twice")));
                    }
                    pairs.push((key, map.next_value()?));
                }
                Ok(Object(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// The indices of an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Array {
    pub(crate) from: i64,
    pub(crate) step: i64,
    /// At least 1. The last index still is an `i64`.
    pub(crate) count: u64,
}

/// What is run.
pub(crate) enum Command {
    Line(String),
    /// A program and its arguments.
    Words(Vec<String>),
}

impl Command {
    pub(crate) fn read(key: &str, value: &Value) -> Result<Self, Fault> {
        let Value::Array(items) = value else {
            return text(key, value).map(Self::Line);
        };
        let words = items.iter().map(scalar).collect::<Option<Vec<_>>>();
        match words {
            Some(words) if !words.is_empty() => Ok(Self::Words(words)),
            _ => Err(wrong(key, value, "a text, or a list of a program and its arguments")),
        }
    }

    /// The line for a task of this kind.
    pub(crate) fn into_line(self, kind: PayloadKind) -> Result<String, Fault> {
        match (self, kind) {
            (Self::Line(line), _) => Ok(line),
            (Self::Words(words), PayloadKind::Python) if !is_script(&words) => {
                let why = "a list of the kind \"python\" begins with a script, NAME.py; a program \
                           itself is a text";
                Err(Fault::value("command", why))
            }
            (Self::Words(words), _) => Ok(quote_words(&words)),
        }
    }
}

/// Whether a worker would see that the first word names a program in Python.
fn is_script(words: &[String]) -> bool {
    let first = &words[..1];
    words[0].ends_with(".py") && quote_words(first) == words[0]
}

pub(crate) fn text(key: &str, value: &Value) -> Result<String, Fault> {
    value.as_str().map(str::to_owned).ok_or_else(|| wrong(key, value, "a text"))
}

/// A text that is not empty, or a number: programs like to count their tasks.
pub(crate) fn id(key: &str, value: &Value) -> Result<String, Fault> {
    match value {
        Value::String(text) if !text.is_empty() => Ok(text.clone()),
        Value::Number(number) if !number.is_f64() => Ok(number.to_string()),
        _ => Err(wrong(key, value, "a text or whole number")),
    }
}

pub(crate) fn kind(key: &str, value: &Value) -> Result<PayloadKind, Fault> {
    let kind = PayloadKind::ALL.into_iter().find(|kind| value.as_str() == Some(kind.name()));
    kind.ok_or_else(|| wrong(key, value, "one of \"shell\", \"python\", \"noop\""))
}

pub(crate) fn priority(key: &str, value: &Value) -> Result<i32, Fault> {
    let number = value.as_i64().and_then(|number| i32::try_from(number).ok());
    number.ok_or_else(|| wrong(key, value, "a whole number from -2147483648 to 2147483647"))
}

pub(crate) fn retries(key: &str, value: &Value) -> Result<u16, Fault> {
    let number = value.as_u64().and_then(|number| u16::try_from(number).ok());
    let number = number.filter(|number| *number <= RETRIES_MAX);
    number.ok_or_else(|| wrong(key, value, "a whole number from 0 to 65534"))
}

/// A timeout: a number of seconds, or a text. 0 means none.
pub(crate) fn timeout(key: &str, value: &Value) -> Result<Option<Duration>, Fault> {
    let text = scalar(value).filter(|_| !value.is_boolean());
    let text = text.ok_or_else(|| wrong(key, value, "a number of seconds, or a text"))?;
    let timeout = parse_duration(&text).map_err(|error| Fault::value(key, error.to_string()))?;
    Ok((!timeout.is_zero()).then_some(timeout))
}

pub(crate) fn environment(key: &str, value: &Value) -> Result<Vec<(String, String)>, Fault> {
    let object = value.as_object().ok_or_else(|| wrong(key, value, "an object of variables"))?;
    let mut variables = Vec::with_capacity(object.len());
    for (name, value) in object {
        if name.is_empty() || name.contains('=') {
            return Err(Fault::value(
                key,
                format!("\"{}\" names no variable", shown(name.as_bytes())),
            ));
        }
        let value = scalar(value).ok_or_else(|| wrong(name, value, "a text or a number"))?;
        variables.push((name.clone(), value));
    }
    // By name, so that the order in which they were written does not matter.
    variables.sort();
    Ok(variables)
}

/// Puts what a task asks for into its draft.
pub(crate) fn resources(key: &str, value: &Value, draft: &mut TaskDraft) -> Result<(), Fault> {
    let object = value.as_object();
    let object = object.ok_or_else(|| wrong(key, value, "{\"memory\": ..., \"cores\": ...}"))?;
    for (key, value) in object {
        match key.as_str() {
            "memory" => {
                let text = scalar(value).filter(|_| value.is_string() || value.is_u64());
                let text = text.ok_or_else(|| {
                    wrong(key, value, "a whole number of bytes, or a text such as \"2GiB\"")
                })?;
                draft.memory =
                    parse_bytes(&text).map_err(|error| Fault::value(key, error.to_string()))?;
            }
            "cores" => {
                let text = scalar(value).filter(|_| !value.is_boolean());
                let text = text.ok_or_else(|| wrong(key, value, "a number"))?;
                draft.cores_milli =
                    parse_cores(&text).map_err(|error| Fault::value(key, error.to_string()))?;
            }
            _ => {
                return Err(Fault::unknown_key(key, &["memory", "cores"], " in \"resources\""));
            }
        }
    }
    Ok(())
}

/// Ids, each once; one of them may go without brackets.
pub(crate) fn after(key: &str, value: &Value) -> Result<Vec<String>, Fault> {
    let items = match value {
        Value::Array(items) => items.as_slice(),
        item => std::slice::from_ref(item),
    };
    let mut ids = Vec::with_capacity(items.len());
    let mut known = HashSet::new();
    for item in items {
        let id = id(key, item)?;
        if known.insert(id.clone()) {
            ids.push(id);
        }
    }
    if ids.len() > AFTER_MAX {
        let why = format!("{} ids, and {AFTER_MAX} is the most; put a task between", ids.len());
        return Err(Fault::value(key, why));
    }
    Ok(ids)
}

pub(crate) fn array(key: &str, value: &Value) -> Result<Array, Fault> {
    let object = value.as_object();
    let object = object.ok_or_else(|| wrong(key, value, "{\"from\": 0, \"to\": 99}"))?;
    let (mut from, mut to, mut step) = (0, None, 1);
    for (key, value) in object {
        let number = value.as_i64().ok_or_else(|| wrong(key, value, "a whole number"));
        match key.as_str() {
            "from" => from = number?,
            "to" => to = Some(number?),
            "step" => step = number?,
            _ => return Err(Fault::unknown_key(key, &["from", "to", "step"], " in \"array\"")),
        }
    }
    let to = to.ok_or_else(|| Fault::value(key, "\"to\", the last index, is missing"))?;
    if step < 1 || from > to {
        let why = format!("from {from} to {to} by {step}: \"step\" has to go up to \"to\"");
        return Err(Fault::value(key, why));
    }
    let count = (i128::from(to) - i128::from(from)) / i128::from(step) + 1;
    match u64::try_from(count) {
        Ok(count) if count <= ARRAY_TASKS_MAX => Ok(Array { from, step, count }),
        _ => Err(Fault::value(key, format!("{count} tasks, and {ARRAY_TASKS_MAX} is the most"))),
    }
}

/// The text of a text, number or truth value.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(is_true) => Some(is_true.to_string()),
        _ => None,
    }
}

fn wrong(key: &str, value: &Value, wanted: &str) -> Fault {
    Fault::value(key, format!("{} is not {wanted}", shown(value.to_string().as_bytes())))
}
