//! Which contents may be one picture: the clumps that a look at the swarm works on.
//!
//! A clump is what hangs together by near hashes. It is a unit of work and no more: who goes
//! for whom is decided within it, pair by pair ([`super::select`]). Two contents that know
//! that they were taken at different seconds do not hang together: the rule never takes them
//! for the same, and without this the photos of one person make one clump as soon as there
//! are some ten thousand. A clump that is too large all the same is taken apart by stricter
//! rules, the same on every node: some pairs are missed then, and none is made up.
//!
//! This is the one place that finds near hashes; asking the DHT's bands instead changes
//! nothing else.
//!
//! Memory: 60 bytes a content and 32 a picture, and 16 a picture while it searches: 11 MB for
//! 100,000 contents, 110 MB for a million.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::nearby;
use crate::limits::{MAX_ALIKE, MAX_NEAR_STEPS};
use crate::picture::HASH;
use crate::picture::same::DECISION;
use crate::types::{ContentId, Facts, ImageId, Traits};

/// How clumps are made, from the rule's own reach on: largest distance, and whether two that
/// can only be probable hang together.
const RULES: [(u32, bool); 5] =
    [(DECISION.max_distance, true), (DECISION.max_distance, false), (12, false), (6, false), (0, false)];

/// Pairs of contents of two pictures that are looked at one by one.
const FEW_PAIRS: usize = 4096;

/// A content of a clump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hashed {
    /// Its perceptual hash.
    pub hash: [u8; 32],
    /// Which.
    pub content: ContentId,
}

impl Hashed {
    /// Its picture.
    #[must_use]
    pub fn image(&self) -> ImageId {
        ImageId::Hash(self.hash)
    }
}

/// What was found.
#[derive(Debug, Default)]
pub struct Clumps {
    /// Two contents or more each, sorted. A content is in two of them only when its holders
    /// don't agree about its hash.
    pub clumps: Vec<Vec<Hashed>>,
    /// Contents in clumps too large to be looked at.
    pub left: u64,
    /// The search was ended before it had seen everything.
    pub cut: bool,
}

/// The little that is known of every content of the swarm.
#[derive(Debug, Default)]
pub struct Alike {
    hashes: Vec<[u8; 32]>,
    /// Those of one hash one after the other.
    contents: Vec<Content>,
    /// Nobody waits for the result any more.
    stop: Arc<AtomicBool>,
}

#[derive(Debug, Clone, Copy)]
struct Content {
    id: ContentId,
    /// Its hash's number.
    hash: u32,
    /// Second of the capture as digits; 0: not known.
    second: u64,
    width: u32,
    height: u32,
    /// It may be taken for the same as another by its looks.
    plain: bool,
}

impl Content {
    /// Whether `self` and `other` may be one picture as far as this tells. `probable`: as a
    /// person would want to be asked.
    fn may_be(&self, other: &Self, probable: bool) -> bool {
        if self.second != 0 && other.second != 0 && self.second != other.second {
            return false;
        }
        // Twice what the rule allows, so that it has the last word.
        let ratio = |c: &Self| f64::from(c.width.max(1)) / f64::from(c.height.max(1));
        let rounding = |c: &Self| 1.0 / f64::from(c.width.max(1)) + 1.0 / f64::from(c.height.max(1));
        let part = (ratio(self) / ratio(other) - 1.0).abs();
        let most = 2.0 * f64::from(DECISION.max_aspect) + rounding(self) + rounding(other);
        probable || self.plain && other.plain && part <= most
    }
}

impl Alike {
    /// Knows nothing, and gives up searching soon after `stop` is set.
    #[must_use]
    pub fn until(stop: Arc<AtomicBool>) -> Self {
        Self { stop, ..Self::default() }
    }

    /// Takes in a content; those without a hash that means something are left out. All of
    /// one picture have to come one after the other.
    pub fn add(&mut self, id: ContentId, facts: &Facts) {
        let ImageId::Hash(hash) = facts.image else { return };
        if facts.guard < HASH.min_guard || facts.traits.has(Traits::UNDECODED) {
            return;
        }
        let content = Content {
            id,
            hash: 0,
            second: facts.taken_at.as_ref().map_or(0, |at| second(at.as_str())),
            width: facts.width,
            height: facts.height,
            plain: facts.traits == Traits::default() && facts.width.min(facts.height) >= DECISION.min_side,
        };
        self.push(hash, content);
    }

    fn push(&mut self, hash: [u8; 32], content: Content) {
        if self.hashes.last() != Some(&hash) {
            self.hashes.push(hash);
        }
        let number = self.hashes.len().saturating_sub(1) as u32;
        self.contents.push(Content { hash: number, ..content });
    }

    /// The clumps. Takes long: see [`nearby::pairs`].
    #[must_use]
    pub fn clumps(self) -> Clumps {
        let mut found = Clumps::default();
        self.split(&RULES, MAX_ALIKE, &mut found);
        found.clumps.sort_unstable();
        found
    }

    fn split(self, rules: &[(u32, bool)], largest: usize, found: &mut Clumps) {
        let Some(((most, probable), stricter)) = rules.split_first() else {
            found.left += self.contents.len() as u64;
            return;
        };
        let mut together = Together::new(self.contents.len());
        found.cut |= !self.join_near(*most, *probable, &mut together);
        for clump in together.clumps() {
            let contents = clump.iter().filter_map(|at| {
                let content = self.contents.get(*at as usize)?;
                Some((*self.hashes.get(content.hash as usize)?, *content))
            });
            if clump.len() <= largest {
                let mut clump: Vec<Hashed> =
                    contents.map(|(hash, content)| Hashed { hash, content: content.id }).collect();
                clump.sort_unstable();
                clump.dedup_by_key(|hashed| hashed.content);
                if clump.len() > 1 {
                    found.clumps.push(clump);
                }
            } else {
                let mut part = Self::until(Arc::clone(&self.stop));
                for (hash, content) in contents {
                    part.push(hash, content);
                }
                part.split(stricter, largest, found);
            }
        }
    }

    /// Joins what hangs together. Returns whether everything was looked at.
    fn join_near(&self, most: u32, probable: bool, together: &mut Together) -> bool {
        let mut starts = vec![self.contents.len(); self.hashes.len() + 1];
        for (at, content) in self.contents.iter().enumerate().rev() {
            if let Some(start) = starts.get_mut(content.hash as usize) {
                *start = at;
            }
        }
        let of = |hash: u32| {
            let range = starts.get(hash as usize).zip(starts.get(hash as usize + 1));
            range.map_or(0..0, |(from, to)| *from..*to)
        };
        for hash in 0..self.hashes.len() as u32 {
            self.join(of(hash), of(hash), probable, together);
        }
        let stop = || self.stop.load(Relaxed);
        nearby::pairs(&self.hashes, most, MAX_NEAR_STEPS, &stop, |a, b| {
            self.join(of(a), of(b), probable, together);
        })
    }

    /// Joins those of `left` with those of `right` that may be one picture.
    fn join(
        &self,
        left: std::ops::Range<usize>,
        right: std::ops::Range<usize>,
        probable: bool,
        together: &mut Together,
    ) {
        let all = |range: &std::ops::Range<usize>| {
            self.contents.get(range.clone()).unwrap_or_default().iter().zip(range.start as u32..)
        };
        if left.len() * right.len() <= FEW_PAIRS {
            for (a, i) in all(&left) {
                for (_, j) in all(&right).filter(|(b, _)| a.may_be(b, probable)) {
                    together.join(i, j);
                }
            }
            return;
        }
        // Very many of one hash (a time-lapse, blank forms): by their times only.
        let mut times: BTreeMap<u64, u32> = BTreeMap::new();
        for (content, at) in all(&left).chain(all(&right)) {
            together.join(*times.entry(content.second).or_insert(at), at);
        }
        if let Some(timeless) = times.get(&0) {
            for at in times.values() {
                together.join(*timeless, *at);
            }
        }
    }
}

/// The digits of `YYYY-MM-DDTHH:MM:SS` as one number.
fn second(text: &str) -> u64 {
    let digits = text.bytes().take(19).filter(u8::is_ascii_digit);
    digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}

/// What hangs together (union-find; Tarjan 1975).
struct Together(Vec<u32>);

impl Together {
    fn new(len: usize) -> Self {
        Self((0..len as u32).collect())
    }

    /// The lowest number of those that hang together with `at`.
    fn first(&mut self, mut at: u32) -> u32 {
        loop {
            let up = self.0.get(at as usize).copied().unwrap_or(at);
            if up == at {
                return at;
            }
            let further = self.0.get(up as usize).copied().unwrap_or(up);
            if let Some(slot) = self.0.get_mut(at as usize) {
                *slot = further;
            }
            at = further;
        }
    }

    fn join(&mut self, a: u32, b: u32) {
        let (a, b) = (self.first(a), self.first(b));
        if let Some(slot) = self.0.get_mut(a.max(b) as usize) {
            *slot = a.min(b);
        }
    }

    /// Those of two or more, in the order of their numbers.
    fn clumps(mut self) -> Vec<Vec<u32>> {
        let mut sizes = vec![0u32; self.0.len()];
        for at in 0..self.0.len() as u32 {
            let first = self.first(at);
            if let Some(size) = sizes.get_mut(first as usize) {
                *size += 1;
            }
        }
        let mut clumps: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for at in 0..self.0.len() as u32 {
            let first = self.first(at);
            if sizes.get(first as usize).is_some_and(|size| *size > 1) {
                clumps.entry(first).or_default().push(at);
            }
        }
        clumps.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::{CaptureTime, Format};

    fn facts(hash: [u8; 32], taken: Option<u8>, width: u32) -> Facts {
        Facts {
            image: ImageId::Hash(hash),
            bytes: 1,
            width,
            height: 100,
            format: Format::Jpeg,
            taken_at: taken.and_then(|s| CaptureTime::new(&format!("2020-01-01T00:00:{s:02}"))),
            guard: 50,
            traits: Traits::default(),
        }
    }

    fn of(contents: &[(ContentId, Facts)]) -> Alike {
        let mut alike = Alike::default();
        let mut sorted = contents.to_vec();
        sorted.sort_by_key(|(id, facts)| (facts.image, *id));
        for (id, facts) in &sorted {
            alike.add(*id, facts);
        }
        alike
    }

    /// Every two that the stages after the hash could ever take for the same.
    fn linked(a: &Facts, b: &Facts) -> bool {
        let (ImageId::Hash(x), ImageId::Hash(y)) = (a.image, b.image) else { return false };
        let apart = a.taken_at.is_some() && b.taken_at.is_some() && a.taken_at != b.taken_at;
        !apart && crate::picture::distance(&x, &y) <= DECISION.max_distance
    }

    #[test]
    fn what_has_no_meaningful_hash_is_left_out() {
        let plain = facts([1; 32], None, 100);
        let flat = Facts { guard: HASH.min_guard - 1, ..plain.clone() };
        let broken = Facts { traits: Traits::UNDECODED, ..plain.clone() };
        let by_content = Facts { image: ImageId::Content(ContentId([3; 32])), ..plain.clone() };
        let all = [plain, flat, broken, by_content].map(|facts| (ContentId([facts.guard; 32]), facts));
        assert_eq!(of(&all).contents.len(), 1);
    }

    #[test]
    fn a_burst_with_times_is_no_clump_and_a_copy_without_joins_it() {
        let burst: Vec<_> = (0..3).map(|s| (ContentId([s; 32]), facts([7; 32], Some(s), 100))).collect();
        assert!(of(&burst).clumps().clumps.is_empty());
        let mut with_copy = burst;
        with_copy.push((ContentId([9; 32]), facts([7; 32], None, 100)));
        assert_eq!(of(&with_copy).clumps().clumps[0].len(), 4);
    }

    #[test]
    fn a_clump_too_large_is_taken_apart_and_what_stays_too_large_is_counted() {
        // Two pictures of three copies each, joined by a chain of hashes.
        let mut all = Vec::new();
        for n in 0..6u8 {
            let mut hash = [0; 32];
            hash[0] = if n < 3 { 0 } else { 0xff };
            hash[1] = if n < 3 { 0 } else { 0xff };
            all.push((ContentId([n; 32]), facts(hash, None, 100)));
        }
        let mut found = Clumps::default();
        of(&all).split(&RULES, 3, &mut found);
        assert_eq!((found.clumps.len(), found.left), (2, 0));
        let mut found = Clumps::default();
        of(&all).split(&RULES, 2, &mut found);
        assert_eq!((found.clumps.len(), found.left), (0, 6));
    }

    #[test]
    fn very_many_of_one_hash_are_told_apart_by_their_times() {
        let lapse = |n: u8, s: u8| (ContentId([n; 32]), facts([5; 32], Some(s), 100));
        let all: Vec<_> = (0..100).map(|n| lapse(n, n % 50)).collect();
        let clumps = of(&all).clumps().clumps;
        assert_eq!((clumps.len(), clumps[0].len()), (50, 2));
    }

    proptest! {
        /// Against all pairs. Clumps may be larger than needed, never smaller.
        #[test]
        fn what_could_be_the_same_is_in_one_clump(
            pictures in prop::collection::vec(
                (prop::collection::vec(0usize..256, 0..20), prop::option::of(0u8..3), 1u32..3), 1..24)
        ) {
            let all: Vec<_> = pictures.iter().zip(0u8..).map(|((flips, taken, width), n)| {
                let mut hash = [0x5a; 32];
                for bit in flips {
                    hash[bit / 8] ^= 1 << (bit % 8);
                }
                (ContentId([n; 32]), facts(hash, *taken, width * 100))
            }).collect();
            let clumps = of(&all).clumps().clumps;
            let place = |id: &ContentId| clumps.iter().position(|c| c.iter().any(|h| h.content == *id));
            for (a, left) in &all {
                for (b, right) in &all {
                    if a != b && linked(left, right) {
                        prop_assert!(place(a).is_some() && place(a) == place(b), "{:?} {:?}", a, b);
                    }
                }
            }
            let again = of(&all).clumps().clumps;
            prop_assert_eq!(clumps, again);
        }
    }
}
