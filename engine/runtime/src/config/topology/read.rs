//! Topology files: which key sets what.
//!
//! A shape is put together from the general to the particular: `[defaults]`, then the matrices of
//! delays and jitters, then the `[[pair]]` of the two places.

use super::{Layout, Places, Topology, distribution, problem_of};
use crate::config::ConfigError;
use crate::config::check::Violation;
use crate::config::names::not_one_of;
use crate::config::section::{Document, Entry, Section};
use punctual_link::{Distribution, Shape};
use std::time::Duration;

const TOP: &[&str] =
    &["name", "places", "shards", "coordinators", "delays", "jitters", "defaults", "pair"];
const SHAPE: &[&str] = &["delay", "jitter", "distribution", "loss", "bandwidth", "retransmit_min"];
const PAIR: &[&str] = &[
    "from",
    "to",
    "both",
    "delay",
    "jitter",
    "distribution",
    "loss",
    "bandwidth",
    "retransmit_min",
];
/// More than any matrix that somebody typed.
const PLACES_MAX: usize = 256;

/// What is known of a shape; a pair without a delay is none.
#[derive(Clone, Copy)]
struct Draft {
    delay: Option<Duration>,
    rest: Shape,
}

impl Draft {
    fn shape(self) -> Option<Shape> {
        self.delay.map(|delay| Shape { delay, ..self.rest })
    }
}

/// Reads and checks a whole file.
pub(super) fn read(text: &str, file: &str) -> Result<Topology, ConfigError> {
    let document = Document::parse(text, file)?;
    let top = document.top(TOP)?;
    let names = read_names(&top)?;
    let members = |key: &'static str| {
        let entry = top.required(key, "list the place of each, or of the first few of them")?;
        let places = entry.list(|entry| read_place(entry, &names))?;
        if places.is_empty() { Err(entry.refuse("names no place")) } else { Ok(places) }
    };
    let (shards, coordinators) = (members("shards")?, members("coordinators")?);
    let shapes = read_shapes(&top, &names)?;
    let places = Places { names, shapes, shards, coordinators };
    let is_missing = |(from, to): &(usize, usize)| places.between(*from, *to).is_none();
    if let Some((from, to)) = places.used().into_iter().find(is_missing) {
        let (from, to) = (&places.names[from], &places.names[to]);
        let message = format!(
            "nothing is given from \"{from}\" to \"{to}\"; add [[pair]] with from = \"{from}\", \
             to = \"{to}\" and a delay, or a delay in [defaults]"
        );
        return Err(document.locate(Violation { keys: vec!["places"], message }));
    }
    let mut name = stem(file);
    top.set("name", &mut name, Entry::text)?;
    let topology = Topology { name, layout: Layout::Places(places) };
    match topology.problem() {
        None => Ok(topology),
        Some(message) => {
            let keys = vec!["defaults", "delays", "jitters", "pair", "places"];
            Err(document.locate(Violation { keys, message }))
        }
    }
}

/// The name of a file without folders and ending.
fn stem(file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.strip_suffix(".toml").unwrap_or(name).to_owned()
}

fn read_names(top: &Section<'_>) -> Result<Vec<String>, ConfigError> {
    let entry = top.required("places", "name them, as in places = [\"east\", \"west\"]")?;
    let names = entry.list(Entry::text)?;
    if names.is_empty() || names.len() > PLACES_MAX {
        return Err(entry.refuse(&format!("must name 1 to {PLACES_MAX} places")));
    }
    let twice = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name));
    match twice {
        None => Ok(names),
        Some((_, name)) => Err(entry.refuse(&format!("names {name} twice"))),
    }
}

fn read_place(entry: &Entry<'_>, names: &[String]) -> Result<usize, ConfigError> {
    let text = entry.text()?;
    names.iter().position(|name| *name == text).ok_or_else(|| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        entry.refuse(&not_one_of(&text, &names).to_string())
    })
}

fn read_shapes(top: &Section<'_>, names: &[String]) -> Result<Vec<Option<Shape>>, ConfigError> {
    let mut defaults = Draft { delay: None, rest: Shape::NONE };
    read_shape(&top.section("defaults", SHAPE)?, &mut defaults)?;
    let len = names.len();
    let mut drafts = vec![defaults; len * len];
    // Whoever is at the same place is not apart, unless the matrix or a pair says so.
    let same = |drafts: &mut [Draft], is_apart: fn(Duration) -> bool| {
        for place in 0..len {
            let draft = &mut drafts[place * len + place];
            draft.delay = draft.delay.filter(|delay| is_apart(*delay));
        }
    };
    same(&mut drafts, |_| false);
    read_matrix(top, "delays", len, &mut drafts, |draft, delay| draft.delay = Some(delay))?;
    same(&mut drafts, |delay| !delay.is_zero());
    read_matrix(top, "jitters", len, &mut drafts, |draft, jitter| draft.rest.jitter = jitter)?;
    for pair in top.tables("pair", PAIR)? {
        let end = |key: &'static str| {
            read_place(&pair.required(key, "a pair has two places, from and to")?, names)
        };
        let (from, to) = (end("from")?, end("to")?);
        let mut both = false;
        pair.set("both", &mut both, Entry::boolean)?;
        let ways = if both { vec![(from, to), (to, from)] } else { vec![(from, to)] };
        for (from, to) in ways {
            let draft = &mut drafts[from * len + to];
            read_shape(&pair, draft)?;
            if from == to {
                draft.delay.get_or_insert_default();
            }
        }
    }
    Ok(drafts.into_iter().map(Draft::shape).collect())
}

fn read_shape(section: &Section<'_>, draft: &mut Draft) -> Result<(), ConfigError> {
    section.set("delay", &mut draft.delay, |entry| entry.duration().map(Some))?;
    section.set("jitter", &mut draft.rest.jitter, Entry::duration)?;
    section.set("distribution", &mut draft.rest.distribution, read_distribution)?;
    section.set("loss", &mut draft.rest.loss, |entry| entry.number(&(0.0..=super::LOSS_MAX)))?;
    section.set("bandwidth", &mut draft.rest.bandwidth, |entry| entry.bit_rate().map(Some))?;
    section.set("retransmit_min", &mut draft.rest.retransmit_min, Entry::duration)?;
    let shape = Shape { delay: draft.delay.unwrap_or_default(), ..draft.rest };
    problem_of(&shape).map_or(Ok(()), |problem| Err(section.refuse(problem)))
}

fn read_distribution(entry: &Entry<'_>) -> Result<Distribution, ConfigError> {
    let text = entry.text()?;
    distribution(&text).ok_or_else(|| {
        let names = Distribution::ALL.map(Distribution::name);
        entry.refuse(&not_one_of(&text, &names).to_string())
    })
}

/// Reads rows of durations: row by row from each place, to each place.
fn read_matrix(
    top: &Section<'_>,
    key: &'static str,
    len: usize,
    drafts: &mut [Draft],
    put: impl Fn(&mut Draft, Duration),
) -> Result<(), ConfigError> {
    let mut rows = Vec::new();
    top.set(key, &mut rows, |entry| {
        let rows = entry.list(|row| {
            let row_values = row.list(Entry::duration)?;
            match row_values.len() == len {
                true => Ok(row_values),
                false => Err(row.refuse(&format!("must have one value a place, {len}"))),
            }
        })?;
        match rows.len() == len {
            true => Ok(rows),
            false => Err(entry.refuse(&format!("must have one row a place, {len}"))),
        }
    })?;
    for (from, row) in rows.into_iter().enumerate() {
        for (to, value) in row.into_iter().enumerate() {
            put(&mut drafts[from * len + to], value);
        }
    }
    Ok(())
}
