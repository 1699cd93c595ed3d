//! Recognising a picture: perceptual hash, structure guard, signature. Pure functions of
//! pixels; `store/decode.rs` makes the pixels.
//!
//! Every node has to compute the same hash of the same bytes, so nothing here depends on
//! the machine: no vector instructions chosen at run time, no threads, `f32` sums in a
//! fixed order. [`HASH`] holds all parameters; changing one of them, or the way from a
//! file to [`Reduced`] planes, means a new [`crate::protocol::HASH_VERSION`].

pub mod compare;
pub mod detail;
pub mod hash;
mod mosaic;
pub mod planes;
pub mod quality;
pub mod reduce;
pub mod same;
pub mod witness;

use std::fmt;

pub use planes::{Orientation, PixelPlanes, Plane, Reduced};
pub use witness::{BadWitness, Witness};

use crate::protocol::HASH_VERSION;
use crate::types::to_hex;

/// The parameters of one version of the perceptual hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashParameters {
    /// The version that these parameters are.
    pub version: u32,
    /// Side of the square luma plane that everything is computed from.
    pub luma_side: usize,
    /// Side of the square chroma planes. A quarter: most JPEGs hold chroma at half the
    /// resolution, and their block averages are then all that has to be read.
    pub chroma_side: usize,
    /// Side of the hash: 16x16 bits.
    pub hash_side: u32,
    /// Side of the luma plane that the guard looks at.
    pub guard_side: usize,
    /// Guard below which a picture has no perceptual hash: flat pictures share one.
    pub min_guard: u8,
    /// Side of the signature's luma plane.
    pub signature_luma: usize,
    /// Side of the signature's two chroma planes.
    pub signature_chroma: usize,
}

/// What this program computes.
pub const HASH: HashParameters = HashParameters {
    version: HASH_VERSION,
    luma_side: 256,
    chroma_side: 64,
    hash_side: 16,
    guard_side: 64,
    min_guard: 10,
    signature_luma: 32,
    signature_chroma: 16,
};

/// 1,536 bytes beside the hash: 32x32 luma, 16x16 Cb, 16x16 Cr, upright. They let a node
/// refuse most false matches without fetching the picture.
#[derive(Clone, PartialEq, Eq)]
pub struct Signature(Box<[u8; Signature::LEN]>);

impl Signature {
    /// Bytes of a signature.
    pub const LEN: usize =
        HASH.signature_luma * HASH.signature_luma + 2 * HASH.signature_chroma * HASH.signature_chroma;

    /// Takes the bytes as they were stored.
    #[must_use]
    pub fn from_array(bytes: [u8; Self::LEN]) -> Self {
        Self(Box::new(bytes))
    }

    /// The bytes as they are stored.
    #[must_use]
    pub fn as_array(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// 32x32 luma, row by row.
    #[must_use]
    pub fn luma(&self) -> &[u8] {
        &self.0[..HASH.signature_luma * HASH.signature_luma]
    }

    /// 16x16 Cb, then 16x16 Cr.
    #[must_use]
    pub fn chroma(&self) -> &[u8] {
        &self.0[HASH.signature_luma * HASH.signature_luma..]
    }

    fn of(planes: &PixelPlanes) -> Self {
        let mut bytes = hash::box_average(&planes.luma, HASH.luma_side, HASH.signature_luma);
        for plane in [&planes.cb, &planes.cr] {
            bytes.extend(hash::box_average(plane, HASH.chroma_side, HASH.signature_chroma));
        }
        let bytes = bytes.try_into().expect("the three planes have the signature's length");
        Self(Box::new(bytes))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({}..)", to_hex(&self.0[..8]))
    }
}

/// What a picture's pixels say about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recognition {
    /// The perceptual hash, whatever the guard says.
    pub hash: [u8; 32],
    /// Structure guard, 0 to 100.
    pub guard: u8,
    /// See [`Signature`].
    pub signature: Signature,
}

impl Recognition {
    /// Too little structure for the hash to mean anything.
    #[must_use]
    pub fn is_featureless(&self) -> bool {
        self.guard < HASH.min_guard
    }
}

/// Hash, guard and signature of upright pixels.
#[must_use]
pub fn recognise(planes: &PixelPlanes) -> Recognition {
    Recognition {
        hash: hash::perceptual(&planes.luma),
        guard: hash::guard(&planes.luma),
        signature: Signature::of(planes),
    }
}

/// Bits in which two hashes differ.
#[must_use]
pub fn distance(a: &[u8; 32], b: &[u8; 32]) -> u32 {
    a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum()
}
