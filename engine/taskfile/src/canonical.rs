//! The one text of a task that JSON describes. It is what makes two tasks without an id the same,
//! so blanks, the order of keys, and `10m` for `600` make no difference.
//!
//! Once published, the text of a task must not change: a file that is submitted again would be
//! taken for other tasks. A key that is added later is left out where it is not given.

use crate::draft::TaskDraft;
use serde::{Serialize, Serializer};
use std::borrow::Cow;

#[derive(Serialize)]
struct Canonical<'a> {
    kind: &'static str,
    command: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cwd: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    env: Option<Environment<'a>>,
    resources: Resources,
    priority: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retries: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<&'a [String]>,
}

#[derive(Serialize)]
struct Resources {
    memory: u64,
    /// A text: how a floating-point number is written is not ours to keep the same.
    cores: String,
}

struct Environment<'a>(&'a [(String, String)]);

impl Serialize for Environment<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// The text of a task that has no more than its line says, which may be that it has no timeout.
pub(crate) fn canonical(draft: &TaskDraft, has_timeout: bool) -> String {
    let timeout = draft.timeout.unwrap_or_default();
    let text = Canonical {
        kind: draft.kind.name(),
        command: String::from_utf8_lossy(&draft.command),
        name: Some(draft.name.as_str()).filter(|name| !name.is_empty()),
        cwd: draft.cwd.as_deref(),
        env: (!draft.env.is_empty()).then_some(Environment(&draft.env)),
        resources: Resources {
            memory: draft.memory,
            cores: format!("{}.{:03}", draft.cores_milli / 1000, draft.cores_milli % 1000),
        },
        priority: draft.priority,
        timeout: has_timeout.then(|| format!("{}ns", timeout.as_nanos())),
        retries: draft.retries,
        after: (!draft.after.is_empty()).then_some(draft.after.as_slice()),
    };
    serde_json::to_string(&text).expect("texts and whole numbers always are JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Template;

    fn draft(line: &str) -> TaskDraft {
        Template::read(line.as_bytes()).unwrap().draft(1, None, None).unwrap().0
    }

    #[test]
    fn the_text_says_all_and_nothing_twice() {
        let plain = draft(r#"{"command": "./run"}"#);
        assert_eq!(
            canonical(&plain, false),
            "{\"kind\":\"shell\",\"command\":\"./run\",\
             \"resources\":{\"memory\":0,\"cores\":\"0.000\"},\"priority\":0}"
        );
        let full = draft(
            r#"{"kind": "python", "command": "x", "name": "n", "cwd": "/d",
                "env": {"B": 1, "A": "é"},
                "resources": {"cores": 1.5, "memory": "1KiB"}, "priority": -2, "timeout": "1m",
                "retries": 3, "after": ["a", 7]}"#,
        );
        assert_eq!(
            canonical(&full, true),
            "{\"kind\":\"python\",\"command\":\"x\",\"name\":\"n\",\"cwd\":\"/d\",\
             \"env\":{\"A\":\"é\",\"B\":\"1\"},\"resources\":{\"memory\":1024,\"cores\":\"1.500\"},\
             \"priority\":-2,\"timeout\":\"60000000000ns\",\"retries\":3,\"after\":[\"a\",\"7\"]}"
        );
    }

    #[test]
    fn the_text_is_a_line_that_describes_the_same_task() {
        let lines = [
            r#"{"command": "a 'b' \"c\" \\ \n\u0001 é"}"#,
            r#"{"command": ["a b", "c"], "env": {"A": "=", "B": ""}, "timeout": 0.0015}"#,
            r#"{"kind": "noop", "timeout": 0, "retries": 0, "resources": {"cores": 4294967.295}}"#,
            r#"{"command": "x", "resources": {"memory": 18446744073709551615}, "after": "y"}"#,
        ];
        for line in lines {
            let first = draft(line);
            let text = canonical(&first, line.contains("timeout"));
            assert_eq!(draft(&text), first, "{text}");
        }
    }
}
