//! The real binary: nodes and clients in processes of their own, over loopback.
#![allow(clippy::unwrap_used, reason = "a test may fail so")]

mod support;

#[path = "swarm/bad_input.rs"]
mod bad_input;
#[path = "swarm/changes.rs"]
mod changes;
#[path = "swarm/getting.rs"]
mod getting;
#[path = "swarm/life.rs"]
mod life;
#[path = "swarm/listing.rs"]
mod listing;
#[path = "swarm/lost_holders.rs"]
mod lost_holders;
#[path = "swarm/records.rs"]
mod records;
#[path = "swarm/replicas.rs"]
mod replicas;
#[path = "swarm/similar.rs"]
mod similar;
#[path = "swarm/strangers.rs"]
mod strangers;
