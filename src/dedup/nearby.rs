//! Finding near hashes among many, in memory.
//!
//! Multi-index hashing (Norouzi, Punjani, Fleet 2012): a hash is cut into 16 bands of 16
//! bits. Of two hashes within 31 bits, some band differs in at most one bit (16 bands with
//! two or more make 32), so looking up every band and its 16 one-bit neighbours finds *all*
//! of them: no recall is lost to the index, and the rule's 24 bits are well inside. For a
//! million pictures that is 272 look-ups and some 4,000 hashes to compare, a few
//! microseconds each; between machines, where a look-up is a message, the neighbours don't
//! pay, and there only the bands themselves are asked.

use std::collections::{BTreeMap, BTreeSet};

use crate::picture::distance;

const BANDS: usize = 16;

/// Distance up to which everything is found.
pub const EXACT_UP_TO: u32 = 2 * BANDS as u32 - 1;

/// Hashes, numbered in the order in which they came.
#[derive(Debug, Clone, Default)]
pub struct Nearby {
    hashes: Vec<[u8; 32]>,
    /// By band (upper half) and its bits.
    bands: BTreeMap<u32, Vec<u32>>,
}

impl Nearby {
    /// Adds a hash; its number.
    pub fn insert(&mut self, hash: [u8; 32]) -> u32 {
        let number = self.hashes.len() as u32;
        for key in keys(&hash) {
            self.bands.entry(key).or_default().push(number);
        }
        self.hashes.push(hash);
        number
    }

    /// Numbers of all hashes within `most` bits of `hash`, up to [`EXACT_UP_TO`], in order.
    #[must_use]
    pub fn within(&self, hash: &[u8; 32], most: u32) -> Vec<u32> {
        debug_assert!(most <= EXACT_UP_TO, "beyond it some are missed");
        let mut found = BTreeSet::new();
        for key in keys(hash) {
            let neighbours = (0..16).map(|bit| key ^ 1 << bit);
            for number in [key].into_iter().chain(neighbours).filter_map(|key| self.bands.get(&key)).flatten()
            {
                if self.hashes.get(*number as usize).is_some_and(|other| distance(hash, other) <= most) {
                    found.insert(*number);
                }
            }
        }
        found.into_iter().collect()
    }
}

fn keys(hash: &[u8; 32]) -> impl Iterator<Item = u32> {
    let bands = hash.as_chunks::<2>().0.iter().zip(0u32..);
    bands.map(|(bits, band)| band << 16 | u32::from(u16::from_be_bytes(*bits)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against looking at all of them. The worst case is drawn on purpose: bits spread
        /// evenly over the bands.
        #[test]
        fn everything_within_31_bits_is_found(
            base: [u8; 32],
            flips in prop::collection::vec(prop::collection::vec(0usize..256, 0..40), 1..30),
            spread in 0usize..16,
        ) {
            let mut nearby = Nearby::default();
            let mut all = vec![base];
            for flips in &flips {
                let mut hash = base;
                for bit in flips {
                    hash[bit / 8] ^= 1 << (bit % 8);
                }
                all.push(hash);
            }
            // Two bits in every band but one, one bit in that: 31.
            let mut even = base;
            for band in 0..16 {
                even[band * 2] ^= 1;
                if band != spread {
                    even[band * 2 + 1] ^= 0x10;
                }
            }
            all.push(even);
            for hash in &all {
                nearby.insert(*hash);
            }
            for most in [0, 15, 24, EXACT_UP_TO] {
                let expected: Vec<u32> =
                    (0..).zip(&all).filter(|(_, hash)| distance(&base, hash) <= most).map(|(i, _)| i).collect();
                prop_assert_eq!(nearby.within(&base, most), expected);
            }
        }
    }
}
