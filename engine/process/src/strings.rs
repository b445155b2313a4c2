//! Strings as `execve` takes them.

use std::ffi::c_char;
use thiserror::Error;

/// A string has a byte that would end it early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("it has a NUL byte")]
pub(crate) struct NulInside;

/// C strings in one piece of memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CStrings {
    /// Each with its NUL, one after the other.
    bytes: Vec<u8>,
    /// Where each begins.
    starts: Vec<usize>,
}

impl CStrings {
    /// These strings.
    pub(crate) fn of<S: AsRef<[u8]>>(
        strings: impl IntoIterator<Item = S>,
    ) -> Result<Self, NulInside> {
        let mut all = Self::default();
        for string in strings {
            all.push(&[string.as_ref()])?;
        }
        Ok(all)
    }

    /// Adds a string that is made of these parts.
    pub(crate) fn push(&mut self, parts: &[&[u8]]) -> Result<(), NulInside> {
        if parts.iter().any(|part| part.contains(&0)) {
            return Err(NulInside);
        }
        self.starts.push(self.bytes.len());
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        self.bytes.push(0);
        Ok(())
    }

    /// A pointer to each, and a null pointer behind. They are good until the strings are changed or
    /// dropped.
    pub(crate) fn pointers(&self) -> Vec<*const c_char> {
        let mut pointers = Vec::with_capacity(self.starts.len() + 1);
        pointers.extend(self.starts.iter().map(|start| self.bytes[*start..].as_ptr().cast()));
        pointers.push(std::ptr::null());
        pointers
    }

    /// The strings without their NULs.
    #[cfg(test)]
    pub(crate) fn to_vec(&self) -> Vec<&[u8]> {
        let ends = self.starts.iter().skip(1).copied().chain([self.bytes.len()]);
        self.starts.iter().zip(ends).map(|(start, end)| &self.bytes[*start..end - 1]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_put_together_and_end_with_a_null_pointer() {
        let mut strings = CStrings::of(["a", ""]).expect("no NUL");
        strings.push(&[b"K", b"=", b"value"]).expect("no NUL");
        assert_eq!(strings.to_vec(), [b"a".as_slice(), b"", b"K=value"]);
        assert_eq!(strings.bytes, b"a\0\0K=value\0");
        let pointers = strings.pointers();
        assert_eq!(pointers.len(), 4);
        assert!(pointers[3].is_null() && !pointers[0].is_null());
        assert_eq!(pointers[2] as usize - pointers[0] as usize, 3);
    }

    #[test]
    fn a_string_with_a_nul_is_refused_and_changes_nothing() {
        let mut strings = CStrings::default();
        assert_eq!(strings.push(&[b"a", b"b\0c"]), Err(NulInside));
        assert_eq!(strings, CStrings::default());
        assert_eq!(strings.pointers(), [std::ptr::null()]);
    }
}
