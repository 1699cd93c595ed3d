//! `p2pimg` joins machines that each hold a folder of photos into one swarm without a
//! server. This library is the whole program; `main.rs` only starts it.
//!
//! The modules are floors of a house, and imports go down only (`tests/house.rs` checks
//! it). `docs/architecture.md` is the map.

// Floor 0: words.
pub mod error;
pub mod limits;
pub mod protocol;
pub mod types;
// Floor 1: decisions. No I/O, no clock, no randomness of their own.
pub mod backoff;
pub mod brake;
pub mod catalog;
pub mod dedup;
pub mod dht_index;
pub mod membership;
pub mod picture;
pub mod replication;
pub mod transfer;
// Floor 2: disk.
pub mod store;
// Floor 3: the network's parts.
pub mod behaviour;
pub mod wire;
// Floor 4: the node and the client.
pub mod client;
pub mod node;
// Floor 5: the command line.
pub mod cli;
pub mod client_cli;
pub mod node_cli;
pub mod scan_cli;
pub mod trash_cli;
