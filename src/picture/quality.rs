//! Which of two versions of a picture is the better one: a total order over contents.
//!
//! In this order: a sound file before a damaged one; more pixels; less lost by the
//! encoding; more bytes; more metadata; and at last the greater [`ContentId`], which
//! decides nothing but makes every node choose alike.
//!
//! **What is detected of the encoding's loss.** A JPEG's quality, from its quantisation
//! tables: it holds for every encoder, whatever scale its own quality setting has. Lossless
//! formats are above all lossy ones. **What is not:** what happened to the pixels *before*
//! they were encoded. A JPEG saved again with finer tables, or as PNG, counts as better than
//! it is, and an enlarged copy has more pixels. Size alone does not win all the same: the
//! same-picture rule refuses a keeper that is less sharp than the version it would replace,
//! or that has lost when and where the picture was taken ([`super::same`]). A PNG made of a
//! JPEG without such metadata does win over it: nothing of the picture is lost by that, and
//! space is. Chroma subsampling is not looked at; a lossy WebP counts as middling.

use serde::{Deserialize, Serialize};

use crate::types::ContentId;

/// How little the encoding lost, 0 to 1,000: tenths of the quality that the reference
/// encoder (libjpeg) would have been set to, and [`Fidelity::LOSSLESS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fidelity(pub u16);

impl Fidelity {
    /// Nothing was lost by this encoding. Above every JPEG.
    pub const LOSSLESS: Self = Self(1001);
    /// Lossy, and not known how much (lossy WebP, a JPEG whose tables can't be read): what
    /// most encoders do when they are not told otherwise.
    pub const UNKNOWN: Self = Self(750);
    /// 256 colours.
    pub const PALETTE: Self = Self(300);

    /// From the luma quantisation table of a JPEG, in zigzag order.
    ///
    /// The table is compared with the example table of ITU-T T.81 (Annex K.1) by their
    /// sums, which inverts libjpeg's `jpeg_quality_scaling` for tables made by it, and
    /// gives other encoders' tables the place that their coarseness deserves.
    #[must_use]
    pub fn of_jpeg(luma: &[u16; 64]) -> Self {
        let sum: u32 = luma.iter().map(|step| u32::from((*step).max(1))).sum();
        // Per cent of the example table; below 100 is finer.
        let scale = f64::from(sum) * 100.0 / f64::from(EXAMPLE_SUM);
        let quality = if scale <= 100.0 { (200.0 - scale) / 2.0 } else { 5000.0 / scale };
        Self((quality.clamp(0.0, 100.0) * 10.0).round() as u16)
    }

    /// For people: `JPEG quality 87`, `lossless`.
    #[must_use]
    pub fn describe(self) -> String {
        match self {
            Self::LOSSLESS => "lossless".to_owned(),
            Self(tenths) => format!("quality {}", (tenths + 5) / 10),
        }
    }
}

/// Sum of the example luma table of T.81.
const EXAMPLE_SUM: u32 = 3_688;

/// Metadata that people would miss, as a set of bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Metadata(pub u8);

impl Metadata {
    /// When it was taken.
    pub const CAPTURE_TIME: Self = Self(4);
    /// Where.
    pub const GPS: Self = Self(2);
    /// With which camera.
    pub const CAMERA: Self = Self(1);

    /// What is true of `known`.
    #[must_use]
    pub fn of(known: [(bool, Self); 3]) -> Self {
        let found = known.into_iter().filter(|(found, _)| *found);
        found.fold(Self::default(), |all, (_, bit)| all.with(bit))
    }

    /// This set and `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is in this set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// What of `other` is missing here that can't be found out again: when and where.
    #[must_use]
    pub const fn misses(self, other: Self) -> bool {
        other.0 & !self.0 & (Self::CAPTURE_TIME.0 | Self::GPS.0) != 0
    }
}

/// What one look at a file tells about its encoding, beside [`crate::types::Facts`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Encoding {
    /// How little it lost.
    pub fidelity: Fidelity,
    /// What it knows beside the pixels.
    pub metadata: Metadata,
}

/// Place of a content in the order; the greater is the better one. The fields are in the
/// order in which they decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Quality {
    /// Neither damaged nor undecodable.
    pub sound: bool,
    /// Width times height.
    pub pixels: u64,
    /// How little the encoding lost.
    pub fidelity: Fidelity,
    /// Length of the file.
    pub bytes: u64,
    /// [`Metadata`]'s bits: a capture time counts more than a place, that more than a
    /// camera.
    pub metadata: u8,
    /// Decides nothing, the same way everywhere.
    pub content: ContentId,
}

impl Quality {
    /// Of a content.
    #[must_use]
    pub fn new(content: ContentId, facts: &crate::types::Facts, encoding: Encoding) -> Self {
        use crate::types::Traits;
        Self {
            sound: !facts.traits.has(Traits::DAMAGED) && !facts.traits.has(Traits::UNDECODED),
            pixels: u64::from(facts.width) * u64::from(facts.height),
            fidelity: encoding.fidelity,
            bytes: facts.bytes,
            metadata: encoding.metadata.0,
            content,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// T.81 K.1, in zigzag order.
    const EXAMPLE: [u16; 64] = [
        16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40, 26, 24, 22, 22, 24, 49, 35, 37, 29,
        40, 58, 51, 61, 60, 57, 51, 56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87, 95, 98,
        103, 104, 103, 62, 77, 113, 121, 112, 100, 120, 92, 101, 103, 99,
    ];

    /// libjpeg's `jpeg_set_quality`.
    fn table(quality: u32) -> [u16; 64] {
        let scale = if quality < 50 { 5000 / quality } else { 200 - 2 * quality };
        EXAMPLE.map(|step| ((u32::from(step) * scale + 50) / 100).clamp(1, 255) as u16)
    }

    #[test]
    fn the_quality_of_a_jpeg_is_what_its_encoder_was_told() {
        assert_eq!(EXAMPLE.iter().map(|step| u32::from(*step)).sum::<u32>(), EXAMPLE_SUM);
        for quality in 25..=100 {
            let found = f64::from(Fidelity::of_jpeg(&table(quality)).0) / 10.0;
            assert!((found - f64::from(quality)).abs() <= 1.0, "{quality}: {found}");
        }
        let grades: Vec<_> = (1..=100).map(|quality| Fidelity::of_jpeg(&table(quality))).collect();
        assert!(grades.is_sorted(), "{grades:?}");
        assert!(Fidelity::of_jpeg(&[1; 64]) < Fidelity::LOSSLESS);
        assert!(Fidelity::of_jpeg(&[0; 64]) < Fidelity::LOSSLESS, "a table of zeros is not perfect");
    }

    fn quality() -> impl Strategy<Value = Quality> {
        // Few values each, so that every field gets to decide.
        (any::<bool>(), 0u64..3, 0u16..3, 0u64..3, 0u8..3, 0u8..3).prop_map(
            |(sound, pixels, fidelity, bytes, metadata, content)| Quality {
                sound,
                pixels,
                fidelity: Fidelity(fidelity),
                bytes,
                metadata,
                content: ContentId([content; 32]),
            },
        )
    }

    /// The order as the module says it, one rule a line.
    fn better(a: &Quality, b: &Quality) -> bool {
        if a.sound != b.sound {
            return a.sound;
        }
        if a.pixels != b.pixels {
            return a.pixels > b.pixels;
        }
        if a.fidelity != b.fidelity {
            return a.fidelity > b.fidelity;
        }
        if a.bytes != b.bytes {
            return a.bytes > b.bytes;
        }
        if a.metadata != b.metadata {
            return a.metadata > b.metadata;
        }
        a.content.0 > b.content.0
    }

    proptest! {
        #[test]
        fn the_order_is_total_and_what_the_rules_say(a in quality(), b in quality(), c in quality()) {
            prop_assert_eq!(a > b, better(&a, &b));
            prop_assert_eq!(a > b, b < a, "antisymmetric");
            prop_assert_eq!(a <= b && b <= a, a == b, "total");
            prop_assert!(!(a > b && b > c) || a > c, "transitive");
        }

        #[test]
        fn different_contents_are_never_equal(a in quality(), b in quality()) {
            prop_assert!(a.content == b.content || a != b);
        }

        #[test]
        fn the_best_is_the_best_in_any_order(mut all in prop::collection::vec(quality(), 1..8), turn in 0usize..8) {
            let best = all.iter().max().copied();
            let turn = turn % all.len();
            all.rotate_left(turn);
            prop_assert_eq!(all.iter().max().copied(), best);
            all.reverse();
            prop_assert_eq!(all.iter().max().copied(), best);
        }
    }
}
