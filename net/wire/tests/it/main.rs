//! Tests of the wire format through its public face: what is written is read back equal, what is
//! cut waits for the rest, and no bytes whatever get more than an error.

mod explore;
mod frames;
mod handshake;
mod hostile;
mod malformed;
mod messages;
mod peers;
mod samples;
mod stamped;
mod task_limits;
mod task_queues;
mod task_samples;
mod tasks;
