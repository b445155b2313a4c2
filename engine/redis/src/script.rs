//! The scripts that Redis runs for us. Each is atomic, and each can be run twice without harm.

use crate::layout::{FAILED, FINISHED, IN_PROGRESS, REASONS, STATUS, TODO};

/// A script. What it takes and gives is described at its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Script {
    Claim,
    Finish,
    Fail,
    GiveBack,
    Beat,
    Load,
    Retry,
    Dismiss,
}

impl Script {
    /// All, in their order.
    pub(crate) const ALL: [Self; 8] = [
        Self::Claim,
        Self::Finish,
        Self::Fail,
        Self::GiveBack,
        Self::Beat,
        Self::Load,
        Self::Retry,
        Self::Dismiss,
    ];

    pub(crate) fn source(self) -> &'static str {
        match self {
            Self::Claim => include_str!("scripts/claim.lua"),
            Self::Finish => include_str!("scripts/finish.lua"),
            Self::Fail => include_str!("scripts/fail.lua"),
            Self::GiveBack => include_str!("scripts/give_back.lua"),
            Self::Beat => include_str!("scripts/beat.lua"),
            Self::Load => include_str!("scripts/load.lua"),
            Self::Retry => include_str!("scripts/retry.lua"),
            Self::Dismiss => include_str!("scripts/dismiss.lua"),
        }
    }

    /// The hashes that it works with.
    pub(crate) fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Claim => &[TODO, IN_PROGRESS, FAILED, STATUS],
            Self::Finish => &[TODO, IN_PROGRESS, FINISHED, FAILED, REASONS],
            Self::Fail | Self::Retry => &[TODO, IN_PROGRESS, FAILED, REASONS],
            Self::GiveBack => &[TODO, IN_PROGRESS],
            Self::Beat | Self::Dismiss => &[STATUS],
            Self::Load => &[TODO, IN_PROGRESS, FINISHED],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_names_as_many_keys_at_its_head_as_it_is_given() {
        for (index, script) in Script::ALL.into_iter().enumerate() {
            assert_eq!(script as usize, index, "{script:?} is out of order");
            let head = script.source().lines().find_map(|line| line.strip_prefix("-- KEYS: "));
            let named = head.expect("a line with the keys").split(", ").count();
            assert_eq!(named, script.keys().len(), "{script:?}");
        }
    }
}
