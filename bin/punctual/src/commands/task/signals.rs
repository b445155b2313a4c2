//! Ctrl-C and SIGTERM where work is under way: the first asks to end in order, the second gives up
//! what runs, the third ends the program at once.

use anyhow::Context;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Exit code of what was interrupted: 128 and the number of SIGINT.
pub(super) const INTERRUPTED: u8 = 130;
/// Interruptions that arrive as messages.
const HEARD: usize = 2;

/// Installs the handler. A message arrives at each of the first two interruptions.
pub(super) fn install() -> anyhow::Result<flume::Receiver<()>> {
    let (sender, receiver) = flume::bounded(HEARD);
    let count = AtomicUsize::new(0);
    ctrlc::set_handler(move || {
        if count.fetch_add(1, Ordering::Relaxed) >= HEARD {
            std::process::exit(i32::from(INTERRUPTED));
        }
        // There is a place for each that gets here.
        let _ = sender.try_send(());
    })
    .context("cannot watch for Ctrl-C")?;
    Ok(receiver)
}
