//! Feeds arbitrary bytes to everything that reads what a peer sends.
//!
//! With cargo-fuzz and a nightly toolchain, in `net/wire`: `cargo +nightly fuzz run reader`.

#![no_main]

#[path = "../../tests/it/explore.rs"]
mod explore;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| explore::explore(bytes));
