//! The core from outside, as a program that embeds it sees it.

mod alloc;
mod alloc_several;
mod task_worker;
