//! The threads of a journal: what they decide without I/O, and all of them together on real files.
//!
//! Nothing here decides by time. Deadlines are generous and only end what would hang for ever.

mod endings;
mod rig;
mod room;
mod whole;
mod writing;
