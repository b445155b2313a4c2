//! Bridges and managers on a real Redis, beside workers and managers of the original that the test
//! acts out with bare commands.
//!
//! Nothing here decides by time: waits end with what they wait for, and their bounds only end what
//! would hang for ever. A test of a defect of the original has its number in its name.

mod beside;
mod crashes;
mod defects;
mod faults;
mod manager;
mod names;
mod player;
mod polling;
mod prefetch;
mod server;
mod support;
mod switches;
