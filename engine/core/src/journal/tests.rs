//! Records, blocks and segments, there and back.
