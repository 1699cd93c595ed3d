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
/// time: 8 bytes a hash beside the hashes, where [`Nearby`] takes some 150.
///
/// At most `steps` pairs are looked at, in the same order always. Returns whether these were
/// enough.
pub fn pairs(hashes: &[[u8; 32]], most: u32, mut steps: u64, mut each: impl FnMut(u32, u32)) -> bool {
    debug_assert!(most <= EXACT_UP_TO, "beyond it some are missed");
    let mut order: Vec<(u16, u32)> = Vec::with_capacity(hashes.len());
    for band in 0..BANDS {
        order.clear();
        order.extend(hashes.iter().zip(0u32..).map(|(hash, number)| (bits(hash, band), number)));
        order.sort_unstable();
        let buckets = Buckets::of(&order);
        let mut compare = |a: u32, b: u32| {
            let (Some(left), Some(right)) = (hashes.get(a as usize), hashes.get(b as usize)) else { return };
            // A pair that is near in several bands is told in the first of them.
            if distance(left, right) <= most && first_near_band(left, right) == Some(band) {
                each(a.min(b), a.max(b));
            }
        };
        for key in 0..=u16::MAX {
            let own = buckets.get(key);
            if own.is_empty() {
                continue;
            }
            let higher = (0..16).map(|bit| key ^ 1 << bit).filter(|other| *other > key);
            let others = || higher.clone().map(|other| buckets.get(other));
            let beside: usize = others().map(<[_]>::len).sum();
            let due = own.len() as u64 * (own.len() / 2 + beside) as u64;
            let Some(left) = steps.checked_sub(due) else { return false };
            steps = left;
            for (at, (_, a)) in own.iter().enumerate() {
                for (_, b) in own.iter().skip(at + 1).chain(others().flatten()) {
                    compare(*a, *b);
                }
            }
        }
    }
    true
}

/// Numbers sorted by the bits of one band, and where those of each value are.
struct Buckets<'a> {
    order: &'a [(u16, u32)],
    starts: Vec<u32>,
}

impl<'a> Buckets<'a> {
    fn of(order: &'a [(u16, u32)]) -> Self {
        let mut starts = Vec::with_capacity(usize::from(u16::MAX) + 2);
        let mut at = 0;
        for key in 0..=u16::MAX {
            starts.push(at as u32);
            at += order.iter().skip(at).take_while(|(bits, _)| *bits == key).count();
        }
        starts.push(at as u32);
        Self { order, starts }
    }

    fn get(&self, key: u16) -> &'a [(u16, u32)] {
        let at = |key: usize| self.starts.get(key).map(|at| *at as usize);
        let range = at(usize::from(key)).zip(at(usize::from(key) + 1));
        range.and_then(|(from, to)| self.order.get(from..to)).unwrap_or_default()
    }
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
        assert!(!pairs(&hashes, 24, 1000, |_, _| found += 1));
        assert!(found <= 1000);
        assert!(pairs(&hashes, 24, 1_000_000, |_, _| ()));
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
                prop_assert!(pairs(&all, most, u64::MAX, |a, b| found.push((a, b))));
                found.sort_unstable();
                prop_assert_eq!(found, near, "each pair once");
            }
        }
    }
}
