//! Walks a parsed TOML file by hand, so that every error has a line, the text of the value as it is
//! written, and the nearest right name.

use super::check::Violation;
use super::names::nearest;
use super::{ConfigError, TextError, parse_bit_rate, parse_bytes, parse_duration};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The name of a top level that has more than sections.
const TOP: &str = "top level";
/// How much of a wrong value an error shows.
const SHOWN_CHARS_MAX: usize = 60;

/// A TOML file, with what is needed to say where something is in it.
pub(super) struct Document<'a> {
    file: &'a str,
    text: &'a str,
    root: DeTable<'a>,
}

impl<'a> Document<'a> {
    pub(super) fn parse(text: &'a str, file: &'a str) -> Result<Self, ConfigError> {
        match DeTable::parse(text) {
            Ok(root) => Ok(Self { file, text, root: root.into_inner() }),
            Err(error) => {
                let message = format!("is not valid TOML: {}", error.message());
                Err(error_at(file, text, error.span().map(|span| span.start), message))
            }
        }
    }

    /// The top level, where nothing but these sections may stand.
    pub(super) fn root(
        &self,
        sections: &'static [&'static str],
    ) -> Result<Section<'_>, ConfigError> {
        Section::open(self, None, "", sections, Some(&self.root))
    }

    /// The top level, where these keys and sections may stand.
    pub(super) fn top(&self, keys: &'static [&'static str]) -> Result<Section<'_>, ConfigError> {
        Section::open(self, None, TOP, keys, Some(&self.root))
    }

    /// Finds the line of a violation: that of the first of its keys that the file has.
    pub(super) fn locate(&self, violation: Violation) -> ConfigError {
        let at = violation.keys.iter().find_map(|key| self.find(key));
        self.error(at, violation.message)
    }

    /// Where the key with this full name stands.
    fn find(&self, path: &str) -> Option<usize> {
        let mut table = Some(&self.root);
        let mut at = None;
        for name in path.split('.') {
            let (key, value) = table?.get_key_value(name)?;
            at = Some(key.span().start);
            table = value.get_ref().as_table();
        }
        at
    }

    fn error(&self, at: Option<usize>, message: String) -> ConfigError {
        error_at(self.file, self.text, at, message)
    }
}

/// An error at a byte of the text, or about the whole file.
fn error_at(file: &str, text: &str, at: Option<usize>, message: String) -> ConfigError {
    let file = file.to_owned();
    let Some(at) = at else { return ConfigError::InFile { file, message } };
    let before = &text.as_bytes()[..at.min(text.len())];
    let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
    ConfigError::AtLine { file, line, message }
}

/// One table of the file, or the place of one that the file leaves out.
pub(super) struct Section<'a> {
    document: &'a Document<'a>,
    /// Where its name stands in the file.
    at: Option<usize>,
    /// Full name; empty for the top level.
    name: &'static str,
    /// The keys that it may have.
    keys: &'static [&'static str],
    table: Option<&'a DeTable<'a>>,
}

impl<'a> Section<'a> {
    /// Refuses a table with a key that is not known, before anything else about it is looked at:
    /// a misspelt key must not show up as a missing one.
    fn open(
        document: &'a Document<'a>,
        at: Option<usize>,
        name: &'static str,
        keys: &'static [&'static str],
        table: Option<&'a DeTable<'a>>,
    ) -> Result<Self, ConfigError> {
        let section = Self { document, at, name, keys, table };
        let unknown = table
            .into_iter()
            .flat_map(DeTable::keys)
            .filter(|key| {
                let key: &str = key.get_ref();
                !keys.contains(&key)
            })
            .min_by_key(|key| key.span().start);
        match unknown {
            None => Ok(section),
            Some(key) => {
                let message = section.unknown(key.get_ref());
                Err(document.error(Some(key.span().start), message))
            }
        }
    }

    fn unknown(&self, key: &str) -> String {
        let hint = match nearest(key, self.keys.iter().copied()) {
            Some(name) => format!("did you mean \"{name}\"?"),
            None => format!("known here: {}", self.keys.join(", ")),
        };
        match self.name {
            "" => format!("unknown section \"{key}\"; {hint}"),
            TOP => format!("unknown key \"{key}\"; {hint}"),
            name => format!("unknown key \"{key}\" in [{name}]; {hint}"),
        }
    }

    /// The section with this full name within this one; an empty one where the file has none.
    pub(super) fn section(
        &self,
        name: &'static str,
        keys: &'static [&'static str],
    ) -> Result<Self, ConfigError> {
        let key = name.rsplit_once('.').map_or(name, |(_, key)| key);
        let Some(entry) = self.entry(key) else {
            return Self::open(self.document, None, name, keys, None);
        };
        let Some(table) = entry.value.get_ref().as_table() else {
            return Err(entry.wrong_type(&format!("a section, [{name}]")));
        };
        Self::open(self.document, Some(entry.at), name, keys, Some(table))
    }

    /// The tables of a list, `[[name]]`; none where the file has none.
    pub(super) fn tables(
        &self,
        name: &'static str,
        keys: &'static [&'static str],
    ) -> Result<Vec<Self>, ConfigError> {
        let Some(entry) = self.entry(name) else { return Ok(Vec::new()) };
        let wrong_type = || entry.wrong_type(&format!("a list of sections, [[{name}]]"));
        let list = entry.value.get_ref().as_array().ok_or_else(wrong_type)?;
        let open = |value: &'a Spanned<DeValue<'a>>| {
            let table = value.get_ref().as_table().ok_or_else(wrong_type)?;
            // The whole list has one name: a table is found by its first key.
            let first = table.keys().map(|key| key.span().start).min();
            Self::open(self.document, first.or(Some(entry.at)), name, keys, Some(table))
        };
        list.iter().map(open).collect()
    }

    /// Whether the file has this section at all.
    pub(super) fn is_given(&self) -> bool {
        self.table.is_some()
    }

    /// An error about the section as a whole.
    pub(super) fn refuse(&self, message: String) -> ConfigError {
        self.document.error(self.at, message)
    }

    /// Reads a key into a field; a key that the file leaves out keeps the field's default.
    pub(super) fn set<T>(
        &self,
        key: &'static str,
        field: &mut T,
        read: impl FnOnce(&Entry<'a>) -> Result<T, ConfigError>,
    ) -> Result<(), ConfigError> {
        if let Some(entry) = self.entry(key) {
            *field = read(&entry)?;
        }
        Ok(())
    }

    /// A key that may not be left out.
    pub(super) fn required(&self, key: &'static str, what: &str) -> Result<Entry<'a>, ConfigError> {
        self.entry(key).ok_or_else(|| {
            let place = match self.name {
                TOP => String::new(),
                name => format!(" in [{name}]"),
            };
            let message = format!("\"{key}\" is missing{place}; {what}");
            self.document.error(self.at, message)
        })
    }

    fn entry(&self, key: &'static str) -> Option<Entry<'a>> {
        debug_assert!(self.keys.contains(&key), "{key} is not listed for [{}]", self.name);
        let (name, value) = self.table?.get_key_value(key)?;
        Some(Entry { document: self.document, name: key.to_owned(), at: name.span().start, value })
    }
}

/// One value of the file: of a key, or of an element of a list.
pub(super) struct Entry<'a> {
    document: &'a Document<'a>,
    name: String,
    at: usize,
    value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Entry<'a> {
    /// A whole number within bounds.
    pub(super) fn integer<T>(&self, bounds: &RangeInclusive<T>) -> Result<T, ConfigError>
    where
        T: PartialOrd + Display + TryFrom<i128>,
    {
        let DeValue::Integer(number) = self.value.get_ref() else {
            return Err(self.wrong_type("a whole number"));
        };
        i128::from_str_radix(number.as_str(), number.radix())
            .ok()
            .and_then(|number| T::try_from(number).ok())
            .filter(|number| bounds.contains(number))
            .ok_or_else(|| {
                self.refuse(&format!("is outside {}..={}", bounds.start(), bounds.end()))
            })
    }

    /// A number with or without a fraction, within bounds.
    pub(super) fn number(&self, bounds: &RangeInclusive<f64>) -> Result<f64, ConfigError> {
        let number = match self.value.get_ref() {
            DeValue::Float(number) => number.as_str().parse::<f64>().ok(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().parse().ok(),
            _ => return Err(self.wrong_type("a number, as in 0.1")),
        };
        // Nothing contains what is not a number.
        number.filter(|number| bounds.contains(number)).ok_or_else(|| {
            self.refuse(&format!("is outside {}..={}", bounds.start(), bounds.end()))
        })
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self) -> Result<bool, ConfigError> {
        self.value.get_ref().as_bool().ok_or_else(|| self.wrong_type("true or false"))
    }

    /// Any text.
    pub(super) fn text(&self) -> Result<String, ConfigError> {
        self.string("text in quotes").map(str::to_owned)
    }

    /// A text that has a form: an address, or one of a few names.
    pub(super) fn parsed<T: FromStr<Err = TextError>>(&self) -> Result<T, ConfigError> {
        let text = self.string("text in quotes")?;
        text.parse().map_err(|problem: TextError| self.refuse(&problem.to_string()))
    }

    /// A duration with its unit.
    pub(super) fn duration(&self) -> Result<Duration, ConfigError> {
        let text = self.string("a number and its unit in quotes, as in \"200ms\"")?;
        parse_duration(text).map_err(|problem| self.refuse(&problem.to_string()))
    }

    /// A size: a number of bytes, or text with a unit.
    pub(super) fn bytes(&self) -> Result<u64, ConfigError> {
        if self.value.get_ref().is_integer() {
            return self.integer(&(0..=u64::MAX));
        }
        let text = self.string("bytes, or a number and its unit in quotes, as in \"8 GiB\"")?;
        parse_bytes(text).map_err(|problem| self.refuse(&problem.to_string()))
    }

    /// A number of bits a second, with its unit.
    pub(super) fn bit_rate(&self) -> Result<u64, ConfigError> {
        let text = self.string("a number and its unit in quotes, as in \"100 Mbit/s\"")?;
        parse_bit_rate(text).map_err(|problem| self.refuse(&problem.to_string()))
    }

    /// A list; an error names the element and its line.
    pub(super) fn list<T>(
        &self,
        read: impl Fn(&Self) -> Result<T, ConfigError>,
    ) -> Result<Vec<T>, ConfigError> {
        let Some(list) = self.value.get_ref().as_array() else {
            return Err(self.wrong_type("a list in brackets"));
        };
        list.iter()
            .enumerate()
            .map(|(index, value)| {
                let name = format!("{}[{index}]", self.name);
                read(&Self { document: self.document, name, at: value.span().start, value })
            })
            .collect()
    }

    /// One value, or a list of them.
    pub(super) fn one_or_list<T>(
        &self,
        read: impl Fn(&Self) -> Result<T, ConfigError>,
    ) -> Result<Vec<T>, ConfigError> {
        match self.value.get_ref().as_array() {
            Some(_) => self.list(read),
            None => Ok(vec![read(self)?]),
        }
    }

    /// The one word that this key knows, or else what `read` makes of it.
    pub(super) fn word_or<T>(
        &self,
        word: &str,
        meaning: T,
        read: impl FnOnce(&Self) -> Result<T, ConfigError>,
    ) -> Result<T, ConfigError> {
        match self.value.get_ref().as_str() {
            Some(text) if text == word => Ok(meaning),
            Some(_) => Err(self.refuse(&format!("is not understood; the only word is \"{word}\""))),
            None => read(self),
        }
    }

    /// Whether the value is this word.
    pub(super) fn is_word(&self, word: &str) -> bool {
        self.value.get_ref().as_str() == Some(word)
    }

    /// An error about this value: `name = value` and why not.
    pub(super) fn refuse(&self, why: &str) -> ConfigError {
        let message = format!("{} = {} {why}", self.name, self.shown());
        self.document.error(Some(self.at), message)
    }

    fn string(&self, wanted: &str) -> Result<&'a str, ConfigError> {
        self.value.get_ref().as_str().ok_or_else(|| self.wrong_type(wanted))
    }

    fn wrong_type(&self, wanted: &str) -> ConfigError {
        let found = match self.value.get_ref() {
            DeValue::String(_) => "text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a section",
        };
        self.refuse(&format!("is {found}; write {wanted}"))
    }

    /// The value as the file writes it, on one line.
    fn shown(&self) -> String {
        let source = self.document.text.get(self.value.span()).unwrap_or_default();
        let words: Vec<&str> = source.split_whitespace().collect();
        let line = words.join(" ");
        match line.char_indices().nth(SHOWN_CHARS_MAX) {
            Some((cut, _)) => format!("{}...", &line[..cut]),
            None => line,
        }
    }
}
