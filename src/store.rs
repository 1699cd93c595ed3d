//! What a node keeps on disk, and in memory for the DHT.

pub mod bands;
pub mod compare;
mod database;
pub mod decode;
pub mod files;
pub mod folder;
pub mod index;
pub mod ledger;
pub mod recording;
pub mod records;
pub mod replicas;
pub mod scan;
pub mod scrub;
pub mod survey;
pub mod trash;
pub mod watch;
