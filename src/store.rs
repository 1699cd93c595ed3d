//! What a node keeps on disk, and in memory for the DHT.

pub mod compare;
pub mod decode;
pub mod files;
pub mod folder;
pub mod index;
pub mod records;
pub mod replicas;
pub mod scan;
pub mod survey;
pub mod trash;
pub mod watch;
