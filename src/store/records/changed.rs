//! Which keys the file does not have as memory does.
//!
//! A bit for each of 65,536 parts of the keys, not a list of keys: a list would need a bound,
//! and something else to do beyond it. What is written is a part as a whole, compared with
//! what the file has; so a removal needs no word of its own, and doing it twice does no harm.

use super::Digest;

/// One bit for each value of a key's first two bytes.
const PARTS: usize = 1 << 16;
const WORDS: usize = PARTS / 64;

/// Keys from the first to the last, both included.
pub(super) type Part = (Digest, Digest);

#[derive(Debug)]
pub(super) struct Changed {
    bits: Box<[u64; WORDS]>,
    count: usize,
    /// Where the search for the next part goes on.
    at: usize,
    /// The end of a part that was too long to be written at once.
    rest: Option<Part>,
}

impl Changed {
    pub(super) fn new() -> Self {
        Self { bits: Box::new([0; WORDS]), count: 0, at: 0, rest: None }
    }

    pub(super) fn mark(&mut self, digest: &Digest) {
        let part = usize::from(u16::from_be_bytes([digest[0], digest[1]]));
        let Some(word) = self.bits.get_mut(part / 64) else { return };
        let bit = 1 << (part % 64);
        if *word & bit == 0 {
            *word |= bit;
            self.count += 1;
        }
    }

    pub(super) fn mark_all(&mut self) {
        self.bits.fill(u64::MAX);
        self.count = PARTS;
        self.rest = None;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0 && self.rest.is_none()
    }

    /// The next changed part. It counts as unchanged from now on.
    pub(super) fn take(&mut self) -> Option<Part> {
        if let Some(rest) = self.rest.take() {
            return Some(rest);
        }
        if self.count == 0 {
            return None;
        }
        for step in 0..=WORDS {
            let index = (self.at + step) % WORDS;
            let Some(word) = self.bits.get_mut(index).filter(|word| **word != 0) else { continue };
            let bit = word.trailing_zeros();
            *word &= *word - 1;
            self.count -= 1;
            self.at = index;
            let [high, low] = ((index * 64) as u16 | bit as u16).to_be_bytes();
            let (mut first, mut last) = ([0; 32], [u8::MAX; 32]);
            (first[0], first[1], last[0], last[1]) = (high, low, high, low);
            return Some((first, last));
        }
        None
    }

    /// The end of a part just taken, for the next time.
    pub(super) fn put_back(&mut self, rest: Part) {
        self.rest = Some(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_taken_once_and_holds_its_keys() {
        let mut changed = Changed::new();
        let digests = [[0; 32], [7; 32], [255; 32]];
        for digest in digests.iter().chain(&digests) {
            changed.mark(digest);
        }
        for digest in digests {
            let (first, last) = changed.take().unwrap();
            assert!((first..=last).contains(&digest));
        }
        assert!(changed.is_empty() && changed.take().is_none());
        changed.mark_all();
        let mut parts: Vec<Part> = std::iter::from_fn(|| changed.take()).collect();
        parts.sort_unstable();
        assert_eq!(parts.len(), PARTS);
        assert_eq!((parts[0].0, parts[PARTS - 1].1), ([0; 32], [255; 32]));
        assert!(parts.windows(2).all(|pair| pair[0].1 < pair[1].0));
    }

    #[test]
    fn what_changes_while_the_rest_waits_is_taken_again() {
        let mut changed = Changed::new();
        changed.mark(&[7; 32]);
        let (first, last) = changed.take().unwrap();
        changed.put_back(([7; 32], last));
        changed.mark(&first);
        assert_eq!(changed.take(), Some(([7; 32], last)));
        assert_eq!(changed.take(), Some((first, last)));
        assert_eq!(changed.take(), None);
    }
}
