//! Which tasks are meant: by their numbers, or by what they have in common.

use crate::commands::UsageError;
use clap::Args;
use punctual_runtime::tasks::{JobId, StateSet, TaskId, UnknownState};
use punctual_runtime::tasks::{OwnedSelection, TaskClient};

/// What tasks have in common.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct FilterArgs {
    /// Those in this state: blocked, delayed, ready, running, done, failed or cancelled; todo
    /// (before running), unfinished, finished; may be given several times
    #[arg(long = "state", value_name = "STATE", value_delimiter = ',', value_parser = states)]
    states: Vec<StateSet>,

    /// Those with this text in their name or command
    #[arg(long, value_name = "TEXT")]
    include: Option<String>,

    /// Those without this text in their name or command
    #[arg(long, value_name = "TEXT")]
    exclude: Option<String>,

    /// Those that this worker has or had last
    #[arg(long, value_name = "NAME")]
    worker: Option<String>,
}

/// Which tasks something is done to.
#[derive(Debug, Args)]
pub(super) struct SelectArgs {
    /// Tasks, by their numbers
    #[arg(value_name = "ID")]
    ids: Vec<TaskId>,

    /// Those of this job
    #[arg(long, value_name = "NAME")]
    job: Option<String>,

    #[command(flatten)]
    filter: FilterArgs,

    /// All of them
    #[arg(long, conflicts_with = "ids")]
    all: bool,
}

/// Reads the name of a state or of several.
fn states(text: &str) -> Result<StateSet, UnknownState> {
    text.parse()
}

impl FilterArgs {
    /// Whether anything was asked for.
    fn is_given(&self) -> bool {
        let Self { states, include, exclude, worker } = self;
        !states.is_empty() || include.is_some() || exclude.is_some() || worker.is_some()
    }

    /// The tasks of a job, or of all, that fit.
    pub(super) fn selection(&self, job: Option<JobId>) -> OwnedSelection {
        let union = |all: StateSet, more: &StateSet| StateSet(all.0 | more.0);
        let bytes = |text: &Option<String>| text.clone().unwrap_or_default().into_bytes();
        OwnedSelection {
            states: match self.states.as_slice() {
                [] => StateSet::ALL,
                some => some.iter().fold(StateSet::NONE, union),
            },
            job,
            include: bytes(&self.include),
            exclude: bytes(&self.exclude),
            worker: bytes(&self.worker),
            ..OwnedSelection::default()
        }
    }
}

impl SelectArgs {
    /// What was selected, a selection for each number if there are numbers. Nothing at all is
    /// refused: that would be everything.
    pub(super) fn selections(
        &self,
        client: &mut TaskClient,
    ) -> anyhow::Result<Vec<OwnedSelection>> {
        let is_narrowed = self.job.is_some() || self.filter.is_given();
        if self.ids.is_empty() && !is_narrowed && !self.all {
            let text = "which tasks? Give their numbers, --job, --state, --include, --exclude or \
                        --worker; or --all";
            return Err(UsageError(text.to_owned()).into());
        }
        let job = self.job.as_deref().map(|name| find_job(client, name)).transpose()?;
        let whole = self.filter.selection(job);
        if self.ids.is_empty() {
            return Ok(vec![whole]);
        }
        let one = |id: &TaskId| OwnedSelection { task: Some(*id), ..whole.clone() };
        Ok(self.ids.iter().map(one).collect())
    }
}

/// The job with this name.
pub(super) fn find_job(client: &mut TaskClient, name: &str) -> anyhow::Result<JobId> {
    let jobs = client.jobs()?;
    if let Some(job) = jobs.iter().find(|job| job.name == name.as_bytes()) {
        return Ok(job.job);
    }
    let names: Vec<String> =
        jobs.iter().take(8).map(|job| String::from_utf8_lossy(&job.name).into_owned()).collect();
    let there = match names.as_slice() {
        [] => "there are no jobs".to_owned(),
        names if jobs.len() > names.len() => format!("there are {}, ...", names.join(", ")),
        names => format!("there are {}", names.join(", ")),
    };
    Err(UsageError(format!("there is no job {name:?}; {there}")).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use punctual_runtime::tasks::TaskState;

    #[test]
    fn states_have_names_alone_and_together() {
        for state in TaskState::ALL {
            assert_eq!(states(state.name()), Ok(StateSet::NONE.with(state)));
        }
        let todo = states("todo").expect("a group");
        assert!(todo.contains(TaskState::Blocked) && !todo.contains(TaskState::Leased));
        let both = StateSet(states("unfinished").unwrap().0 | states("finished").unwrap().0);
        assert_eq!(both, StateSet::ALL);
        assert!(states("lost").unwrap_err().to_string().contains("cancelled, todo"));
    }

    #[test]
    fn filters_that_are_not_given_leave_everything() {
        let filter = FilterArgs::default();
        assert!(!filter.is_given());
        let selection = filter.selection(None);
        assert_eq!(selection.states, StateSet::ALL);
        assert!(selection.include.is_empty() && selection.worker.is_empty());
        let states = vec![states("done").unwrap(), states("failed").unwrap()];
        let filter = FilterArgs { states, ..FilterArgs::default() };
        let selected = filter.selection(Some(JobId(3)));
        assert!(selected.states.contains(TaskState::Done), "{selected:?}");
        assert!(!selected.states.contains(TaskState::Ready), "{selected:?}");
        assert_eq!(selected.job, Some(JobId(3)));
    }
}
