//! What p2pimg keeps in the DHT: keys, who is responsible for them, and how they are published.
//!
//! `docs/sweep.md` says how the parts work together.

pub mod assign;
pub mod explore;
pub mod keys;
pub mod keyspace;
pub mod spans;
pub mod sweep;

#[cfg(test)]
mod simulated;
