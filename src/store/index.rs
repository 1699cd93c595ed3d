//! (being written)
#![allow(missing_docs, clippy::all, clippy::pedantic, unused)]
use crate::picture::Signature;
use crate::protocol::{CatalogEntry, CatalogPage, Held, ImageRow};
use crate::transfer::outline::Outline;
use crate::types::*;
use libp2p::PeerId;
use std::path::Path;

#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    #[error("placeholder")]
    Placeholder,
}

/// What tells that a file is still the one that was hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Fingerprint {
    pub bytes: u64,
    pub mtime_ns: i128,
    pub ctime_ns: i128,
    pub inode: u64,
    pub device: u64,
}

/// One file of the folder, as last looked at.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FileRecord {
    pub fingerprint: Fingerprint,
    pub kind: FileKind,
}
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum FileKind {
    Picture { content: ContentId, problem: Option<String> },
    Unprotected { kind: String },
    NotPicture { problem: Option<String> },
}

/// What a content is, independent of where it lies.
pub struct ContentRecord {
    pub facts: Facts,
    pub outline: Outline,
    pub signature: Option<Signature>,
    pub paths: Vec<RelPath>,
}

/// One change of the folder.
pub enum Change {
    Seen { path: RelPath, fingerprint: Fingerprint, found: Found },
    Gone { path: RelPath },
}
pub enum Found {
    Picture { facts: Facts, outline: Outline, signature: Option<Signature>, problem: Option<String> },
    Unprotected { kind: String },
    NotPicture { problem: Option<String> },
}

/// What a batch of changes did to this node's catalog.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Applied {
    pub added: Vec<(ImageId, ContentId)>,
    pub removed: Vec<(ImageId, ContentId)>,
    pub head: Option<CatalogHead>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    pub images: u64,
    pub bytes: u64,
    pub unprotected: u64,
    pub problems: u64,
}

#[derive(Debug)]
pub struct Index;
impl Index {
    pub fn open(path: &Path, me: PeerId) -> Result<Self, IndexError> {
        todo!()
    }
    pub fn in_memory(me: PeerId) -> Result<Self, IndexError> {
        todo!()
    }
    pub fn file(&self, path: &RelPath) -> Result<Option<FileRecord>, IndexError> {
        todo!()
    }
    pub fn files(
        &self,
        after: Option<&RelPath>,
        limit: usize,
    ) -> Result<Vec<(RelPath, FileRecord)>, IndexError> {
        todo!()
    }
    pub fn apply(&self, changes: Vec<Change>) -> Result<Applied, IndexError> {
        todo!()
    }
    pub fn content(&self, content: &ContentId) -> Result<Option<ContentRecord>, IndexError> {
        todo!()
    }
    pub fn held(&self, image: &ImageId) -> Result<Vec<CatalogEntry>, IndexError> {
        todo!()
    }
    pub fn totals(&self) -> Result<Totals, IndexError> {
        todo!()
    }
    pub fn problems(&self, limit: usize) -> Result<Vec<(RelPath, String)>, IndexError> {
        todo!()
    }
    pub fn own_images(&self, after: Option<ImageId>, limit: usize) -> Result<Vec<ImageId>, IndexError> {
        todo!()
    }
    pub fn holds_image(&self, image: &ImageId) -> Result<bool, IndexError> {
        todo!()
    }
    pub fn head(&self) -> Result<CatalogHead, IndexError> {
        todo!()
    }
    pub fn catalog_page(&self, epoch: Epoch, after: Seq) -> Result<CatalogPage, IndexError> {
        todo!()
    }
    pub fn peer_position(&self, peer: &PeerId) -> Result<Option<CatalogHead>, IndexError> {
        todo!()
    }
    pub fn apply_peer_page(
        &self,
        peer: &PeerId,
        folder: FolderId,
        page: &CatalogPage,
    ) -> Result<(), IndexError> {
        todo!()
    }
    pub fn forget_peer(&self, peer: &PeerId) -> Result<(), IndexError> {
        todo!()
    }
    pub fn list(
        &self,
        after: Option<&[u8]>,
        filter: Option<&str>,
        live: &dyn Fn(&PeerId) -> bool,
    ) -> Result<(Vec<ImageRow>, Option<Vec<u8>>), IndexError> {
        todo!()
    }
    pub fn resolve(
        &self,
        prefix: &Prefix,
        live: &dyn Fn(&PeerId) -> bool,
    ) -> Result<(Vec<ImageRow>, bool), IndexError> {
        todo!()
    }
    pub fn holders(&self, content: &ContentId) -> Result<Vec<(PeerId, RelPath)>, IndexError> {
        todo!()
    }
}
/// What a hash typed by a person means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prefix {
    Image(String),
    Content(String),
}
