//! Whether each task of a row ran as often as the Redis says.

use super::super::check::OK;
use punctual_redis::FarmTasks;
use std::collections::HashSet;

/// Compares what became of the tasks with how often each was run, after all workers have ended.
/// `strangers` is how many runs were of other tasks.
pub(super) fn check(tasks: &FarmTasks, lines: &[Vec<u8>], runs: &[u32], strangers: u64) -> String {
    let finished: HashSet<&[u8]> = tasks.finished.iter().map(|(line, _)| &line[..]).collect();
    let todo: HashSet<&[u8]> = tasks.todo.iter().map(|line| &line[..]).collect();
    // A task that is done was run once, and one that waits was not.
    let is_right = |(line, runs): (&Vec<u8>, &u32)| match *runs {
        0 => todo.contains(&line[..]) && !finished.contains(&line[..]),
        1 => finished.contains(&line[..]) && !todo.contains(&line[..]),
        _ => false,
    };
    let wrong = lines.iter().zip(runs).filter(|pair| !is_right(*pair)).count();
    if strangers > 0 {
        format!("{strangers} tasks of somebody else were run as well")
    } else if !tasks.in_progress.is_empty() {
        format!("{} tasks are in progress, and no worker is there", tasks.in_progress.len())
    } else if !tasks.failed.is_empty() {
        format!("{} tasks failed", tasks.failed.len())
    } else if wrong > 0 {
        format!("{wrong} of {} tasks did not run as often as the Redis says", lines.len())
    } else if finished.len() + todo.len() != lines.len() {
        format!("{} tasks are there, of {}", finished.len() + todo.len(), lines.len())
    } else {
        OK.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Vec<Vec<u8>> {
        ["a", "b", "c"].map(|line| line.as_bytes().to_vec()).to_vec()
    }

    /// The first two are done, the last one waits.
    fn tasks() -> FarmTasks {
        let [a, b, c] = ["a", "b", "c"].map(|line| line.as_bytes().to_vec());
        let value = b"bench-1: \"\"".to_vec();
        let finished = vec![(a, value.clone()), (b, value)];
        FarmTasks { todo: vec![c], finished, ..FarmTasks::default() }
    }

    #[test]
    fn what_is_done_ran_once_and_what_waits_did_not() {
        assert_eq!(check(&tasks(), &lines(), &[1, 1, 0], 0), OK);
        for runs in [[2, 1, 0], [0, 1, 0], [1, 1, 1], [1, 1, 2]] {
            let verdict = check(&tasks(), &lines(), &runs, 0);
            assert!(verdict.starts_with("1 of 3 tasks did not run"), "{runs:?}: {verdict}");
        }
        let lost = FarmTasks { todo: Vec::new(), ..tasks() };
        assert!(check(&lost, &lines(), &[1, 1, 0], 0).starts_with("1 of 3"));
    }

    #[test]
    fn whatever_else_is_there_is_named() {
        let pair = || vec![(b"c".to_vec(), b"bench-1".to_vec())];
        let held = FarmTasks { in_progress: pair(), ..tasks() };
        assert!(check(&held, &lines(), &[1, 1, 0], 0).contains("in progress"));
        let failed = FarmTasks { failed: pair(), ..tasks() };
        assert_eq!(check(&failed, &lines(), &[1, 1, 0], 0), "1 tasks failed");
        assert!(check(&tasks(), &lines(), &[1, 1, 0], 4).contains("4 tasks of somebody else"));
        let mut more = tasks();
        more.todo.push(b"d".to_vec());
        assert_eq!(check(&more, &lines(), &[1, 1, 0], 0), "4 tasks are there, of 3");
    }
}
