//! What p2pimg keeps in the DHT: keys, who is responsible for them, how they are published,
//! and the bands by which near-duplicates are found.
//!
//! `docs/sweep.md` and `docs/bands.md` say how the parts work together.

pub mod assign;
pub mod band_plan;
pub mod bands;
pub mod explore;
pub mod keys;
pub mod keyspace;
pub mod spans;
pub mod sweep;

#[cfg(test)]
mod simulated;
