//! This node's pictures: by their images, keys and hashes.

use super::{ContentId, Index, IndexError, look};
use crate::dht_index::keys::OwnKey;
use crate::dht_index::spans::Spans;
use crate::types::ImageId;

impl Index {
    /// This node's pictures after one, in the order of their ids, at most `limit`.
    ///
    /// # Errors
    /// When the index can't be read.
    pub fn own_images(&self, after: Option<ImageId>, limit: usize) -> Result<Vec<ImageId>, IndexError> {
        self.read("reading the images", |txn| look::images(txn, after, limit))
    }

    /// The keys of this node's pictures in parts of the keyspace, after one, in the order of the
    /// keyspace, at most `limit`.
    ///
    /// # Errors
    /// When the index can't be read.
    pub fn own_keys(
        &self,
        spans: &Spans,
        after: Option<&OwnKey>,
        limit: usize,
    ) -> Result<Vec<OwnKey>, IndexError> {
        self.read("reading the keys", |txn| look::keys(txn, spans, after, limit))
    }

    /// How many keys that are in all.
    ///
    /// # Errors
    /// When the index can't be read.
    pub fn own_key_count(&self) -> Result<u64, IndexError> {
        self.read("counting the keys", look::key_count)
    }

    /// This node's contents that have a perceptual hash, after one of them, in the order of hash
    /// and content, at most `limit`.
    ///
    /// # Errors
    /// When the index can't be read.
    pub fn own_hashed(
        &self,
        after: Option<([u8; 32], ContentId)>,
        limit: usize,
    ) -> Result<Vec<([u8; 32], ContentId)>, IndexError> {
        self.read("reading the hashes", |txn| look::hashed(txn, after, limit))
    }

    /// Whether this node holds a content of the picture.
    ///
    /// # Errors
    /// When the index can't be read.
    pub fn holds_image(&self, image: &ImageId) -> Result<bool, IndexError> {
        self.read("looking up an image", |txn| look::holds_image(txn, image))
    }
}
