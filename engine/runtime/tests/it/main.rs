//! Whole engines on real threads and sockets: what one process embeds, what two share, and what
//! becomes of it all when a peer dies, lies or keeps silent.
//!
//! Nothing here decides by time. Deadlines are generous and only end what would hang for ever;
//! ports are chosen by the system.

mod apart;
mod cluster;
mod durability;
mod hostile;
mod idle;
mod network;
mod peers;
mod pending;
mod probes;
mod procedures;
mod raw;
mod restart;
mod sessions;
mod several;
mod startup;
mod support;
mod transports;
