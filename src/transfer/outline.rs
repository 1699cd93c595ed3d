//! The outline of a content: one BLAKE3 chaining value a chunk.
//!
//! A chunk of [`CHUNK_BYTES`] is a complete subtree of the content's BLAKE3 tree, so
//! (BLAKE3 paper, section 2.1) the chaining values of all chunks fold to the
//! [`ContentId`]. Whoever knows the content's id and length can check an outline that a
//! stranger sent, and with the outline every single chunk, in any order, from any holder,
//! before a byte of it is used or passed on (promise P7).
//!
//! The rejected alternative, a plain list of chunk hashes, would need a second identifier
//! that somebody has to vouch for.

use blake3::hazmat::{self, HasherExt as _, Mode};

use crate::limits::{CHUNK_BYTES, MAX_CONTENT_BYTES};
use crate::types::ContentId;

const CV_BYTES: usize = 32;

/// How many chunks a content of `bytes` bytes has; an empty content has one, empty.
#[must_use]
pub fn chunk_count(bytes: u64) -> u64 {
    bytes.div_ceil(CHUNK_BYTES as u64).max(1)
}

/// Chunks in a row, of whatever content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Number of the first chunk, from 0.
    pub first: u32,
    /// How many; at least one.
    pub count: u32,
}

impl From<u32> for Run {
    /// One chunk alone.
    fn from(index: u32) -> Self {
        Self { first: index, count: 1 }
    }
}

impl Run {
    /// The numbers of its chunks.
    pub fn chunks(self) -> std::ops::Range<u32> {
        self.first..self.first.saturating_add(self.count)
    }

    /// Whether `chunk` is the one after it.
    #[must_use]
    pub fn goes_on_with(self, chunk: u32) -> bool {
        self.first.checked_add(self.count) == Some(chunk)
    }
}

/// A verified outline: its chaining values fold to its content id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    content: ContentId,
    bytes: u64,
    /// 32 bytes a chunk; empty for a content of one chunk, whose only chaining value
    /// would be the content id itself.
    values: Vec<u8>,
}

impl Outline {
    /// Checks what a peer or a disk claims: `values` are the chaining values of
    /// `content`, 32 bytes each, in order, and none when one chunk is all. `None` when they
    /// have the wrong number or don't fold to `content`.
    #[must_use]
    pub fn verify(content: ContentId, bytes: u64, values: &[u8]) -> Option<Self> {
        let chunks = chunk_count(bytes);
        if bytes > MAX_CONTENT_BYTES {
            return None;
        }
        let fits = if chunks == 1 {
            // The length is checked together with the bytes, when the chunk arrives.
            values.is_empty()
        } else {
            values.len() as u64 == chunks * CV_BYTES as u64 && fold_root(values, bytes) == content
        };
        fits.then(|| Self { content, bytes, values: values.to_vec() })
    }

    /// The content it outlines.
    #[must_use]
    pub fn content(&self) -> ContentId {
        self.content
    }

    /// Length of the content.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The chaining values as they travel and are stored: 32 bytes a chunk, none when one
    /// chunk is all.
    #[must_use]
    pub fn values(&self) -> &[u8] {
        &self.values
    }

    /// Number of chunks.
    #[must_use]
    pub fn chunks(&self) -> u32 {
        chunk_count(self.bytes) as u32
    }

    /// Where chunk `index` is in the content: its offset and length; `None` past the end.
    #[must_use]
    pub fn range(&self, index: u32) -> Option<(u64, usize)> {
        if index >= self.chunks() {
            return None;
        }
        let offset = u64::from(index) * CHUNK_BYTES as u64;
        Some((offset, (self.bytes - offset).min(CHUNK_BYTES as u64) as usize))
    }

    /// All chunks in order, `at_once` (at least one) in a run.
    pub fn runs(&self, at_once: u32) -> impl Iterator<Item = Run> + use<> {
        let (chunks, at_once) = (self.chunks(), at_once.max(1));
        (0..chunks)
            .step_by(at_once as usize)
            .map(move |first| Run { first, count: at_once.min(chunks - first) })
    }

    /// Where the chunks of `run` are in the content: offset and length of all together;
    /// `None` when it is empty or goes past the end.
    #[must_use]
    pub fn span(&self, run: Run) -> Option<(u64, usize)> {
        let last = run.first.checked_add(run.count.checked_sub(1)?)?;
        let ((offset, _), (at, length)) = (self.range(run.first)?, self.range(last)?);
        usize::try_from(at - offset).ok().map(|before| (offset, before + length))
    }

    /// Whether `data` is exactly the chunks of `run`, one after the other: every one of them
    /// is checked.
    #[must_use]
    pub fn matches_run(&self, run: Run, data: &[u8]) -> bool {
        if self.span(run).is_none_or(|(_, length)| length != data.len()) {
            return false;
        }
        // An empty content has one chunk, empty: `chunks` would see none.
        if run.count == 1 {
            return self.matches(run.first, data);
        }
        run.chunks().zip(data.chunks(CHUNK_BYTES)).all(|(index, chunk)| self.matches(index, chunk))
    }

    /// Whether `data` is exactly chunk `index` of the content.
    #[must_use]
    pub fn matches(&self, index: u32, data: &[u8]) -> bool {
        let Some((offset, length)) = self.range(index) else { return false };
        if data.len() != length {
            return false;
        }
        if self.values.is_empty() {
            return *blake3::hash(data).as_bytes() == self.content.0;
        }
        let start = index as usize * CV_BYTES;
        self.values.get(start..start + CV_BYTES) == Some(&chaining_value(offset, data)[..])
    }
}

/// Builds the outline of bytes that are fed to it in order. Memory: 32 bytes a chunk and
/// BLAKE3's own state.
#[derive(Debug)]
pub struct OutlineBuilder {
    hasher: blake3::Hasher,
    in_chunk: usize,
    bytes: u64,
    values: Vec<u8>,
}

impl Default for OutlineBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl OutlineBuilder {
    /// Nothing fed yet.
    #[must_use]
    pub fn new() -> Self {
        Self { hasher: blake3::Hasher::new(), in_chunk: 0, bytes: 0, values: Vec::new() }
    }

    /// The next bytes of the content.
    pub fn update(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            if self.in_chunk == CHUNK_BYTES {
                // Only now is it certain that this chunk is not the whole content.
                self.values.extend(self.hasher.finalize_non_root());
                // Not `reset()`: it keeps the old offset, and the next one then panics.
                self.hasher = blake3::Hasher::new();
                self.hasher.set_input_offset(self.bytes);
                self.in_chunk = 0;
            }
            let (now, rest) = data.split_at(data.len().min(CHUNK_BYTES - self.in_chunk));
            self.hasher.update(now);
            self.in_chunk += now.len();
            self.bytes += now.len() as u64;
            data = rest;
        }
    }

    /// The outline, and with it the content id, of all that was fed.
    #[must_use]
    pub fn finish(mut self) -> Outline {
        if self.values.is_empty() {
            let content = ContentId(*self.hasher.finalize().as_bytes());
            return Outline { content, bytes: self.bytes, values: Vec::new() };
        }
        self.values.extend(self.hasher.finalize_non_root());
        let content = fold_root(&self.values, self.bytes);
        Outline { content, bytes: self.bytes, values: self.values }
    }
}

fn chaining_value(offset: u64, data: &[u8]) -> hazmat::ChainingValue {
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(offset);
    hasher.update(data);
    hasher.finalize_non_root()
}

/// Folds two or more chaining values of a content of `bytes` bytes to its root.
fn fold_root(values: &[u8], bytes: u64) -> ContentId {
    let (left, right) = split(values, bytes);
    ContentId(*hazmat::merge_subtrees_root(&left, &right, Mode::Hash).as_bytes())
}

/// Depth is the logarithm of the chunk count: 16 for the longest content.
fn fold(values: &[u8], bytes: u64) -> hazmat::ChainingValue {
    if let Ok(single) = values.try_into() {
        return single;
    }
    let (left, right) = split(values, bytes);
    hazmat::merge_subtrees_non_root(&left, &right, Mode::Hash)
}

fn split(values: &[u8], bytes: u64) -> (hazmat::ChainingValue, hazmat::ChainingValue) {
    let left_bytes = hazmat::left_subtree_len(bytes);
    let at = (left_bytes / CHUNK_BYTES as u64) as usize * CV_BYTES;
    (fold(&values[..at], left_bytes), fold(&values[at..], bytes - left_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn outline(data: &[u8]) -> Outline {
        let mut builder = OutlineBuilder::new();
        builder.update(data);
        builder.finish()
    }

    fn data(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i / 251 + i) as u8).collect()
    }

    /// Sizes at the edges: empty, BLAKE3's own chunk, ours, two of ours, and a tree that
    /// is not a power of two, each one byte less and more.
    const EDGES: [usize; 6] =
        [0, 1024, CHUNK_BYTES, 2 * CHUNK_BYTES, 3 * CHUNK_BYTES, 5 * CHUNK_BYTES + 12_345];

    #[test]
    fn outlines_are_blake3_at_every_edge() {
        for edge in EDGES {
            for len in [edge.saturating_sub(1), edge, edge + 1] {
                let data = data(len);
                let outline = outline(&data);
                assert_eq!(outline.content().0, *blake3::hash(&data).as_bytes(), "{len}");
                let again = Outline::verify(outline.content(), len as u64, outline.values());
                assert_eq!(again.as_ref(), Some(&outline), "{len}");
                for index in 0..outline.chunks() {
                    let (offset, length) = outline.range(index).unwrap();
                    let chunk = &data[offset as usize..offset as usize + length];
                    assert!(outline.matches(index, chunk), "{len}, chunk {index}");
                }
                assert!(outline.range(outline.chunks()).is_none());
            }
        }
    }

    #[test]
    fn a_run_is_right_when_each_of_its_chunks_is() {
        let data = data(5 * CHUNK_BYTES + 7);
        let outline = outline(&data);
        let run = Run { first: 1, count: 3 };
        assert_eq!(outline.span(run), Some((CHUNK_BYTES as u64, 3 * CHUNK_BYTES)));
        let right = &data[CHUNK_BYTES..4 * CHUNK_BYTES];
        assert!(outline.matches_run(run, right));
        assert!(!outline.matches_run(run, &right[1..]), "a byte less");
        assert!(!outline.matches_run(run, &data[CHUNK_BYTES..5 * CHUNK_BYTES]), "a chunk more");
        for at in [0, CHUNK_BYTES, 3 * CHUNK_BYTES - 1] {
            let mut wrong = right.to_vec();
            wrong[at] ^= 1;
            assert!(!outline.matches_run(run, &wrong), "the byte {at}");
        }
        let tail = Run { first: 4, count: 2 };
        assert!(outline.matches_run(tail, &data[4 * CHUNK_BYTES..]));
        for none in
            [Run { first: 4, count: 3 }, Run { first: 0, count: 0 }, Run { first: u32::MAX, count: 2 }]
        {
            assert_eq!(outline.span(none), None);
            assert!(!outline.matches_run(none, &[]));
        }
        let all: Vec<Run> = outline.runs(4).collect();
        assert_eq!(all, [Run { first: 0, count: 4 }, tail]);
        let empty = super::OutlineBuilder::new().finish();
        assert_eq!(empty.runs(4).collect::<Vec<_>>(), [Run::from(0)]);
        assert!(empty.matches_run(0.into(), &[]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn pieces_of_any_size_give_the_same_outline(len in 0..3 * CHUNK_BYTES, piece in 1..CHUNK_BYTES + 999) {
            let data = data(len);
            let mut builder = OutlineBuilder::new();
            data.chunks(piece).for_each(|piece| builder.update(piece));
            prop_assert_eq!(builder.finish(), outline(&data));
        }

        #[test]
        fn one_flipped_bit_is_seen(len in 1..3 * CHUNK_BYTES, at: prop::sample::Index, bit in 0..8) {
            let mut data = data(len);
            let outline = outline(&data);
            let at = at.index(len);
            data[at] ^= 1u8 << bit;
            let index = (at / CHUNK_BYTES) as u32;
            let (offset, length) = outline.range(index).unwrap();
            prop_assert!(!outline.matches(index, &data[offset as usize..offset as usize + length]));
        }
    }

    #[test]
    fn false_outlines_are_refused() {
        let data = data(3 * CHUNK_BYTES + 5);
        let outline = outline(&data);
        let (content, bytes) = (outline.content(), outline.bytes());
        let mut swapped = outline.values().to_vec();
        swapped.rotate_left(CV_BYTES);
        assert!(Outline::verify(content, bytes, &swapped).is_none(), "order");
        assert!(Outline::verify(content, bytes, &outline.values()[CV_BYTES..]).is_none(), "number");
        assert!(Outline::verify(content, bytes - CHUNK_BYTES as u64, outline.values()).is_none(), "length");
        assert!(Outline::verify(content, MAX_CONTENT_BYTES + 1, &[]).is_none(), "absurd length");
        assert!(Outline::verify(content, 10, &[]).is_some_and(|o| !o.matches(0, &data[..10])), "one chunk");
    }

    #[test]
    fn a_chunk_in_the_wrong_place_or_too_long_is_refused() {
        let data = data(2 * CHUNK_BYTES + 7);
        let outline = outline(&data);
        assert!(!outline.matches(1, &data[..CHUNK_BYTES]));
        assert!(!outline.matches(2, &data[2 * CHUNK_BYTES - 1..]));
        assert!(!outline.matches(3, &[]));
    }
}
