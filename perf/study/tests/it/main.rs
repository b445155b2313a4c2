//! Studies from the experiment file to the report, with a runner that only pretends.

mod compare;
mod files;
mod render;
mod run;
mod shipped;
mod support;
