//! Results of operations, in the order of the operations.
//!
//! A result is one code byte and perhaps a value. The low four bits are the status; bit 6 says that
//! a length-prefixed value follows, bit 7 that an 8-byte value follows.

use crate::WireError;

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ResultStatus {
    /// Done.
    Ok = 0,
    /// There is no such key.
    NotFound = 1,
    /// The value is too short to be added to; nothing changed.
    WrongType = 2,
    /// The value would exceed its limit, or the results would exceed a reply; a write did not
    /// happen.
    TooLarge = 3,
    /// The value was not the expected one; nothing changed. The result carries the value found.
    Mismatch = 4,
}

/// The result of one operation.
///
/// `Get` yields the value; `Add` the new number (8 bytes); `Append` the new length (8 bytes,
/// `u64`); a mismatch the value found; everything else no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpResult<'a> {
    /// How it ended.
    pub status: ResultStatus,
    /// The value, where there is one.
    pub value: Option<&'a [u8]>,
}

const STATUS_MASK: u8 = 0x0f;
const VALUE_IS_LONG: u8 = 0x40;
const VALUE_IS_WORD: u8 = 0x80;

impl<'a> OpResult<'a> {
    /// The longest head of an encoded result: code and length.
    pub const HEAD_BYTES_MAX: usize = 5;
    /// An encoded result with a word for a value.
    pub const WORD_BYTES: usize = 9;

    /// A result without a value.
    #[must_use]
    pub fn bare(status: ResultStatus) -> Self {
        Self { status, value: None }
    }

    /// A result with a value.
    #[must_use]
    pub fn with(status: ResultStatus, value: &'a [u8]) -> Self {
        Self { status, value: Some(value) }
    }

    /// The value as a little-endian number, where it has eight bytes or more.
    #[must_use]
    pub fn number(&self) -> Option<i64> {
        let bytes = self.value?.first_chunk::<8>()?;
        Some(i64::from_le_bytes(*bytes))
    }

    /// Appends the encoded result.
    #[inline]
    pub fn write(&self, out: &mut Vec<u8>) {
        let status = self.status as u8;
        match self.value {
            None => out.push(status),
            Some(value) => match <[u8; 8]>::try_from(value) {
                Ok(word) => write_word(status, word, out),
                Err(_) => {
                    let len = u32::try_from(value.len()).expect("a value fits its length prefix");
                    out.push(status | VALUE_IS_LONG);
                    out.extend_from_slice(&len.to_le_bytes());
                    out.extend_from_slice(value);
                }
            },
        }
    }

    /// Appends a result whose value is one word, the fast path of numbers.
    #[inline]
    pub fn write_word(status: ResultStatus, word: [u8; 8], out: &mut Vec<u8>) {
        write_word(status as u8, word, out);
    }
}

#[inline]
fn write_word(status: u8, word: [u8; 8], out: &mut Vec<u8>) {
    let mut bytes = [0; 9];
    bytes[0] = status | VALUE_IS_WORD;
    bytes[1..].copy_from_slice(&word);
    out.extend_from_slice(&bytes);
}

/// Reads results one after the other, borrowing their values.
#[derive(Debug, Clone, Default)]
pub struct ResultReader<'a> {
    rest: &'a [u8],
}

impl<'a> ResultReader<'a> {
    /// Reads from the start of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The encoded results that were not read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Reads one result, or `None` at the end.
    ///
    /// # Errors
    /// When the bytes are cut short or hold an unknown code.
    #[inline]
    pub fn next_result(&mut self) -> Result<Option<OpResult<'a>>, WireError> {
        const CUT: WireError = WireError::Truncated { what: "result" };
        let Some((&code, rest)) = self.rest.split_first() else {
            return Ok(None);
        };
        let status = match code & STATUS_MASK {
            0 => ResultStatus::Ok,
            1 => ResultStatus::NotFound,
            2 => ResultStatus::WrongType,
            3 => ResultStatus::TooLarge,
            4 => ResultStatus::Mismatch,
            _ => return Err(unknown(code)),
        };
        let (value, rest) = match code & !STATUS_MASK {
            0 => (None, rest),
            VALUE_IS_WORD => {
                let (word, rest) = rest.split_first_chunk::<8>().ok_or(CUT)?;
                (Some(word.as_slice()), rest)
            }
            VALUE_IS_LONG => {
                let (len, rest) = rest.split_first_chunk::<4>().ok_or(CUT)?;
                let len = u32::from_le_bytes(*len) as usize;
                let (value, rest) = rest.split_at_checked(len).ok_or(CUT)?;
                (Some(value), rest)
            }
            _ => return Err(unknown(code)),
        };
        self.rest = rest;
        Ok(Some(OpResult { status, value }))
    }
}

/// Malformed bytes end the iteration; the coordinator has checked them before handing results out.
impl<'a> Iterator for ResultReader<'a> {
    type Item = OpResult<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_result().ok().flatten()
    }
}

fn unknown(code: u8) -> WireError {
    WireError::UnknownValue { what: "result", value: u64::from(code) }
}
