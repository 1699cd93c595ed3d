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

/// Calls `each` once with the numbers (the lower first) of every two of `hashes` that are
/// within `most` bits, up to [`EXACT_UP_TO`]. The same bands as [`Nearby`], but one at a
/// time: 16 bytes a hash beside the hashes, where [`Nearby`] takes some 150.
///
/// Measured on one core: 1.3 s for 100,000 hashes that are spread evenly, 20 s for a million;
/// six times as long when a quarter of the bits is set.
///
/// At most `steps` pairs are looked at, in the same order always. Returns whether these were
/// enough.
pub fn pairs(
    hashes: &[[u8; 32]],
    most: u32,
    mut steps: u64,
    stop: &dyn Fn() -> bool,
    mut each: impl FnMut(u32, u32),
) -> bool {
    debug_assert!(most <= EXACT_UP_TO, "beyond it some are missed");
    let mut order: Vec<Banded> = Vec::with_capacity(hashes.len());
    for band in 0..BANDS {
        order.clear();
        order.extend(hashes.iter().zip(0u32..).map(|(hash, number)| Banded::new(hash, number, band)));
        order.sort_unstable();
        let mut compare = |a: &Banded, b: &Banded| {
            if (a.beside ^ b.beside).count_ones() > most {
                return;
            }
            let (a, b) = (a.number, b.number);
            let (Some(left), Some(right)) = (hashes.get(a as usize), hashes.get(b as usize)) else { return };
            // A pair that is near in several bands is told in the first of them.
            if distance(left, right) <= most && first_near_band(left, right) == Some(band) {
                each(a.min(b), a.max(b));
            }
        };
        for own in order.chunk_by(|a, b| a.bits == b.bits) {
            let Some(Banded { bits, .. }) = own.first() else { continue };
            let higher = (0..16).map(|bit| bits ^ 1 << bit).filter(|other| other > bits);
            let others: Vec<&[Banded]> = higher.map(|other| bucket(&order, other)).collect();
            let beside: usize = others.iter().map(|other| other.len()).sum();
            let due = own.len() as u64 * (own.len() / 2 + beside) as u64;
            let Some(left) = steps.checked_sub(due) else { return false };
            steps = left;
            for (at, a) in own.iter().enumerate() {
                if stop() {
                    return false;
                }
                let later = own.get(at + 1..).unwrap_or_default();
                for some in others.iter().copied().chain([later]) {
                    for b in some {
                        compare(a, b);
                    }
                }
            }
        }
    }
    true
}

/// A hash as far as one band is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Banded {
    /// The band.
    bits: u16,
    /// Which hash.
    number: u32,
    /// 64 bits elsewhere in the hash: nearly all pairs are told apart by them, without a look
    /// into the list of hashes, which is too long for any cache.
    beside: u64,
}

impl Banded {
    fn new(hash: &[u8; 32], number: u32, band: usize) -> Self {
        let words = hash.as_chunks::<8>().0;
        let beside = words.get((band / 4 + 2) % 4).map_or(0, |word| u64::from_be_bytes(*word));
        Self { bits: bits(hash, band), number, beside }
    }
}

/// Those of a sorted list with these bits.
fn bucket(order: &[Banded], bits: u16) -> &[Banded] {
    let (_, from) = order.split_at(order.partition_point(|banded| banded.bits < bits));
    from.split_at(from.partition_point(|banded| banded.bits == bits)).0
}

fn bits(hash: &[u8; 32], band: usize) -> u16 {
    hash.as_chunks::<2>().0.get(band).map_or(0, |bits| u16::from_be_bytes(*bits))
}

/// The first band in which the two differ in one bit at most.
fn first_near_band(a: &[u8; 32], b: &[u8; 32]) -> Option<usize> {
    (0..BANDS).find(|band| (bits(a, *band) ^ bits(b, *band)).count_ones() <= 1)
}

fn keys(hash: &[u8; 32]) -> impl Iterator<Item = u32> {
    let bands = hash.as_chunks::<2>().0.iter().zip(0u32..);
    bands.map(|(bits, band)| band << 16 | u32::from(u16::from_be_bytes(*bits)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hashes_that_are_all_alike_end_the_search() {
        let hashes = vec![[0; 32]; 100];
        let mut found = 0;
        assert!(!pairs(&hashes, 24, 1000, &|| false, |_, _| found += 1));
        assert!(found <= 1000);
        assert!(pairs(&hashes, 24, 1_000_000, &|| false, |_, _| ()));
        assert!(!pairs(&hashes, 24, 1_000_000, &|| true, |_, _| ()), "told to stop");
    }

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
                let mut near = Vec::new();
                for (a, i) in all.iter().zip(0..) {
                    let later = all.iter().zip(0..).filter(|(_, j)| *j > i);
                    near.extend(later.filter(|(b, _)| distance(a, b) <= most).map(|(_, j)| (i, j)));
                }
                let mut found = Vec::new();
                prop_assert!(pairs(&all, most, u64::MAX, &|| false, |a, b| found.push((a, b))));
                found.sort_unstable();
                prop_assert_eq!(found, near, "each pair once");
            }
        }
    }
}
