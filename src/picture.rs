//! Recognising a picture: perceptual hash, structure guard, signature. Pure functions of
//! pixels; `store/decode.rs` makes the pixels.

/// 1,536 bytes beside the hash: 32x32 luma, 16x16 Cb, 16x16 Cr, upright.
#[derive(Clone, PartialEq, Eq)]
pub struct Signature(pub Box<[u8; 1536]>);
