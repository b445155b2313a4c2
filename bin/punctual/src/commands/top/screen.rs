//! The terminal: what is drawn on it, and what is pressed.

use super::place::{Look, Place};
use super::render::{self, Scene};
use super::state::{After, Pane, State};
use super::trend::Trend;
use anyhow::{Context, bail};
use flume::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use punctual_dashboard::TasksQuery;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use ratatui::text::Text;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// How long to wait for a key before looking whether something was seen.
const TICK: Duration = Duration::from_millis(50);
/// Looks and questions that wait to be taken.
const WAITING_MAX: usize = 8;
/// Exit code of what was interrupted twice: 128 and the number of SIGINT.
const INTERRUPTED: i32 = 130;

/// A terminal that is drawn on, and as it was before once this is dropped. A panic brings it back
/// as well, before it is reported.
struct Screen(DefaultTerminal);

impl Screen {
    fn open() -> anyhow::Result<Self> {
        // What has been done to it by then is undone.
        let opened = ratatui::try_init().inspect_err(|_| ratatui::restore());
        Ok(Self(opened.context("this terminal cannot be drawn on; --once prints text")?))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// What is known, and what somebody wants to see of it.
#[derive(Default)]
struct Desk {
    look: Option<Look>,
    trouble: Option<String>,
    trend: Trend,
    state: State,
}

impl Desk {
    /// Takes what was seen.
    fn see(&mut self, seen: anyhow::Result<Look>) {
        match seen {
            Err(error) => self.trouble = Some(format!("{error:#}")),
            Ok(look) => match look.trouble() {
                // What was seen before is better than nothing.
                Some(why) => self.trouble = Some(why.to_owned()),
                None => {
                    self.trouble = None;
                    self.trend.push(&look.summary);
                    self.state.keep_to(&Pane::of(&look.summary));
                    self.look = Some(look);
                }
            },
        }
    }

    fn panes(&self) -> Vec<Pane> {
        self.look.as_ref().map(|look| Pane::of(&look.summary)).unwrap_or_default()
    }

    fn scene(&self) -> Scene<'_> {
        let Self { look, trouble, trend, state } = self;
        Scene { look: look.as_ref(), trouble: trouble.as_deref(), trend, state }
    }

    fn draw(&mut self, screen: &mut Screen) -> anyhow::Result<()> {
        let drawn = screen.0.draw(|frame| {
            let area = frame.area();
            // Else keys that went too far down would have to be pressed as often upwards.
            let most = render::scroll_max(&self.scene(), area.width, area.height);
            self.state.scroll = self.state.scroll.min(most);
            let lines = render::lines(&self.scene(), area.width, area.height);
            frame.render_widget(Text::from(lines), area);
        });
        drawn.map(|_| ()).context("drawing on this terminal")
    }
}

/// Shows a place until somebody has seen enough.
pub(super) fn watch(place: Place, interval: Duration) -> anyhow::Result<ExitCode> {
    let interrupted = on_interrupt()?;
    let (questions, asked) = flume::bounded(WAITING_MAX);
    let (looks, seen) = flume::bounded(WAITING_MAX);
    let mut desk = Desk::default();
    let first = desk.state.query();
    // It may wait for a server when this ends, and is not waited for.
    thread::Builder::new()
        .name("top-look".to_owned())
        .spawn(move || look_again_and_again(place, first, interval, &asked, &looks))
        .context("the system gives no threads")?;
    let mut screen = Screen::open()?;
    show(&mut desk, &mut screen, &interrupted, &questions, &seen)?;
    Ok(ExitCode::SUCCESS)
}

/// Looks, and answers questions about tasks at once.
fn look_again_and_again(
    place: Place,
    mut query: TasksQuery,
    interval: Duration,
    asked: &Receiver<TasksQuery>,
    looks: &Sender<anyhow::Result<Look>>,
) {
    let mut looked = place.open();
    loop {
        if looks.send(looked.look(&query)).is_err() {
            return;
        }
        match asked.recv_timeout(interval) {
            Ok(next) => query = asked.drain().last().unwrap_or(next),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Draws what is seen and takes keys, until that is to end.
fn show(
    desk: &mut Desk,
    screen: &mut Screen,
    interrupted: &Receiver<()>,
    questions: &Sender<TasksQuery>,
    seen: &Receiver<anyhow::Result<Look>>,
) -> anyhow::Result<()> {
    let mut has_changed = true;
    loop {
        if has_changed {
            desk.draw(screen)?;
            has_changed = false;
        }
        if interrupted.try_recv().is_ok() {
            return Ok(());
        }
        if event::poll(TICK).context("waiting for a key")? {
            has_changed = true;
            if let Event::Key(key) = event::read().context("reading a key")? {
                match desk.state.on_key(key, &desk.panes()) {
                    After::Stay => {}
                    After::Quit => return Ok(()),
                    // If there is no room, somebody is very fast, and has one answered before.
                    After::Ask => drop(questions.try_send(desk.state.query())),
                }
            }
        }
        loop {
            match seen.try_recv() {
                Ok(look) => desk.see(look),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => bail!("the thread that looks has died"),
            }
            has_changed = true;
        }
    }
}

/// Ctrl-C is a key while the terminal is drawn on; this is for what comes from elsewhere. A message
/// arrives at the first interruption, the second one ends the program at once.
fn on_interrupt() -> anyhow::Result<Receiver<()>> {
    let (sender, receiver) = flume::bounded(1);
    let asked = AtomicBool::new(false);
    ctrlc::set_handler(move || {
        if asked.swap(true, Ordering::Relaxed) {
            ratatui::restore();
            std::process::exit(INTERRUPTED);
        }
        // The one place is free: this happens once.
        let _ = sender.try_send(());
    })
    .context("cannot watch for Ctrl-C")?;
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    fn look(summary: &str) -> Look {
        Look::read(summary.as_bytes()).expect("a summary")
    }

    #[test]
    fn what_was_seen_stays_while_nothing_answers_and_is_replaced_when_something_does() {
        let mut desk = Desk::default();
        desk.see(Err(anyhow!("nobody is there")));
        assert!(desk.look.is_none() && desk.panes().is_empty());
        desk.see(Ok(look("{\"schema\": 1, \"title\": \"a\", \"blocks\": [{}]}")));
        assert_eq!((desk.trouble.as_deref(), desk.panes()), (None, vec![Pane::Engine]));
        assert_eq!(desk.state.pane, Pane::Engine);
        desk.see(Ok(look("{\"schema\": 1, \"title\": \"b\", \"tasks\": {\"error\": \"gone\"}}")));
        assert_eq!(desk.trouble.as_deref(), Some("gone"));
        assert_eq!(desk.look.as_ref().map(|look| look.summary.title.as_str()), Some("a"));
        desk.see(Ok(look("{\"schema\": 1, \"title\": \"c\", \"tasks\": {}}")));
        assert_eq!((desk.trouble.as_deref(), desk.panes().len()), (None, 3));
        assert_eq!(desk.state.pane, Pane::Tasks, "the other one is not there any more");
    }
}
