//! What p2pimg keeps in the DHT: keys, who is responsible for them, provider records,
//! and the bands by which near-duplicates are found.

pub mod band_plan;
pub mod bands;
pub mod keys;
pub mod keyspace;
