//! The nearest of many hashes, whatever the distance.
//!
//! A flat list that is read from one end to the other: exclusive or, count the bits, remember
//! what is near enough. That is exact up to any distance and 64 bytes a content; a whole question takes
//! less than 3 ms of one core for 100,000. [`Nearby`](super::nearby::Nearby) looks only where something may
//! be, is far faster, exact up to 31 bits, and needs three times the memory: it is
//! for those who ask for every picture of a folder, this is for one person who asks once.

use std::collections::{BTreeSet, BinaryHeap};

use crate::limits::{MIN_NEW_HASHES, NEW_HASHES_PART};
use crate::types::ContentId;

/// A 256-bit perceptual hash.
pub type Hash = [u8; 32];

/// Hashes with their contents, to be read through. A content may have several: members need not
/// agree. Has all that was put in, and forgets nothing: whether a content is still there has to
/// be looked up.
#[derive(Debug, Default)]
pub struct Hashes {
    /// Rising, as they were read. `hashes` has as many.
    contents: Vec<ContentId>,
    hashes: Vec<Hash>,
    /// What came since.
    new: BTreeSet<(ContentId, Hash)>,
}

impl Hashes {
    /// Adds what is read in the order of contents; a pair that was read already is left out.
    pub fn read(&mut self, content: ContentId, hash: Hash) {
        if self.contents.last().is_some_and(|last| *last > content) {
            self.new.insert((content, hash));
        } else if !self.has_read(&content, &hash) {
            self.contents.push(content);
            self.hashes.push(hash);
        }
    }

    /// Everything has been read: gives back the memory for more.
    pub fn finish(&mut self) {
        self.contents.shrink_to_fit();
        self.hashes.shrink_to_fit();
    }

    /// Adds what came later. `false`: there is no room for it, and all are to be read anew.
    #[must_use]
    pub fn add(&mut self, content: ContentId, hash: Hash) -> bool {
        if self.has_read(&content, &hash) || self.new.contains(&(content, hash)) {
            return true;
        }
        let room = MIN_NEW_HASHES.max(self.contents.len() / NEW_HASHES_PART);
        self.new.len() < room && self.new.insert((content, hash))
    }

    /// What was added and not read.
    pub fn new_ones(&self) -> impl Iterator<Item = (ContentId, Hash)> {
        self.new.iter().copied()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.contents.len() + self.new.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Shows all of them to `nearest`.
    pub fn show(&self, nearest: &mut Nearest) {
        for (content, hash) in self.contents.iter().zip(&self.hashes) {
            nearest.look(content, hash);
        }
        for (content, hash) in &self.new {
            nearest.look(content, hash);
        }
    }

    fn has_read(&self, content: &ContentId, hash: &Hash) -> bool {
        let from = self.contents.partition_point(|other| other < content);
        let read = self.contents.iter().zip(&self.hashes).skip(from);
        read.take_while(|(other, _)| *other == content).any(|(_, other)| other == hash)
    }
}

/// A content whose hash is near.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Near {
    /// Bits in which the hashes differ.
    pub distance: u32,
    /// Which.
    pub content: ContentId,
    /// Its hash.
    pub hash: Hash,
}

/// Remembers the nearest of all hashes that it is shown.
#[derive(Debug)]
pub struct Nearest {
    words: [u64; 4],
    most: u32,
    keep: usize,
    /// The farthest of those kept first.
    kept: BinaryHeap<Near>,
    /// Hashes shown.
    pub compared: u64,
    /// Of these, those within the distance, kept or not.
    pub within: u64,
}

impl Nearest {
    /// Keeps at most `keep` of those within `most` bits of `hash`.
    #[must_use]
    pub fn of(hash: &Hash, most: u32, keep: usize) -> Self {
        Self { words: words(hash), most, keep, kept: BinaryHeap::new(), compared: 0, within: 0 }
    }

    /// Shows it one.
    pub fn look(&mut self, content: &ContentId, hash: &Hash) {
        self.compared += 1;
        let pairs = self.words.iter().zip(words(hash));
        let distance = pairs.map(|(a, b)| (a ^ b).count_ones()).sum();
        if distance <= self.most {
            self.take(Near { distance, content: *content, hash: *hash });
        }
    }

    /// Apart from [`Nearest::look`], which is to stay small: hardly any hash is near.
    #[cold]
    fn take(&mut self, near: Near) {
        self.within += 1;
        self.kept.push(near);
        if self.kept.len() > self.keep {
            self.kept.pop();
        }
    }

    /// Those kept, the nearest first; equally near ones in the order of contents.
    #[must_use]
    pub fn finish(self) -> Vec<Near> {
        self.kept.into_sorted_vec()
    }
}

fn words(hash: &Hash) -> [u64; 4] {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(hash.as_chunks::<8>().0) {
        *word = u64::from_ne_bytes(*bytes);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::distance;
    use proptest::prelude::*;

    /// Some bits of one hash turned over: most are near it.
    fn any_pair() -> impl Strategy<Value = (ContentId, Hash)> {
        (0..40u8, prop::collection::vec(0usize..256, 0..60)).prop_map(|(content, flips)| {
            let mut hash = [0x5a; 32];
            for bit in flips {
                hash[bit / 8] ^= 1 << (bit % 8);
            }
            (ContentId([content; 32]), hash)
        })
    }

    proptest! {
        #[test]
        fn finds_what_looking_at_each_finds(
            mut read in prop::collection::vec(any_pair(), 0..60),
            added in prop::collection::vec(any_pair(), 0..30),
            asked in any_pair(),
            most in 0..=256u32,
            keep in 0..60usize,
        ) {
            read.sort_by_key(|(content, _)| *content);
            let mut hashes = Hashes::default();
            for (content, hash) in &read {
                hashes.read(*content, *hash);
            }
            for (content, hash) in &added {
                prop_assert!(hashes.add(*content, *hash));
            }
            let all: BTreeSet<(ContentId, Hash)> = read.into_iter().chain(added).collect();
            prop_assert_eq!(hashes.len(), all.len());

            let mut expected: Vec<Near> = all
                .iter()
                .map(|(content, hash)| Near { distance: distance(&asked.1, hash), content: *content, hash: *hash })
                .filter(|near| near.distance <= most)
                .collect();
            expected.sort_unstable();
            let mut nearest = Nearest::of(&asked.1, most, keep);
            hashes.show(&mut nearest);
            prop_assert_eq!(nearest.compared, all.len() as u64);
            prop_assert_eq!(nearest.within, expected.len() as u64);
            expected.truncate(keep);
            prop_assert_eq!(nearest.finish(), expected);
        }
    }

    #[test]
    fn too_many_new_ones_are_to_be_read() {
        let mut hashes = Hashes::default();
        let number = |number: usize| {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&number.to_be_bytes());
            (ContentId(hash), hash)
        };
        for i in 0..MIN_NEW_HASHES {
            let (content, hash) = number(i);
            assert!(hashes.add(content, hash) && hashes.add(content, hash), "the second time is none");
        }
        let (content, hash) = number(MIN_NEW_HASHES);
        assert!(!hashes.add(content, hash));
        assert_eq!(hashes.new_ones().count(), MIN_NEW_HASHES);
    }
}
