//! Where the journal of a bench is.

use crate::commands::UsageError;
use crate::eprintln_line;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Where runs that are told no place put their journals, below the current directory.
const HOME: &str = ".punctual";

/// The directory of the journal of a run.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    /// It was made for this run.
    is_ours: bool,
}

impl Place {
    /// The given directory, which must be empty, or a new one.
    pub(super) fn find(given: Option<&Path>) -> Result<Self, UsageError> {
        let path = match given {
            Some(path) => path.to_owned(),
            None => {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                let now = now.unwrap_or_default().as_millis();
                Path::new(HOME).join(format!("task-bench-{now}-{}", std::process::id()))
            }
        };
        let failed = |why: &str| {
            UsageError(format!(
                "the directory {} for the journal {why}; give another one with --journal-dir",
                path.display()
            ))
        };
        fs::create_dir_all(&path).map_err(|error| failed(&format!("cannot be made: {error}")))?;
        let mut entries =
            fs::read_dir(&path).map_err(|error| failed(&format!("cannot be read: {error}")))?;
        // The tasks of an earlier run would be known.
        if entries.next().is_some() {
            return Err(failed("is not empty"));
        }
        Ok(Self { path, is_ours: given.is_none() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes what was made for a run that went well; says where the rest is.
    pub(super) fn leave(self, is_good: bool) {
        let path = self.path.display();
        if !self.is_ours || !is_good {
            eprintln_line(&format!("the journal is kept in {path}"));
        } else if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln_line(&format!("warning: {path} could not be removed: {error}"));
        } else {
            // Only if nothing else is there.
            let _ = fs::remove_dir(HOME);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_empty_directory_will_do_and_a_given_one_stays() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let new = dir.path().join("new");
        Place::find(Some(&new)).expect("a new one").leave(true);
        assert!(new.is_dir());
        fs::write(new.join("letters"), "mine").expect("a file");
        let error = Place::find(Some(&new)).expect_err("not empty").to_string();
        assert!(error.contains("is not empty"), "{error}");
    }
}
