//! Walks a TOML file with the lines at hand, so that every error names one and the nearest right
//! name, and keys keep their order.

use crate::error::StudyError;
use crate::names::hint;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// How much of a wrong value an error shows.
const SHOWN_CHARS_MAX: usize = 60;

/// The text of a file.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) text: &'a str,
    pub(super) file: &'a str,
}

/// A key with its value.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    source: Source<'a>,
    pub(super) key: &'a str,
    /// Where the key stands; of an element of a list, where that stands.
    at: usize,
    value: &'a Spanned<DeValue<'a>>,
}

/// A table whose keys are all known.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    source: Source<'a>,
    name: &'a str,
    at: usize,
    table: &'a DeTable<'a>,
}

pub(super) type Read<T> = Result<T, StudyError>;

impl<'a> Source<'a> {
    pub(super) fn parse(self) -> Read<DeTable<'a>> {
        match DeTable::parse(self.text) {
            Ok(root) => Ok(root.into_inner()),
            Err(error) => {
                let message = format!("is not valid TOML: {}", error.message());
                let at = error.span().map(|span| span.start);
                Err(self.error(at, message))
            }
        }
    }

    pub(super) fn error(self, at: Option<usize>, message: String) -> StudyError {
        let file = self.file.to_owned();
        let Some(at) = at else { return StudyError::InFile { file, message } };
        StudyError::AtLine { file, line: self.line(at), message }
    }

    fn line(self, at: usize) -> usize {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }
}

impl<'a> Table<'a> {
    /// A table with the keys that it may have; with none given, any.
    pub(super) fn open(
        source: Source<'a>,
        name: &'a str,
        at: usize,
        table: &'a DeTable<'a>,
        known: &[&str],
    ) -> Read<Self> {
        let opened = Self { source, name, at, table };
        for entry in opened.entries() {
            if !known.is_empty() && !known.contains(&entry.key) {
                let place = if name.is_empty() { String::new() } else { format!(" in [{name}]") };
                let hint = hint(entry.key, known.iter().copied());
                return Err(entry.error(format!("unknown key \"{}\"{place}; {hint}", entry.key)));
            }
        }
        Ok(opened)
    }

    /// All keys, in the order of the file.
    pub(super) fn entries(self) -> Vec<Entry<'a>> {
        let mut entries: Vec<Entry<'a>> = Vec::new();
        for (key, value) in self.table {
            let at = key.span().start;
            let key: &'a str = key.get_ref();
            entries.push(Entry { source: self.source, key, at, value });
        }
        entries.sort_by_key(|entry| entry.at);
        entries
    }

    pub(super) fn get(self, key: &str) -> Option<Entry<'a>> {
        self.entries().into_iter().find(|entry| entry.key == key)
    }

    /// A key that may not be left out.
    pub(super) fn required(self, key: &str, what: &str) -> Read<Entry<'a>> {
        self.get(key).ok_or_else(|| {
            let place = if self.name.is_empty() { "the file" } else { self.name };
            self.error(format!("\"{key}\" is missing in {place}; {what}"))
        })
    }

    /// An error about the table as a whole.
    pub(super) fn error(self, message: String) -> StudyError {
        let at = (!self.name.is_empty()).then_some(self.at);
        self.source.error(at, message)
    }

    /// The line where it begins.
    pub(super) fn line(self) -> usize {
        self.source.line(self.at)
    }
}

impl<'a> Entry<'a> {
    pub(super) fn line(self) -> usize {
        self.source.line(self.at)
    }

    pub(super) fn error(self, message: String) -> StudyError {
        self.source.error(Some(self.at), message)
    }

    /// An error about the value: `key = value` and why not.
    pub(super) fn refuse(self, why: &str) -> StudyError {
        let source = self.source.text.get(self.value.span()).unwrap_or_default();
        let line = source.split_whitespace().collect::<Vec<_>>().join(" ");
        let shown = match line.char_indices().nth(SHOWN_CHARS_MAX) {
            Some((cut, _)) => format!("{}...", &line[..cut]),
            None => line,
        };
        self.error(format!("{} = {shown} {why}", self.key))
    }

    pub(super) fn text(self) -> Read<&'a str> {
        let text = self.value.get_ref().as_str();
        text.ok_or_else(|| self.refuse("is no text; write it in quotes"))
    }

    pub(super) fn boolean(self) -> Option<bool> {
        self.value.get_ref().as_bool()
    }

    /// A text or a number, as it is written.
    pub(super) fn scalar(self) -> Read<String> {
        match self.value.get_ref() {
            DeValue::String(text) => Ok(text.to_string()),
            DeValue::Integer(number) => Ok(number.to_string()),
            DeValue::Float(number) => Ok(number.to_string()),
            DeValue::Boolean(value) => Ok(value.to_string()),
            _ => Err(self.refuse("is no single value; write a text in quotes, or a number")),
        }
    }

    pub(super) fn integer(self, bounds: &std::ops::RangeInclusive<u32>) -> Read<u32> {
        let number = match self.value.get_ref() {
            DeValue::Integer(number) => u32::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => return Err(self.refuse("is no whole number")),
        };
        number.filter(|number| bounds.contains(number)).ok_or_else(|| {
            self.refuse(&format!("is outside {}..={}", bounds.start(), bounds.end()))
        })
    }

    pub(super) fn is_list(self) -> bool {
        self.value.get_ref().is_array()
    }

    /// The elements of a list; they have the key of the list.
    pub(super) fn list(self) -> Read<Vec<Self>> {
        let Some(list) = self.value.get_ref().as_array() else {
            return Err(self.refuse("is no list; write it in brackets"));
        };
        let element = |value: &'a Spanned<DeValue<'a>>| {
            // Of a table in double brackets that is its heading.
            let at = value.span().start;
            Self { source: self.source, key: self.key, at, value }
        };
        Ok(list.iter().map(element).collect())
    }

    pub(super) fn is_table(self) -> bool {
        self.value.get_ref().is_table()
    }

    /// A table, with the keys that it may have.
    pub(super) fn table(self, name: &'a str, known: &[&str]) -> Read<Table<'a>> {
        let Some(table) = self.value.get_ref().as_table() else {
            return Err(self.refuse(&format!("is no table; write [{name}]")));
        };
        Table::open(self.source, name, self.at, table, known)
    }
}
