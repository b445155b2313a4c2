//! Where the documents come from: a task server that is asked directly, or a dashboard.

use super::view::{Summary, TaskList};
use anyhow::{Context, bail};
use punctual_dashboard::{Observer, Source, TasksQuery, Visitor};

/// The version of the summary that is understood.
const SCHEMA: u32 = 1;

/// What is to be watched.
pub(super) enum Place {
    /// The queue of a task server.
    Server {
        /// What it is called.
        title: String,
        /// The way to it.
        source: Source,
    },
    /// A dashboard.
    Page(Visitor),
}

/// The same where it can be looked at: in one thread, and no other.
pub(super) enum Looked {
    Server(Box<Observer>),
    Page(Box<Visitor>),
}

/// What was seen at once.
#[derive(Debug, Clone, Default)]
pub(super) struct Look {
    pub(super) summary: Summary,
    /// The tasks that were asked for, or why they cannot be shown; `None` where there is no queue.
    pub(super) tasks: Option<Result<TaskList, String>>,
}

impl Place {
    /// Makes ready for looking.
    pub(super) fn open(self) -> Looked {
        match self {
            Self::Server { title, source } => {
                Looked::Server(Box::new(Observer::new(title, source)))
            }
            Self::Page(visitor) => Looked::Page(Box::new(visitor)),
        }
    }
}

impl Looked {
    /// The summary, as it is.
    pub(super) fn summary(&mut self) -> anyhow::Result<Vec<u8>> {
        Ok(match self {
            Self::Server(observer) => observer.summary(),
            Self::Page(visitor) => visitor.summary()?,
        })
    }

    /// Everything there is to see, with the tasks that are meant.
    pub(super) fn look(&mut self, query: &TasksQuery) -> anyhow::Result<Look> {
        let mut look = Look::read(&self.summary()?)?;
        if look.summary.farm().is_some() {
            look.tasks = Some(self.tasks(query).map_err(|error| format!("{error:#}")));
        }
        Ok(look)
    }

    fn tasks(&mut self, query: &TasksQuery) -> anyhow::Result<TaskList> {
        let page = match self {
            Self::Server(observer) => observer.tasks(query)?,
            Self::Page(visitor) => visitor.tasks(query)?,
        };
        serde_json::from_slice(&page).context("what was told of tasks cannot be read")
    }
}

impl Look {
    /// Reads a summary.
    pub(super) fn read(document: &[u8]) -> anyhow::Result<Self> {
        let summary: Summary = serde_json::from_slice(document)
            .context("what answers there is no dashboard: its summary cannot be read")?;
        if summary.schema != SCHEMA {
            let Summary { schema, version, .. } = summary;
            bail!(
                "the dashboard is of another version ({version}, document {schema} instead of \
                 {SCHEMA}): use the program that it came with"
            );
        }
        Ok(Self { summary, tasks: None })
    }

    /// Why the queue does not answer, if it does not.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.summary.tasks.as_ref()?.error.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_of_another_version_or_of_something_else_is_refused() {
        let error = Look::read(b"{\"schema\": 7, \"version\": \"9.9\"}").expect_err("it is newer");
        assert!(error.to_string().contains("(9.9, document 7 instead of 1)"), "{error}");
        assert!(Look::read(b"<html>").is_err());
        assert!(Look::read(b"{}").is_err(), "it does not say what it is");
        let look = Look::read(b"{\"schema\": 1, \"tasks\": {\"error\": \"gone\"}}").expect("one");
        assert_eq!((look.trouble(), look.summary.farm().is_none()), (Some("gone"), true));
    }
}
