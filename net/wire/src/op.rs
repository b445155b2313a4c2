//! Keys and operations.
//!
//! An operation is one code byte and its operands. The low four bits of the code name the
//! operation; bit 6 says that the key is a bare 8-byte word, bit 7 that the value is one.
//! Everything else is length-prefixed: `u16` for keys, `u32` for values. Short forms are canonical:
//! an 8-byte key or value is always written as a word, so that equal keys have equal bytes.

use crate::{Limits, WireError};

/// A key: any bytes, with a fast path for those of exactly eight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key<'a> {
    /// Exactly eight bytes, as a little-endian word.
    Word(u64),
    /// Any other length. Eight bytes in this form are the same key as the word; what writes or
    /// looks up a key makes it [`canonical`](Self::canonical) first.
    Bytes(&'a [u8]),
}

impl<'a> Key<'a> {
    /// The key of these bytes.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        match <[u8; 8]>::try_from(bytes) {
            Ok(word) => Self::Word(u64::from_le_bytes(word)),
            Err(_) => Self::Bytes(bytes),
        }
    }

    /// The one form of this key: a word if it has eight bytes.
    #[inline]
    #[must_use]
    pub fn canonical(self) -> Self {
        match self {
            Self::Word(_) => self,
            Self::Bytes(bytes) => Self::new(bytes),
        }
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Word(_) => 8,
            Self::Bytes(bytes) => bytes.len(),
        }
    }

    /// Whether the key has no bytes. Such a key is valid.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<u64> for Key<'_> {
    fn from(word: u64) -> Self {
        Self::Word(word)
    }
}

impl<'a> From<&'a [u8]> for Key<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::new(bytes)
    }
}

impl<'a> From<&'a str> for Key<'a> {
    fn from(text: &'a str) -> Self {
        Self::new(text.as_bytes())
    }
}

/// One operation on one key. Values are bytes; an absent key has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op<'a> {
    /// Reads the value.
    Get {
        /// Key to read.
        key: Key<'a>,
    },
    /// Sets the value.
    Put {
        /// Key to write.
        key: Key<'a>,
        /// Its new value.
        value: &'a [u8],
    },
    /// Removes the key.
    Delete {
        /// Key to remove.
        key: Key<'a>,
    },
    /// Adds to the first eight bytes of the value, a little-endian `i64` that wraps round. An
    /// absent key counts as an 8-byte zero; a value of fewer bytes is the wrong type.
    Add {
        /// Key to change.
        key: Key<'a>,
        /// What is added.
        delta: i64,
    },
    /// Appends to the value; an absent key counts as empty.
    Append {
        /// Key to change.
        key: Key<'a>,
        /// Bytes to append.
        value: &'a [u8],
    },
    /// Sets the value if it is the expected one (`None`: if the key is absent).
    CompareAndSet {
        /// Key to change.
        key: Key<'a>,
        /// What must be there.
        expected: Option<&'a [u8]>,
        /// Its new value.
        value: &'a [u8],
    },
}

const CODE_GET: u8 = 1;
const CODE_PUT: u8 = 2;
const CODE_DELETE: u8 = 3;
const CODE_ADD: u8 = 4;
const CODE_APPEND: u8 = 5;
const CODE_COMPARE_AND_SET: u8 = 6;
const CODE_MASK: u8 = 0x0f;
const KEY_IS_WORD: u8 = 0x40;
const VALUE_IS_WORD: u8 = 0x80;
/// Length of an expected value that stands for "absent".
const ABSENT: u32 = u32::MAX;

impl<'a> Op<'a> {
    /// The key of the operation.
    #[must_use]
    pub fn key(&self) -> Key<'a> {
        match *self {
            Self::Get { key }
            | Self::Put { key, .. }
            | Self::Delete { key }
            | Self::Add { key, .. }
            | Self::Append { key, .. }
            | Self::CompareAndSet { key, .. } => key,
        }
    }

    /// Whether the operation may change the store.
    #[must_use]
    pub fn is_write(&self) -> bool {
        !matches!(self, Self::Get { .. })
    }

    /// Checks lengths against the limits.
    ///
    /// # Errors
    /// [`WireError::OverLimit`] names the operand that is too long.
    pub fn check(&self, limits: &Limits) -> Result<(), WireError> {
        over("a key's length in bytes", self.key().len(), u64::from(limits.key_bytes_max))?;
        let longest = match self {
            Self::Get { .. } | Self::Delete { .. } | Self::Add { .. } => 0,
            Self::Put { value, .. } | Self::Append { value, .. } => value.len(),
            Self::CompareAndSet { expected, value, .. } => {
                value.len().max(expected.map_or(0, <[u8]>::len))
            }
        };
        over("a value's length in bytes", longest, u64::from(limits.value_bytes_max))
    }

    /// Appends the encoded operation.
    ///
    /// # Panics
    /// When a key is longer than a `u16` or a value than a `u32` can say; [`check`](Self::check)
    /// first.
    pub fn write(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Get { key } => write_head(out, CODE_GET, key),
            Self::Delete { key } => write_head(out, CODE_DELETE, key),
            Self::Add { key, delta } => {
                write_head(out, CODE_ADD | VALUE_IS_WORD, key);
                out.extend_from_slice(&delta.to_le_bytes());
            }
            Self::Put { key, value } => write_with_value(out, CODE_PUT, key, value),
            Self::Append { key, value } => write_with_value(out, CODE_APPEND, key, value),
            Self::CompareAndSet { key, expected, value } => {
                write_head(out, CODE_COMPARE_AND_SET, key);
                match expected {
                    None => out.extend_from_slice(&ABSENT.to_le_bytes()),
                    Some(bytes) => write_long(out, bytes),
                }
                write_long(out, value);
            }
        }
    }
}

fn over(what: &'static str, value: usize, max: u64) -> Result<(), WireError> {
    let value = value as u64;
    if value > max {
        return Err(WireError::OverLimit { what, value, max });
    }
    Ok(())
}

#[inline]
fn write_head(out: &mut Vec<u8>, code: u8, key: Key<'_>) {
    match key.canonical() {
        Key::Word(word) => {
            let mut bytes = [0; 9];
            bytes[0] = code | KEY_IS_WORD;
            bytes[1..].copy_from_slice(&word.to_le_bytes());
            out.extend_from_slice(&bytes);
        }
        Key::Bytes(bytes) => {
            let len = u16::try_from(bytes.len()).expect("a key fits its length prefix");
            out.push(code);
            out.extend_from_slice(&len.to_le_bytes());
            out.extend_from_slice(bytes);
        }
    }
}

#[inline]
fn write_with_value(out: &mut Vec<u8>, code: u8, key: Key<'_>, value: &[u8]) {
    if let Ok(word) = <[u8; 8]>::try_from(value) {
        write_head(out, code | VALUE_IS_WORD, key);
        out.extend_from_slice(&word);
    } else {
        write_head(out, code, key);
        write_long(out, value);
    }
}

fn write_long(out: &mut Vec<u8>, value: &[u8]) {
    let len = u32::try_from(value.len()).expect("a value fits its length prefix");
    assert!(len != ABSENT, "a value's length must not stand for an absent one");
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(value);
}

/// A read or an increment of a word key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WordOp {
    /// The key.
    pub key: u64,
    /// Whether it increments.
    pub is_add: bool,
    /// What is added; zero for a read.
    pub delta: i64,
}

impl WordOp {
    /// Appends the encoded operation; which of the two it is, is no branch here either.
    #[inline]
    pub fn write(&self, out: &mut Vec<u8>) {
        let kind = [CODE_GET, CODE_ADD | VALUE_IS_WORD][usize::from(self.is_add)];
        let mut bytes = [0; 17];
        bytes[0] = kind | KEY_IS_WORD;
        bytes[1..9].copy_from_slice(&self.key.to_le_bytes());
        bytes[9..].copy_from_slice(&self.delta.to_le_bytes());
        out.extend_from_slice(&bytes);
        out.truncate(out.len() - 8 * usize::from(!self.is_add));
    }
}

/// Reads operations one after the other, borrowing their bytes.
#[derive(Debug, Clone)]
pub struct OpReader<'a> {
    rest: &'a [u8],
}

impl<'a> OpReader<'a> {
    /// Reads from the start of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Bytes that were not read yet.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The next operation if it reads or increments a word key; it is not taken yet,
    /// [`skip_word`](Self::skip_word) does that. The fast path beside [`next_op`](Self::next_op).
    ///
    /// Whether it reads or increments is data and not a branch: half of each, in random order,
    /// would be mispredicted every other time.
    #[inline(always)]
    #[must_use]
    pub fn peek_word(&self) -> Option<WordOp> {
        let [code, key @ ..] = *self.rest.first_chunk::<9>()?;
        let is_get = code == CODE_GET | KEY_IS_WORD;
        let is_add = code == CODE_ADD | KEY_IS_WORD | VALUE_IS_WORD;
        if !(is_get | is_add) {
            return None;
        }
        let key = u64::from_le_bytes(key);
        let Some(operand) = self.rest[9..].first_chunk::<8>() else {
            // Only a read can be the last operation of a body without eight bytes behind its key.
            return is_get.then_some(WordOp { key, is_add: false, delta: 0 });
        };
        let mask = i64::from(is_add).wrapping_neg();
        Some(WordOp { key, is_add, delta: i64::from_le_bytes(*operand) & mask })
    }

    /// Takes the operation that [`peek_word`](Self::peek_word) showed.
    #[inline(always)]
    pub fn skip_word(&mut self, op: WordOp) {
        self.rest = &self.rest[9 + 8 * usize::from(op.is_add)..];
    }

    /// Reads one operation. Lengths are bounded by the buffer; limits are for the caller to check.
    ///
    /// # Errors
    /// When the bytes are cut short, not canonical, or name an unknown operation.
    #[inline]
    pub fn next_op(&mut self) -> Result<Op<'a>, WireError> {
        let (&code, rest) =
            self.rest.split_first().ok_or(WireError::Truncated { what: "operation" })?;
        self.rest = rest;
        let key = if code & KEY_IS_WORD != 0 {
            Key::Word(u64::from_le_bytes(*self.take_array("key")?))
        } else {
            let len = u16::from_le_bytes(*self.take_array("key")?);
            let bytes = self.take(usize::from(len), "key")?;
            if len == 8 {
                return Err(not_canonical("length of a long key", 8));
            }
            Key::Bytes(bytes)
        };
        let value_is_word = code & VALUE_IS_WORD != 0;
        let unknown = WireError::UnknownValue { what: "operation", value: u64::from(code) };
        if code & !(CODE_MASK | KEY_IS_WORD | VALUE_IS_WORD) != 0 {
            return Err(unknown);
        }
        match (code & CODE_MASK, value_is_word) {
            (CODE_GET, false) => Ok(Op::Get { key }),
            (CODE_ADD, true) => {
                Ok(Op::Add { key, delta: i64::from_le_bytes(*self.take_array("delta")?) })
            }
            (CODE_PUT, word) => Ok(Op::Put { key, value: self.take_value(word)? }),
            (CODE_DELETE, false) => Ok(Op::Delete { key }),
            (CODE_APPEND, word) => Ok(Op::Append { key, value: self.take_value(word)? }),
            (CODE_COMPARE_AND_SET, false) => {
                let len = u32::from_le_bytes(*self.take_array("expected value")?);
                let expected = match len {
                    ABSENT => None,
                    _ => Some(self.take(len as usize, "expected value")?),
                };
                let len = u32::from_le_bytes(*self.take_array("value")?);
                let value = self.take(len as usize, "value")?;
                Ok(Op::CompareAndSet { key, expected, value })
            }
            _ => Err(unknown),
        }
    }

    #[inline]
    fn take_value(&mut self, is_word: bool) -> Result<&'a [u8], WireError> {
        if is_word {
            return Ok(self.take_array::<8>("value")?);
        }
        let len = u32::from_le_bytes(*self.take_array("value")?);
        if len == 8 {
            return Err(not_canonical("length of a long value", 8));
        }
        self.take(len as usize, "value")
    }

    #[inline]
    fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], WireError> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(WireError::Truncated { what })?;
        self.rest = rest;
        Ok(bytes)
    }

    #[inline]
    fn take_array<const N: usize>(&mut self, what: &'static str) -> Result<&'a [u8; N], WireError> {
        let (bytes, rest) =
            self.rest.split_first_chunk::<N>().ok_or(WireError::Truncated { what })?;
        self.rest = rest;
        Ok(bytes)
    }
}

fn not_canonical(what: &'static str, value: u64) -> WireError {
    WireError::UnknownValue { what, value }
}
