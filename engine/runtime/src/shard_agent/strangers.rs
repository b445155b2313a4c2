//! Who has come and has not said yet who it is: the same for shards and task queues.

use super::connection::End;
use crate::counters::LinkCounts;
use punctual_core::Nanos;
use punctual_link::{HandshakeError, Link, ParkHandle, ServerHandshake};
use punctual_wire::CloseReason;
use std::time::Duration;

/// A visitor that has not said who it is by then is shown out.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that may wait for their handshake; one more shows the oldest out.
pub(crate) const STRANGERS_MAX: usize = 64;

/// Has a link end the sleeps of its core, if that ever sleeps. Returns whether it does, and says so
/// if not.
pub(crate) fn register(link: &mut dyn Link, park: Option<&ParkHandle>) -> bool {
    let Some(Err(error)) = park.map(|park| link.register(park)) else { return true };
    tracing::warn!(peer = link.peer(), %error, "a link cannot be watched and is dropped");
    false
}

/// The stranger that has to make room for one more, if there are as many as there may be. `since`
/// says of each connection when it came, if it is a stranger.
pub(crate) fn surplus_stranger(
    since: impl Iterator<Item = Option<Nanos>> + Clone,
) -> Option<usize> {
    let strangers = since.enumerate().filter_map(|(at, since)| Some((since?, at)));
    if strangers.clone().count() < STRANGERS_MAX {
        return None;
    }
    strangers.min().map(|(_, at)| at)
}

/// Sends a visitor away for whom there is no room.
pub(crate) fn refuse(link: &mut dyn Link, counts: &mut LinkCounts) {
    counts.closed += 1;
    counts.refused += 1;
    tracing::warn!(peer = link.peer(), "too many connections: one is refused");
    ServerHandshake::reject(link, CloseReason::TooManySessions);
}

/// Tells a visitor why it cannot stay.
pub(crate) fn reject(link: &mut dyn Link, reason: CloseReason) -> End {
    ServerHandshake::reject(link, reason);
    End::Handshake(HandshakeError::Rejected(reason))
}
