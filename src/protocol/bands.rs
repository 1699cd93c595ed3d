//! Bands: entries for near-duplicates, in bulk. What they are: `dht_index::bands`.

use libp2p::PeerId;
use serde::{Deserialize, Serialize};

/// The sender holds these pictures: keep an entry for each. It speaks for itself only; the
/// holder is who sends it.
///
/// The payload has [`BANDS_ENTRY_BYTES`] for each: hash (32), content id (32), and the bands of
/// the hash that the receiver is to keep, as a number of two bytes, big-endian. They take the
/// place of what the same sender had for the content; no band at all takes it back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreBands {
    /// Number of the parameters; 1.
    pub scheme: u8,
    /// Entries; at most [`MAX_BANDS_STORED`](crate::limits::MAX_BANDS_STORED).
    pub count: u32,
}

/// Bytes of an entry of [`StoreBands`].
pub const BANDS_ENTRY_BYTES: usize = 66;

/// What became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BandsStored {
    /// Entries that are kept.
    pub stored: u32,
    /// Entries that are not: the sender's share, or everything, is full.
    pub refused: u32,
    /// Bands, of the entries kept, that are hot: too many pictures have these bits.
    pub hot: u32,
}

/// What is near these? The payload has [`BANDS_QUESTION_BYTES`] for each: hash (32), and the bands
/// to look into, as a number of two bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskBands {
    /// Number of the parameters; 1.
    pub scheme: u8,
    /// Questions; at most [`MAX_BANDS_ASKED`](crate::limits::MAX_BANDS_ASKED).
    pub count: u32,
    /// Largest distance; at most [`MAX_NEAR_DISTANCE`](crate::limits::MAX_NEAR_DISTANCE).
    pub most: u32,
}

/// Bytes of a question of [`AskBands`].
pub const BANDS_QUESTION_BYTES: usize = 34;

/// What is near. The payload has [`BANDS_FOUND_BYTES`] for each picture found: number of the
/// question from 0 (2 bytes, big-endian), hash (32), content id (32), and three numbers of two bytes:
/// places in `holders`, or `ffff`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BandsFound {
    /// Pictures found; at most [`MAX_NEAR_TOLD`](crate::limits::MAX_NEAR_TOLD).
    pub count: u32,
    /// Who holds them, as they said; at most
    /// [`MAX_BAND_SENDERS`](crate::limits::MAX_BAND_SENDERS).
    pub holders: Vec<PeerId>,
    /// Entries that were compared.
    pub looked: u64,
    /// Bands, of those asked about, that are hot: what is near may have been left out.
    pub hot: u32,
    /// Questions whose answer is not complete, for its length.
    pub cut: u32,
}

/// Bytes of a picture of [`BandsFound`].
pub const BANDS_FOUND_BYTES: usize = 72;
