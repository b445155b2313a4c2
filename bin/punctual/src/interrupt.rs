//! Ctrl-C and SIGTERM: the first asks to end in order, the second ends at once.

use anyhow::Context;
use std::sync::atomic::{AtomicBool, Ordering};

/// Exit code after a second interruption: 128 and the number of SIGINT.
const INTERRUPTED: i32 = 130;

/// Installs the handler. A message arrives at the first interruption.
///
/// # Errors
/// When the system refuses, or it was called before.
pub(crate) fn install() -> anyhow::Result<flume::Receiver<()>> {
    let (sender, receiver) = flume::bounded(1);
    let asked = AtomicBool::new(false);
    ctrlc::set_handler(move || {
        if asked.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED);
        }
        // The one place is free: this happens once.
        let _ = sender.try_send(());
    })
    .context("cannot watch for Ctrl-C")?;
    Ok(receiver)
}
