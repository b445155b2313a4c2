//! What all nodes of the farm share.

use super::check::Ledger;
use super::events::{Event, Events};
use super::layout::Layout;
use super::net::Net;
use super::plans::Plans;
use super::tuning::Tuning;
use crate::rng::Rng;

#[derive(Debug)]
pub(super) struct Env {
    pub(super) layout: Layout,
    pub(super) tuning: Tuning,
    pub(super) events: Events,
    pub(super) net: Net,
    pub(super) plans: Plans,
    pub(super) ledger: Ledger,
    pub(super) rng: Rng,
    pub(super) is_healed: bool,
}

impl Env {
    /// Who has lost its connection, or got none, tries again soon.
    pub(super) fn connect_soon(&mut self, now: i64, link: usize) {
        let pause = self.rng.between(200_000, 5_000_000);
        self.events.plan(now + pause, Event::Connect { link });
    }
}
