//! What can go wrong with a Redis, and what the user can do about it.

use std::io;
use thiserror::Error;

/// Why something with a Redis did not work.
#[derive(Debug, Error)]
pub enum RedisError {
    /// An address that is none.
    #[error(
        "{text} is no address of a Redis: {why}; write it as redis://HOST:PORT/DB, or as \
         redis://:PASSWORD@HOST:PORT/DB"
    )]
    Address {
        /// The address, without its password.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// There is nobody, or nobody who answers.
    #[error(
        "no Redis answers at {address} ({why}): start it, or give the address of one that runs"
    )]
    Unreachable {
        /// Where it should be.
        address: String,
        /// What happened.
        why: String,
    },
    /// It will not have us.
    #[error(
        "the Redis at {address} refuses ({why}): give the password that it wants, or have its \
         user allowed to use hashes, scripts and channels"
    )]
    Refused {
        /// Where it is.
        address: String,
        /// What it said.
        why: String,
    },
    /// It was asked for something, and did not do it.
    #[error(
        "the Redis at {address} failed ({why}): look after it, then do the same again, which \
         changes nothing that was done"
    )]
    Failed {
        /// Where it is.
        address: String,
        /// What happened.
        why: String,
    },
    /// A bridge ended while the Redis was away.
    #[error(
        "the Redis at {address} was out of reach when the worker ended ({why}): {count} tasks stay \
         in progress under the name {name}; start a worker with that name again, or move them back \
         (cleanup)"
    )]
    NotDelivered {
        /// Where it is.
        address: String,
        /// What happened.
        why: String,
        /// The worker's name there.
        name: String,
        /// Tasks of which the Redis does not know what came of them.
        count: usize,
    },
    /// The system has no more threads or file descriptors, for instance.
    #[error("the system does not let a bridge to Redis work: {0}")]
    System(#[from] io::Error),
}

impl RedisError {
    /// Whether the user can mend it by using the program otherwise.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Address { .. } | Self::Unreachable { .. } | Self::Refused { .. })
    }
}
