//! The other workers, and which of them live.
//!
//! Each says so with the time of its own clock, and clocks differ. So a worker lives as long as
//! what it says changes, by our clock; only the first time its own is all that there is to go by.

use crate::layout::{GONE_INTERVALS, Status};
use std::collections::HashMap;
use std::time::{Duration, Instant};

#[derive(Debug)]
struct Other {
    said: Vec<u8>,
    /// When it was last heard of, as far as can be told; `None`: before all memory.
    heard: Option<Instant>,
}

#[derive(Debug, Default)]
pub(super) struct Crew {
    others: HashMap<String, Other>,
    looked: Option<Instant>,
    patience: Duration,
}

impl Crew {
    /// Whether the others were last looked at so long ago, or never.
    pub(super) fn is_older_than(&self, now: Instant, age: Duration) -> bool {
        self.looked.is_none_or(|looked| now.saturating_duration_since(looked) >= age)
    }

    /// Takes what all workers say: names and what they say in turn. `own` is not among the others.
    /// Returns whether others live than before.
    pub(super) fn look(
        &mut self,
        now: Instant,
        unix_now: i64,
        interval: Duration,
        fields: Vec<Vec<u8>>,
        own: &str,
    ) -> bool {
        let before = self.names(now);
        self.patience = interval * GONE_INTERVALS;
        self.looked = Some(now);
        let mut known = std::mem::take(&mut self.others);
        let mut fields = fields.into_iter();
        while let (Some(name), Some(said)) = (fields.next(), fields.next()) {
            let name = String::from_utf8_lossy(&name).into_owned();
            if name == own {
                continue;
            }
            let heard = match known.remove(&name) {
                Some(other) if other.said == said => other.heard,
                Some(_) => Some(now),
                None => first_heard(now, unix_now, &said),
            };
            self.others.insert(name, Other { said, heard });
        }
        self.names(now) != before
    }

    /// Those that live.
    pub(super) fn alive(&self, now: Instant) -> impl Iterator<Item = &str> {
        let alive = self.others.iter().filter(move |entry| self.is_alive(now, entry.1));
        alive.map(|entry| entry.0.as_str())
    }

    /// Those that say nothing any more, but were not struck off.
    pub(super) fn gone(&self, now: Instant) -> impl Iterator<Item = &str> {
        let gone = self.others.iter().filter(move |entry| !self.is_alive(now, entry.1));
        gone.map(|entry| entry.0.as_str())
    }

    fn is_alive(&self, now: Instant, other: &Other) -> bool {
        other.heard.is_some_and(|at| now.saturating_duration_since(at) < self.patience)
    }

    fn names(&self, now: Instant) -> Vec<String> {
        let mut names: Vec<String> = self.alive(now).map(str::to_owned).collect();
        names.sort_unstable();
        names
    }
}

/// When a worker said what it says, if its clock agrees with ours.
fn first_heard(now: Instant, unix_now: i64, said: &[u8]) -> Option<Instant> {
    let age = Status::time_of(said).map_or(0, |time| unix_now.saturating_sub(time).max(0));
    now.checked_sub(Duration::from_secs(age.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(2);
    const UNIX: i64 = 1_700_000_000;

    fn look(crew: &mut Crew, now: Instant, said: &[(&str, i64)]) -> bool {
        let field = |(name, time): &(&str, i64)| {
            [name.as_bytes().to_vec(), format!("{time}:0:1:0:1").into_bytes()]
        };
        crew.look(now, UNIX, INTERVAL, said.iter().flat_map(field).collect(), "me")
    }

    fn alive(crew: &Crew, now: Instant) -> Vec<String> {
        crew.names(now)
    }

    #[test]
    fn at_first_a_worker_lives_if_it_says_so_by_its_clock() {
        let mut crew = Crew::default();
        let now = Instant::now() + Duration::from_secs(3600);
        let said = [("me", UNIX), ("new", UNIX - 39), ("old", UNIX - 40), ("ahead", UNIX + 999)];
        assert!(look(&mut crew, now, &said));
        assert_eq!(alive(&crew, now), ["ahead", "new"]);
        assert_eq!(crew.gone(now).collect::<Vec<_>>(), ["old"]);
    }

    #[test]
    fn later_a_worker_lives_while_what_it_says_changes_whatever_its_clock_shows() {
        let mut crew = Crew::default();
        let now = Instant::now() + Duration::from_secs(3600);
        look(&mut crew, now, &[("behind", UNIX - 1000), ("silent", UNIX)]);
        assert_eq!(alive(&crew, now), ["silent"]);
        let later = now + Duration::from_secs(10);
        assert!(look(&mut crew, later, &[("behind", UNIX - 990), ("silent", UNIX)]));
        assert_eq!(alive(&crew, later), ["behind", "silent"]);
        let much_later = now + Duration::from_secs(40);
        assert_eq!(alive(&crew, much_later), ["behind"]);
    }

    #[test]
    fn one_that_was_struck_off_is_gone_at_once() {
        let mut crew = Crew::default();
        let now = Instant::now();
        look(&mut crew, now, &[("other", UNIX)]);
        assert!(look(&mut crew, now, &[]));
        assert!(!look(&mut crew, now, &[]));
        assert_eq!(alive(&crew, now), Vec::<String>::new());
    }
}
