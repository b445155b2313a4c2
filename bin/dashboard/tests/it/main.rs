//! The dashboard over real HTTP, before a task server with a worker of which a test knows what
//! becomes of each task.

mod api;
mod bounds;
mod engine;
mod events;
mod farm;
mod http;
mod metrics;
mod observer;
mod orders;
mod rules;
mod visitor;
