//! What somebody wants to see, and how keys change that.

use super::view::Summary;
use punctual_dashboard::TasksQuery;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// Tasks that are asked for; a dashboard gives no more at a time.
const TASKS_MAX: u32 = 200;
/// Characters of a filter.
const FILTER_MAX: usize = 200;
/// Lines of a page.
const PAGE: usize = 10;

/// The states of tasks that can be chosen: their name here, and that in a question.
const STATES: [(&str, &str); 4] =
    [("running", "running"), ("failed", "failed"), ("to do", "todo"), ("any", "")];

/// A part of what there is to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Pane {
    #[default]
    Tasks,
    Jobs,
    Workers,
    Engine,
    Delays,
}

impl Pane {
    /// All, from left to right.
    pub(super) const ALL: [Self; 5] =
        [Self::Tasks, Self::Jobs, Self::Workers, Self::Engine, Self::Delays];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tasks => "Tasks",
            Self::Jobs => "Jobs",
            Self::Workers => "Workers",
            Self::Engine => "Engine",
            Self::Delays => "Delays",
        }
    }

    /// Those that have something to show.
    pub(super) fn of(summary: &Summary) -> Vec<Self> {
        let is_there = |pane: &Self| match pane {
            Self::Tasks | Self::Jobs | Self::Workers => summary.farm().is_some(),
            Self::Engine => !summary.blocks.is_empty(),
            Self::Delays => !summary.delays.is_empty(),
        };
        Self::ALL.into_iter().filter(is_there).collect()
    }

    /// What its lines can be sorted by; the first is the order in which they come.
    pub(super) fn orders(self) -> &'static [Order] {
        match self {
            Self::Tasks => &[Order::AsTold, Order::Time, Order::Worker],
            Self::Jobs => &[Order::AsTold, Order::Name, Order::Failed],
            Self::Workers => &[Order::AsTold, Order::Name, Order::Busy, Order::Failed],
            Self::Engine | Self::Delays => &[Order::AsTold],
        }
    }
}

/// What lines are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Order {
    #[default]
    AsTold,
    /// The longest first.
    Time,
    Worker,
    Name,
    /// Those with the most failures first.
    Failed,
    /// Those that run most first.
    Busy,
}

impl Order {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::AsTold => "as told",
            Self::Time => "longest",
            Self::Worker => "worker",
            Self::Name => "name",
            Self::Failed => "failures",
            Self::Busy => "running",
        }
    }
}

/// What a key has led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// What is known may be shown otherwise.
    Stay,
    /// Other tasks are wanted.
    Ask,
    /// That was enough.
    Quit,
}

/// What somebody wants to see.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) pane: Pane,
    /// Lines that are left out at the top.
    pub(super) scroll: usize,
    pub(super) is_help: bool,
    /// What is being typed as a filter.
    pub(super) typing: Option<String>,
    pub(super) filter: String,
    /// Which of [`STATES`].
    states: usize,
    /// Which of the orders of the pane.
    order: usize,
}

impl State {
    /// The tasks that are wanted.
    pub(super) fn query(&self) -> TasksQuery {
        TasksQuery {
            state: STATES[self.states].1.to_owned(),
            search: self.filter.clone(),
            limit: Some(TASKS_MAX),
            ..TasksQuery::default()
        }
    }

    /// The state that tasks are shown of.
    pub(super) fn state_name(&self) -> &'static str {
        STATES[self.states].0
    }

    pub(super) fn order(&self) -> Order {
        self.pane.orders().get(self.order).copied().unwrap_or_default()
    }

    /// Goes on in a pane that is there.
    pub(super) fn keep_to(&mut self, panes: &[Pane]) {
        if let Some(first) = panes.first()
            && !panes.contains(&self.pane)
        {
            self.go_to(*first);
        }
    }

    fn go_to(&mut self, pane: Pane) {
        (self.pane, self.scroll, self.order) = (pane, 0, 0);
    }

    /// Goes so many panes to the right, and round.
    fn step(&mut self, panes: &[Pane], steps: usize) {
        let at = panes.iter().position(|pane| *pane == self.pane).unwrap_or(0);
        if let Some(next) = panes.get((at + steps) % panes.len().max(1)) {
            self.go_to(*next);
        }
    }

    /// Takes a key.
    pub(super) fn on_key(&mut self, key: KeyEvent, panes: &[Pane]) -> After {
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        if key.kind == KeyEventKind::Release {
            return After::Stay;
        }
        if is_control {
            return if key.code == KeyCode::Char('c') { After::Quit } else { After::Stay };
        }
        if self.typing.is_some() {
            return self.on_typed(key.code);
        }
        if self.is_help && key.code != KeyCode::Char('q') {
            self.is_help = false;
            return After::Stay;
        }
        match key.code {
            KeyCode::Char('q') => return After::Quit,
            KeyCode::Char('?' | 'h') => self.is_help = true,
            KeyCode::Tab | KeyCode::Right => self.step(panes, 1),
            KeyCode::BackTab | KeyCode::Left => self.step(panes, panes.len().saturating_sub(1)),
            KeyCode::Up => self.scroll = self.scroll.saturating_sub(1),
            KeyCode::Down => self.scroll += 1,
            KeyCode::PageUp => self.scroll = self.scroll.saturating_sub(PAGE),
            KeyCode::PageDown => self.scroll += PAGE,
            KeyCode::Home => self.scroll = 0,
            KeyCode::Char('s') => self.order = (self.order + 1) % self.pane.orders().len(),
            KeyCode::Char('/') if panes.contains(&Pane::Tasks) => {
                self.go_to(Pane::Tasks);
                self.typing = Some(self.filter.clone());
            }
            KeyCode::Char('f') if panes.contains(&Pane::Tasks) => {
                self.go_to(Pane::Tasks);
                self.states = (self.states + 1) % STATES.len();
                return After::Ask;
            }
            KeyCode::Esc if !self.filter.is_empty() => {
                self.filter.clear();
                return After::Ask;
            }
            _ => {}
        }
        After::Stay
    }

    /// Takes a key of a filter.
    fn on_typed(&mut self, key: KeyCode) -> After {
        let Some(typed) = &mut self.typing else { return After::Stay };
        match key {
            KeyCode::Enter => {
                self.filter = self.typing.take().unwrap_or_default();
                self.scroll = 0;
                return After::Ask;
            }
            KeyCode::Esc => self.typing = None,
            KeyCode::Backspace => {
                typed.pop();
            }
            KeyCode::Char(character) if typed.chars().count() < FILTER_MAX => typed.push(character),
            _ => {}
        }
        After::Stay
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::top::view::{Block, Farm};

    /// Presses keys one after the other; what the last one led to.
    fn press(state: &mut State, keys: &[KeyCode]) -> After {
        let panes = [Pane::Tasks, Pane::Jobs, Pane::Workers];
        let press = |_: After, key: &KeyCode| state.on_key(KeyEvent::from(*key), &panes);
        keys.iter().fold(After::Stay, press)
    }

    #[test]
    fn there_are_panes_for_what_there_is() {
        let farm = Summary { tasks: Some(Farm::default()), ..Summary::default() };
        assert_eq!(Pane::of(&farm), [Pane::Tasks, Pane::Jobs, Pane::Workers]);
        let error = Some("gone".to_owned());
        let tasks = Some(Farm { error, ..Farm::default() });
        assert_eq!(Pane::of(&Summary { tasks, ..Summary::default() }), []);
        let engine = Summary { blocks: vec![Block::default()], ..Summary::default() };
        let mut state = State::default();
        state.keep_to(&Pane::of(&engine));
        assert_eq!(state.pane, Pane::Engine);
        state.keep_to(&[]);
        assert_eq!(state.pane, Pane::Engine, "it stays where it was");
    }

    #[test]
    fn tab_and_arrows_go_round_through_the_panes_and_back() {
        let mut state = State::default();
        let seen = [KeyCode::Tab, KeyCode::Right, KeyCode::Tab, KeyCode::BackTab, KeyCode::Left]
            .map(|key| {
                assert_eq!(press(&mut state, &[key]), After::Stay);
                state.pane
            });
        assert_eq!(seen, [Pane::Jobs, Pane::Workers, Pane::Tasks, Pane::Workers, Pane::Jobs]);
        assert_eq!(State::default().on_key(KeyCode::Tab.into(), &[]), After::Stay);
    }

    #[test]
    fn a_filter_is_typed_and_holds_until_it_is_taken_away() {
        let mut state = State::default();
        let keys = ['/', 'l', 'q', '?', 'x'].map(KeyCode::Char);
        assert_eq!(press(&mut state, &keys), After::Stay);
        assert_eq!(press(&mut state, &[KeyCode::Backspace, KeyCode::Enter]), After::Ask);
        assert_eq!((state.filter.as_str(), state.query().search.as_str()), ("lq?", "lq?"));
        assert_eq!(state.query().state, "running");
        press(&mut state, &[KeyCode::Char('/'), KeyCode::Char('x'), KeyCode::Esc]);
        assert_eq!(state.filter, "lq?", "what was typed was thrown away");
        assert_eq!(press(&mut state, &[KeyCode::Esc]), After::Ask);
        assert_eq!(state.filter, "");
    }

    #[test]
    fn states_and_orders_can_be_chosen_in_turn() {
        let mut state = State::default();
        let states = [(); 4].map(|()| {
            assert_eq!(press(&mut state, &[KeyCode::Char('f')]), After::Ask);
            state.query().state
        });
        assert_eq!(states, ["failed", "todo", "", "running"]);
        let orders = [(); 3].map(|()| {
            press(&mut state, &[KeyCode::Char('s')]);
            state.order()
        });
        assert_eq!(orders, [Order::Time, Order::Worker, Order::AsTold]);
        press(&mut state, &[KeyCode::Char('s'), KeyCode::Tab]);
        assert_eq!(state.order(), Order::AsTold, "another pane has other orders");
    }

    #[test]
    fn q_and_control_c_end_it_even_over_the_help_and_other_keys_close_that() {
        let mut state = State::default();
        press(&mut state, &[KeyCode::Char('?')]);
        assert!(state.is_help);
        assert_eq!(press(&mut state, &[KeyCode::Char('x')]), After::Stay);
        assert!(!state.is_help);
        assert_eq!(press(&mut state, &[KeyCode::Char('?'), KeyCode::Char('q')]), After::Quit);
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        press(&mut state, &[KeyCode::Char('/')]);
        assert_eq!(state.on_key(interrupt, &[]), After::Quit);
    }
}
