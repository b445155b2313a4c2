//! What is shown: a function of what was seen, and of what somebody wants to see. It draws nothing.

use super::place::Look;
use super::sheets::{Sheet, count, counts_text, rate, sheets};
use super::state::{Order, Pane, State};
use super::trend::Trend;
use super::view::{Engine, Farm, Spread, Summary};
use crate::commands::task::text::{shown, span};
use punctual_load::summary::{fmt_ns, fmt_ns_or_dash};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use std::time::Duration;

/// Rows from which on there is room for curves.
const HEIGHT_FOR_CURVES: usize = 16;
/// The columns of a name of a figure.
const NAME_WIDTH: usize = 10;
/// Characters of a title, and of a reason.
const TITLE_CHARS: usize = 80;
const REASON_CHARS: usize = 300;

const PLAIN: Style = Style::new();
const STRONG: Style = Style::new().add_modifier(Modifier::BOLD);
const FAINT: Style = Style::new().add_modifier(Modifier::DIM);
const CHOSEN: Style = Style::new().add_modifier(Modifier::REVERSED);
const TROUBLE: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);

const HELP: [&str; 11] = [
    "q, Ctrl-C     end",
    "Tab, arrows   the next part, and back",
    "up, down      move through long lists; Page and Home too",
    "/             only tasks with this text in name or command; Esc: all",
    "f             tasks that are running, failed, to do, or in any state",
    "s             sort by something else",
    "?             this",
    "",
    "wait          from when a task could be had to when a worker got it,",
    "out           from then to its end: half are no longer than the first",
    "              time, all but one in a hundred no longer than the second",
];

/// What is to be shown.
pub(super) struct Scene<'a> {
    /// What was seen last, if anything was.
    pub(super) look: Option<&'a Look>,
    /// Why nothing newer was seen.
    pub(super) trouble: Option<&'a str>,
    pub(super) trend: &'a Trend,
    pub(super) state: &'a State,
}

/// The lines of a screen of this size; never more than there is room for.
pub(super) fn lines(scene: &Scene<'_>, width: u16, height: u16) -> Vec<Line<'static>> {
    let (width, height) = (usize::from(width), usize::from(height));
    let mut lines = head(scene, width, height);
    let room = room_below(&lines, height);
    let body = match scene.look {
        _ if scene.state.is_help => HELP.map(Line::from).to_vec(),
        Some(look) => {
            let found = sheets(scene.state.pane, look, scene.state.order());
            body(&found, scene.state.scroll, room)
        }
        None => Vec::new(),
    };
    lines.extend(body.into_iter().take(room));
    lines.truncate(height.saturating_sub(1));
    lines.resize_with(height.saturating_sub(1), Line::default);
    if height > 0 {
        lines.push(keys(scene.state));
    }
    lines
}

/// How many lines of the pane may be left out at the top of a screen of this size: with more there
/// would be nothing new below.
pub(super) fn scroll_max(scene: &Scene<'_>, width: u16, height: u16) -> usize {
    let Some(look) = scene.look else { return 0 };
    let (width, height) = (usize::from(width), usize::from(height));
    let room = room_below(&head(scene, width, height), height);
    skipped_max(&sheets(scene.state.pane, look, scene.state.order()), room)
}

/// What stands above the pane.
fn head(scene: &Scene<'_>, width: usize, height: usize) -> Vec<Line<'static>> {
    let mut lines = vec![title(scene)];
    if let Some(look) = scene.look {
        lines.extend(figures(&look.summary).into_iter().map(Line::from));
        if height >= HEIGHT_FOR_CURVES {
            lines.extend(curves(scene.trend, width));
        }
        lines.push(tabs(scene.state, &Pane::of(&look.summary)));
    }
    lines
}

/// Lines that there are for the pane. The last one is for keys, whatever there is.
fn room_below(head: &[Line<'_>], height: usize) -> usize {
    height.saturating_sub(head.len() + 1)
}

/// The same without a screen: everything that there is to see, one part after the other.
pub(super) fn text(look: &Look) -> String {
    let mut lines = vec![shown(look.summary.title.as_bytes(), TITLE_CHARS)];
    lines.extend(figures(&look.summary));
    for pane in Pane::of(&look.summary) {
        for sheet in sheets(pane, look, Order::default()) {
            lines.extend([String::new(), sheet.head]);
            lines.extend(sheet.rows.into_iter().chain(sheet.note));
        }
    }
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// What it is, and whether it is there.
fn title(scene: &Scene<'_>) -> Line<'static> {
    let title = scene.look.map(|look| shown(look.summary.title.as_bytes(), TITLE_CHARS));
    let mut spans = Vec::new();
    if let Some(title) = title {
        spans.push(Span::styled(format!("{title}  "), STRONG));
    }
    spans.push(match scene.trouble {
        Some(why) => {
            let why = shown(why.as_bytes(), REASON_CHARS);
            Span::styled(format!("not connected, trying again ({why})"), TROUBLE)
        }
        None if scene.look.is_none() => Span::styled("looking ...", FAINT),
        None => Span::styled("live", FAINT),
    });
    Line::from(spans)
}

/// The numbers that matter most, a line each.
fn figures(summary: &Summary) -> Vec<String> {
    match (summary.farm(), &summary.engine) {
        (Some(farm), _) => figures_of_farm(farm),
        (None, Some(engine)) => vec![figures_of_engine(engine)],
        (None, None) => Vec::new(),
    }
}

fn figures_of_farm(farm: &Farm) -> Vec<String> {
    let ended = farm.rates_10s.done.zip(farm.rates_10s.failed).map(|(done, failed)| done + failed);
    let left = ended.filter(|rate| *rate > 0.0 && farm.unfinished > 0);
    // What takes longer than that to say has no end that anybody knows.
    let left = left.map(|rate| Duration::try_from_secs_f64(farm.unfinished as f64 / rate));
    let left = match left {
        Some(Ok(left)) => format!("; about {} left", span(left)),
        _ => String::new(),
    };
    let rates = &farm.rates_1s;
    let (wait, out) = (spread(farm.waits_10s.as_ref()), spread(farm.leases_10s.as_ref()));
    vec![
        format!("{}{left}", counts_text(farm.total, &farm.counts)),
        format!(
            "{:<NAME_WIDTH$}done {}  failed {}  submitted {}",
            "a second",
            rate(rates.done),
            rate(rates.failed),
            rate(rates.submitted)
        ),
        format!(
            "{:<NAME_WIDTH$}wait {wait}  out {out}  mean run {}  wait ahead {}",
            "times",
            fmt_ns_or_dash(farm.run_ns),
            fmt_ns_or_dash(farm.wait_ns)
        ),
    ]
}

/// Half of something, and all but one in a hundred.
fn spread(times: Option<&Spread>) -> String {
    times.map_or_else(
        || "-".to_owned(),
        |times| format!("{} (99 %: {})", fmt_ns(times.p50_ns), fmt_ns(times.p99_ns)),
    )
}

fn figures_of_engine(engine: &Engine) -> String {
    let Engine { rate_1s, in_flight, latency_ns } = *engine;
    format!(
        "{} a second  {} in flight  mean time {}",
        rate(rate_1s),
        count(in_flight),
        fmt_ns_or_dash(latency_ns)
    )
}

/// How it went since this was started.
fn curves(trend: &Trend, width: usize) -> [Line<'static>; 2] {
    let room = width.saturating_sub(NAME_WIDTH);
    let line = |name: &str, bars: String, color: Color| {
        let name = Span::styled(format!("{name:<NAME_WIDTH$}"), FAINT);
        Line::from(vec![name, Span::styled(bars, Style::new().fg(color))])
    };
    [
        line("rate", trend.rates(room), Color::Green),
        line("latency", trend.times(room), Color::Yellow),
    ]
}

/// The names of the panes.
fn tabs(state: &State, panes: &[Pane]) -> Line<'static> {
    let tab = |pane: &Pane| {
        let style = if *pane == state.pane { CHOSEN } else { PLAIN };
        [Span::styled(format!(" {} ", pane.name()), style), Span::raw(" ")]
    };
    Line::from(panes.iter().flat_map(tab).collect::<Vec<_>>())
}

/// Lines that are too many for this room.
fn skipped_max(sheets: &[Sheet], room: usize) -> usize {
    let lines = |sheet: &Sheet| sheet.rows.len() + usize::from(sheet.note.is_some());
    match sheets {
        [sheet] => lines(sheet).saturating_sub(room.saturating_sub(1)),
        // Each has a head, and an empty line below it.
        _ => sheets.iter().map(|sheet| lines(sheet) + 2).sum::<usize>().saturating_sub(room),
    }
}

/// The tables of a pane. With one table its head stays where it is while its lines move; several
/// move together.
fn body(sheets: &[Sheet], scroll: usize, room: usize) -> Vec<Line<'static>> {
    let head = |sheet: &Sheet| Line::styled(sheet.head.clone(), STRONG);
    let note = |sheet: &Sheet| sheet.note.clone().map(|note| Line::styled(note, FAINT));
    let skipped = scroll.min(skipped_max(sheets, room));
    if let [sheet] = sheets {
        let lines = sheet.rows.iter().cloned().map(Line::from).chain(note(sheet));
        return std::iter::once(head(sheet)).chain(lines.skip(skipped)).collect();
    }
    let mut lines = Vec::new();
    for sheet in sheets {
        lines.push(head(sheet));
        lines.extend(sheet.rows.iter().cloned().map(Line::from).chain(note(sheet)));
        lines.push(Line::default());
    }
    lines.into_iter().skip(skipped).collect()
}

/// What can be pressed, or what is being typed.
fn keys(state: &State) -> Line<'static> {
    if let Some(typed) = &state.typing {
        let typed = shown(typed.as_bytes(), REASON_CHARS);
        return Line::styled(format!("tasks with: {typed}_   Enter: show   Esc: do not"), CHOSEN);
    }
    let mut text = "q: end  Tab: next  ?: help".to_owned();
    if state.pane == Pane::Tasks {
        text += &format!("  f: {}", state.state_name());
        if !state.filter.is_empty() {
            text += &format!("  /: {} (Esc: all)", shown(state.filter.as_bytes(), NAME_WIDTH));
        }
    }
    if state.pane.orders().len() > 1 {
        text += &format!("  s: {}", state.order().name());
    }
    Line::styled(text, FAINT)
}

#[cfg(test)]
mod tests;
