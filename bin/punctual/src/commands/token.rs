//! Tokens that are given in files, where others on the machine cannot see them, and what is secret
//! among the options.

use super::UsageError;
use std::fmt;
use std::fs;
use std::path::Path;

/// The value of an option that is a secret, or has one in it. Nobody can print it by accident.
#[derive(Clone)]
pub(super) struct Secret(String);

impl Secret {
    /// What it is.
    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// Reads the token in the file that an option names. Blanks around it are no part of it.
pub(super) fn read(option: &str, path: &Path) -> Result<String, UsageError> {
    let fail = |why: &str| Err(UsageError(format!("{option} {} {why}", path.display())));
    match fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => fail("is empty; write the token into it"),
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) => fail(&format!("cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_file_may_end_with_a_line_feed_but_not_be_empty() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("token");
        fs::write(&path, "secret\n").expect("a file");
        assert_eq!(read("--token-file", &path).expect("a token"), "secret");
        fs::write(&path, "\n").expect("a file");
        let error = read("--token-file", &path).expect_err("no token").to_string();
        assert!(error.starts_with("--token-file ") && error.contains("is empty"), "{error}");
        assert!(read("--token-file", &dir.path().join("none")).is_err());
    }
}
