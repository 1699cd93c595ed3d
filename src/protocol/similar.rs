//! What a client asks its node about pictures that look like one.

use serde::{Deserialize, Serialize};

use super::ImageRow;
use crate::types::ImageId;

/// Which pictures look like this one?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SimilarQuery {
    /// The client's [`HASH_VERSION`](super::HASH_VERSION): hashes of different versions say
    /// nothing about each other.
    pub hash_version: u32,
    /// The picture: its hash. It need not be in the swarm.
    pub image: ImageId,
    /// Bits in which the hashes may differ; at most
    /// [`MAX_SIMILAR_DISTANCE`](crate::limits::MAX_SIMILAR_DISTANCE).
    pub distance: u32,
    /// How many to tell; at most [`MAX_SIMILAR`](crate::limits::MAX_SIMILAR).
    pub limit: u32,
}

/// The nearest pictures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SimilarPage {
    /// The nearest first; of those equally near the one with more pixels, then the one with more
    /// bytes. At most [`MAX_SIMILAR`](crate::limits::MAX_SIMILAR).
    pub rows: Vec<SimilarRow>,
    /// Hashes that the asked one was compared with.
    pub compared: u64,
    /// Of these, those within the distance, whether anybody who has them is there or not.
    pub within: u64,
    /// There are more than `rows`, or may be.
    pub more: bool,
}

/// A picture that looks like the asked one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SimilarRow {
    /// Bits in which the hashes differ.
    pub distance: u32,
    /// Which, and who holds it.
    pub row: ImageRow,
}
