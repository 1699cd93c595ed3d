//! What p2pimg keeps in the DHT: keys and provider records.

pub mod keys;
