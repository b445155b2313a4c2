//! Faults to be built in on purpose, to see that the simulator notices.

/// A rule of the protocol that a shard breaks. It has an effect only where the crate was built with
/// the feature `mutations`, which nothing but the tests of the simulator asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mutation {
    /// All rules hold.
    #[default]
    None,
    /// R2: a transaction is admitted at its stamp although the shard's clock is past it.
    AdmitBelowClock,
    /// R2: the clock of an admission was read before the message was taken from its link.
    EarlyAdmissionClock,
    /// R5: each shard takes its own time instead of the maximum.
    OwnTimestamp,
    /// R6: a transaction runs before its time is agreed.
    ReleaseBeforeAgreed,
    /// R6: a transaction does not wait for an earlier one that it conflicts with.
    IgnoreConflict,
    /// R9: a refusal is not remembered.
    ForgetTombstone,
    /// R8: a retry is run again.
    RunRetryAgain,
    /// R11: the promise of a witness counts whomever it knows to be dead.
    CountAnyVote,
    /// R3: what is said to other shards does not wait until it is durable.
    ProposeBeforeDurable,
    /// R3: answers do not wait until they are durable.
    AnswerBeforeDurable,
    /// R11: what is undecided is not taken up again after a crash.
    ForgetUndecided,
}

impl Mutation {
    /// All that break something.
    pub const ALL: &'static [Self] = &[
        Self::AdmitBelowClock,
        Self::EarlyAdmissionClock,
        Self::OwnTimestamp,
        Self::ReleaseBeforeAgreed,
        Self::IgnoreConflict,
        Self::ForgetTombstone,
        Self::RunRetryAgain,
        Self::CountAnyVote,
        Self::ProposeBeforeDurable,
        Self::AnswerBeforeDurable,
        Self::ForgetUndecided,
    ];

    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::AdmitBelowClock => "admit-below-clock",
            Self::EarlyAdmissionClock => "early-admission-clock",
            Self::OwnTimestamp => "own-timestamp",
            Self::ReleaseBeforeAgreed => "release-before-agreed",
            Self::IgnoreConflict => "ignore-conflict",
            Self::ForgetTombstone => "forget-tombstone",
            Self::RunRetryAgain => "run-retry-again",
            Self::CountAnyVote => "count-any-vote",
            Self::ProposeBeforeDurable => "propose-before-durable",
            Self::AnswerBeforeDurable => "answer-before-durable",
            Self::ForgetUndecided => "forget-undecided",
        }
    }

    /// Whether this rule is broken here.
    #[inline]
    pub(crate) fn is(self, mutation: Self) -> bool {
        cfg!(feature = "mutations") && self == mutation
    }
}
