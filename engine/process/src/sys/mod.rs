//! The one place of this crate that speaks to the operating system in its own terms.
#![allow(unsafe_code)]

mod reap;
mod signals;
mod spawn;

pub(crate) use reap::{Status, is_above_own_peak, reap, reap_orphans, wait_and_reap};
pub(crate) use signals::ignore_signals;
pub(crate) use spawn::{Child, Orders, SpawnError, Spawner, Stage, Step};
