//! A replica on its way in: received, verified, committed. Each step is a type of its own, so
//! that nothing that was not verified can get a name.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use tempfile::{NamedTempFile, TempPath};

use super::error::at;
use super::{INCOMING, Inner, ReplicaError, Replicas, move_apart};
use crate::limits::{CHUNK_BYTES, MAX_CONTENT_BYTES, MAX_REPLICAS};
use crate::store::files::{TEMP_PREFIX, WriteBack, begin_writing};
use crate::transfer::outline::{Outline, OutlineBuilder};
use crate::types::ContentId;

/// Room on the disk that others don't get meanwhile.
#[derive(Debug)]
struct Promise {
    inner: Arc<Inner>,
    bytes: u64,
}

impl Drop for Promise {
    fn drop(&mut self) {
        let mut book = self.inner.book();
        book.promised = book.promised.saturating_sub(self.bytes);
    }
}

/// A content that is being received. Dropped, its file goes.
#[derive(Debug)]
pub struct Receiving {
    temp: NamedTempFile,
    back: WriteBack,
    content: ContentId,
    bytes: u64,
    _promise: Promise,
}

/// A content that is here whole and right, under no name that lasts. Dropped, its file
/// goes.
#[derive(Debug)]
pub struct Received {
    temp: TempPath,
    outline: Outline,
}

impl Replicas {
    /// Begins to receive a content of `bytes` bytes, if there is room for it.
    ///
    /// # Errors
    /// [`ReplicaError::NoRoom`], [`ReplicaError::TooMany`], [`ReplicaError::TooLong`], or the
    /// disk's.
    pub fn receive(&self, content: ContentId, bytes: u64) -> Result<Receiving, ReplicaError> {
        if bytes > MAX_CONTENT_BYTES {
            return Err(ReplicaError::TooLong { bytes });
        }
        let promise = self.promise(bytes)?;
        let incoming = self.inner.dir.join(INCOMING);
        let temp = tempfile::Builder::new().prefix(TEMP_PREFIX).tempfile_in(&incoming);
        let temp = temp.map_err(at("make a file in", &incoming))?;
        Ok(Receiving { temp, back: WriteBack::default(), content, bytes, _promise: promise })
    }

    fn promise(&self, bytes: u64) -> Result<Promise, ReplicaError> {
        let free = self.free()?;
        let mut book = self.inner.book();
        if book.held >= MAX_REPLICAS {
            return Err(ReplicaError::TooMany);
        }
        // What is written already counts twice here: too careful, and over soon.
        let room = free.saturating_sub(book.promised);
        if bytes > room {
            return Err(ReplicaError::NoRoom { bytes, room });
        }
        book.promised = book.promised.saturating_add(bytes);
        Ok(Promise { inner: Arc::clone(&self.inner), bytes })
    }

    /// Receives a content that came whole: writes it, when its bytes are what they are to be, and has
    /// the disk begin with it.
    ///
    /// # Errors
    /// As [`Replicas::receive`], and [`ReplicaError::Wrong`].
    pub fn receive_whole(&self, content: ContentId, data: &[u8]) -> Result<Received, ReplicaError> {
        let mut builder = OutlineBuilder::new();
        builder.update(data);
        let outline = builder.finish();
        if outline.content() != content {
            return Err(ReplicaError::Wrong { content });
        }
        let receiving = self.receive(content, outline.bytes())?;
        // Not read again as in `verify`: it is written in one piece.
        receiving.write_at(0, data)?;
        begin_writing(receiving.temp.as_file(), data.len());
        Ok(Received { temp: receiving.temp.into_temp_path(), outline })
    }

    /// Takes a damaged replica out of the count; its file stays under another name.
    pub(super) fn take_apart(&self, path: &Path) -> Result<(), ReplicaError> {
        move_apart(path)?;
        let mut book = self.inner.book();
        book.held = book.held.saturating_sub(1);
        Ok(())
    }
}

impl Receiving {
    /// Which content it is to be.
    #[must_use]
    pub fn content(&self) -> ContentId {
        self.content
    }

    /// Its length.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The unfinished file.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.temp.path()
    }

    /// Writes `data` at `offset`; chunks may come in any order.
    ///
    /// # Errors
    /// [`ReplicaError::Outside`], [`ReplicaError::Full`], or the disk's.
    pub fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), ReplicaError> {
        let end = offset.saturating_add(data.len() as u64);
        if end > self.bytes {
            return Err(ReplicaError::Outside { content: self.content, end, bytes: self.bytes });
        }
        self.temp.as_file().write_all_at(data, offset).map_err(at("write", self.temp.path()))?;
        self.back.wrote(self.temp.as_file(), data.len());
        Ok(())
    }

    /// Reads all of it again and compares it with what it is to be.
    ///
    /// # Errors
    /// [`ReplicaError::Wrong`], or the disk's. Either way the file is gone.
    pub fn verify(self) -> Result<Received, ReplicaError> {
        let outline = self.read_again().map_err(at("read", self.temp.path()))?;
        if outline.content() != self.content || outline.bytes() != self.bytes {
            return Err(ReplicaError::Wrong { content: self.content });
        }
        Ok(Received { temp: self.temp.into_temp_path(), outline })
    }

    fn read_again(&self) -> io::Result<Outline> {
        let mut builder = OutlineBuilder::new();
        let mut piece = vec![0; CHUNK_BYTES];
        let mut offset = 0;
        loop {
            match self.temp.as_file().read_at(&mut piece, offset) {
                Ok(0) => return Ok(builder.finish()),
                Ok(got) => {
                    builder.update(piece.get(..got).unwrap_or_default());
                    offset += got as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Received {
    /// Which content it is.
    #[must_use]
    pub fn content(&self) -> ContentId {
        self.outline.content()
    }

    /// Its length.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.outline.bytes()
    }

    /// The chaining values of its chunks.
    #[must_use]
    pub fn outline(&self) -> &Outline {
        &self.outline
    }

    /// Its file has another name now.
    pub(super) fn moved(self) {
        // It is not there any more.
        drop(self.temp.keep());
    }

    /// The file, for looking at it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.temp
    }
}
