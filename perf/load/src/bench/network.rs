//! What a report says of an emulated network.

use crate::report::NetworkFigures;
use crate::summary::LatencySummary;
use punctual_runtime::NetworkReport;

/// What the network did between two moments.
pub(super) fn figures_of(before: &NetworkReport, after: NetworkReport) -> NetworkFigures {
    let mut error_ns = after.added_error_ns;
    // A histogram that only grows contains its earlier self.
    let _ = error_ns.subtract(&before.added_error_ns);
    NetworkFigures {
        name: after.info.name,
        delay_max_ns: u64::try_from(after.info.one_way.as_nanos()).unwrap_or(u64::MAX),
        added_error_ns: LatencySummary::from_histogram(&error_ns),
        delayed: after.batches.saturating_sub(before.batches),
        lost: after.packets_lost.saturating_sub(before.packets_lost),
    }
}
