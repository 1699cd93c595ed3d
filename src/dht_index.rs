//! What p2pimg keeps in the DHT: keys, who is responsible for them, provider records.

pub mod keys;
pub mod keyspace;
