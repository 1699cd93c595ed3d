//! Reading chunks that are verified before anybody sees them, and writing files that are
//! either whole or not there (promises P7 and P8).
//!
//! Not guaranteed: that a file stays what it was after its chunk was read. Every chunk is
//! verified by itself, so a file that changes between two chunks is noticed at the second.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use rustix::buffer::spare_capacity;
use thiserror::Error;

use crate::transfer::outline::{Outline, Run};
use crate::types::{ContentId, RelPath};

mod atomic;
mod prove;
mod write_back;

pub use atomic::{AtomicFile, Overwrite, TEMP_PREFIX, WriteError, sync_folder};
pub use prove::prove;
pub use write_back::{WriteBack, begin_writing};

/// A verified chunk, or several in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkRead {
    /// Exactly the content's bytes.
    pub data: Vec<u8>,
    /// Paths that should have had the chunk and did not: missing, unreadable or other
    /// bytes. Their files need another look, with their fingerprints not trusted.
    pub suspects: Vec<RelPath>,
}

/// Why no path delivered a chunk.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The content has no such chunk.
    #[error("content {content} has {chunks} chunks, there is no chunk {index}")]
    NoSuchChunk {
        /// The content.
        content: ContentId,
        /// Chunks it has.
        chunks: u32,
        /// The chunk asked for, from 0.
        index: u32,
    },
    /// The index knows no file with this content.
    #[error("no file of the folder holds content {content} any more")]
    NoFile {
        /// The content.
        content: ContentId,
    },
    /// The file is there, with other bytes: it changed since it was hashed, or its disk
    /// is damaged.
    #[error("{path} is not what it was when it was hashed (content {content}); it will be looked at again")]
    Changed {
        /// The last path tried.
        path: RelPath,
        /// The content that should be there.
        content: ContentId,
        /// Every path tried.
        suspects: Vec<RelPath>,
    },
    /// The replica that is here instead of a file, or beside files that did not deliver, has
    /// other bytes or can't be read.
    #[error("the replica of content {content} can't be used: {problem}")]
    Replica {
        /// The content.
        content: ContentId,
        /// What is wrong.
        problem: ReplicaProblem,
        /// Every path tried before it.
        suspects: Vec<RelPath>,
    },
    /// The file can't be read.
    #[error("can't read {path}: {source}")]
    Unreadable {
        /// The last path tried.
        path: RelPath,
        /// What the system said.
        source: io::Error,
        /// Every path tried.
        suspects: Vec<RelPath>,
    },
}

/// Why a replica did not deliver a chunk.
#[derive(Debug, Error)]
pub enum ReplicaProblem {
    /// It should be read again as a whole.
    #[error("it has other bytes")]
    Changed,
    /// The disk's.
    #[error("{0}")]
    Unreadable(io::Error),
}

impl ReplicaProblem {
    /// Whether it may be no replica any more: it has other bytes, or somebody removed it. Any
    /// other error of a disk is no reason to give it up.
    #[must_use]
    pub fn wants_recheck(&self) -> bool {
        match self {
            Self::Changed => true,
            Self::Unreadable(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }
}

impl ReadError {
    /// The files that need another look.
    #[must_use]
    pub fn suspects(&self) -> &[RelPath] {
        match self {
            Self::NoSuchChunk { .. } | Self::NoFile { .. } => &[],
            Self::Changed { suspects, .. }
            | Self::Unreadable { suspects, .. }
            | Self::Replica { suspects, .. } => suspects,
        }
    }
}

/// Reads a chunk or a [`Run`] of them, of the content that `outline` describes, from the first
/// of `paths` (relative to `folder`) that has it.
///
/// # Errors
/// When no path has all of it; [`ReadError::suspects`] names the files to look at again.
pub fn read_chunk(
    folder: &Path,
    paths: &[RelPath],
    outline: &Outline,
    run: impl Into<Run>,
) -> Result<ChunkRead, ReadError> {
    let (content, run) = (outline.content(), run.into());
    if outline.span(run).is_none() {
        let chunks = outline.chunks();
        return Err(ReadError::NoSuchChunk { content, chunks, index: run.first.max(chunks) });
    }
    let mut suspects = Vec::new();
    let mut last = None;
    for path in paths {
        match read_verified(&path.in_folder(folder), outline, run) {
            Ok(Some(data)) => return Ok(ChunkRead { data, suspects }),
            Ok(None) => last = Some((path, None)),
            Err(e) => last = Some((path, Some(e))),
        }
        suspects.push(path.clone());
    }
    Err(match last {
        None => ReadError::NoFile { content },
        Some((path, None)) => ReadError::Changed { path: path.clone(), content, suspects },
        Some((path, Some(source))) => ReadError::Unreadable { path: path.clone(), source, suspects },
    })
}

/// Like [`read_chunk`], and from the file `replica` when none of `paths` has the chunk.
///
/// # Errors
/// Like [`read_chunk`]; [`ReadError::Replica`] when the replica has it neither.
pub fn read_chunk_or_replica(
    folder: &Path,
    paths: &[RelPath],
    replica: &Path,
    outline: &Outline,
    run: impl Into<Run>,
) -> Result<ChunkRead, ReadError> {
    let run = run.into();
    let error = match read_chunk(folder, paths, outline, run) {
        Err(error) if !matches!(error, ReadError::NoSuchChunk { .. }) => error,
        result => return result,
    };
    let suspects = error.suspects().to_vec();
    let problem = match read_verified(replica, outline, run) {
        Ok(Some(data)) => return Ok(ChunkRead { data, suspects }),
        Ok(None) => ReplicaProblem::Changed,
        Err(source) => ReplicaProblem::Unreadable(source),
    };
    Err(ReadError::Replica { content: outline.content(), problem, suspects })
}

/// A chunk or a [`Run`] of them, of the content that `outline` describes, from a file that
/// should have it; `None` when it has other bytes, or the content no such chunks.
///
/// # Errors
/// When the file can't be read.
pub fn read_verified(file: &Path, outline: &Outline, run: impl Into<Run>) -> io::Result<Option<Vec<u8>>> {
    let run = run.into();
    let Some((offset, length)) = outline.span(run) else { return Ok(None) };
    match read_range(file, outline.bytes(), offset, length) {
        Ok(data) => Ok(outline.matches_run(run, &data).then_some(data)),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(e) => Err(e),
    }
}

/// Bytes `offset..offset + length` of a regular file of `total` bytes; `UnexpectedEof`
/// when it has another length.
fn read_range(path: &Path, total: u64, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    // Opening a named pipe would wait for a writer forever, and a symbolic link could
    // point to one.
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file any more"));
    }
    let file = File::open(path)?;
    if file.metadata()?.len() != total {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    // Not `read_exact_at`, which wants the memory filled with zeros first, nor `read_to_end`,
    // which reads in small pieces.
    let mut data = Vec::with_capacity(length);
    while data.len() < length {
        let at = offset + data.len() as u64;
        match rustix::io::pread(&file, spare_capacity(&mut data), at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    // The memory may be larger than what was asked for.
    data.truncate(length);
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::CHUNK_BYTES;
    use crate::transfer::outline::OutlineBuilder;

    fn rel(path: &str) -> RelPath {
        RelPath::from_bytes(path.into()).unwrap()
    }

    fn photo(len: usize) -> (Vec<u8>, Outline) {
        let data: Vec<u8> = (0..len).map(|i| (i / 7 + i) as u8).collect();
        let mut builder = OutlineBuilder::new();
        builder.update(&data);
        (data, builder.finish())
    }

    #[test]
    fn every_chunk_is_read_and_there_is_none_after_the_last() {
        let dir = tempfile::tempdir().unwrap();
        for len in [0, 1, CHUNK_BYTES, 2 * CHUNK_BYTES + 5] {
            let (data, outline) = photo(len);
            fs::write(dir.path().join("a.jpg"), &data).unwrap();
            let mut read = Vec::new();
            for index in 0..outline.chunks() {
                read.extend(read_chunk(dir.path(), &[rel("a.jpg")], &outline, index).unwrap().data);
            }
            assert_eq!(read, data);
            let past = read_chunk(dir.path(), &[rel("a.jpg")], &outline, outline.chunks());
            assert!(matches!(past, Err(ReadError::NoSuchChunk { .. })));
        }
    }

    #[test]
    fn the_first_path_with_the_right_bytes_is_used_and_the_others_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let (mut data, outline) = photo(CHUNK_BYTES + 9);
        fs::write(dir.path().join("good.jpg"), &data).unwrap();
        data[CHUNK_BYTES + 2] ^= 1;
        fs::write(dir.path().join("rotten.jpg"), &data).unwrap();
        fs::write(dir.path().join("short.jpg"), &data[..CHUNK_BYTES]).unwrap();
        let paths = ["gone.jpg", "short.jpg", "rotten.jpg", "good.jpg"].map(rel);
        let read = read_chunk(dir.path(), &paths, &outline, 1).unwrap();
        assert_eq!(read.suspects, paths[..3]);
        assert!(outline.matches(1, &read.data));

        let error = read_chunk(dir.path(), &paths[..3], &outline, 1).unwrap_err();
        assert!(matches!(&error, ReadError::Changed { path, .. } if *path == rel("rotten.jpg")), "{error}");
        assert_eq!(error.suspects(), &paths[..3]);
        let error = read_chunk(dir.path(), &paths[..1], &outline, 1).unwrap_err();
        assert!(matches!(error, ReadError::Unreadable { .. }), "{error}");
        assert!(matches!(read_chunk(dir.path(), &[], &outline, 0), Err(ReadError::NoFile { .. })));
    }

    #[test]
    fn a_replica_stands_in_for_files_that_changed() {
        let dir = tempfile::tempdir().unwrap();
        let (data, outline) = photo(CHUNK_BYTES + 9);
        let replica = dir.path().join("replica");
        let read = |paths: &[RelPath], index| {
            read_chunk_or_replica(dir.path(), paths, &replica, &outline, index)
                .map(|read| (read.data, read.suspects))
        };
        fs::write(&replica, &data).unwrap();
        fs::write(dir.path().join("a.jpg"), "changed").unwrap();
        assert_eq!(read(&[], 1).unwrap(), (data[CHUNK_BYTES..].to_vec(), vec![]));
        assert_eq!(read(&[rel("a.jpg")], 0).unwrap(), (data[..CHUNK_BYTES].to_vec(), vec![rel("a.jpg")]));
        assert!(matches!(read(&[], 2), Err(ReadError::NoSuchChunk { .. })));
        fs::write(&replica, &data[1..]).unwrap();
        let error = read(&[rel("a.jpg")], 0).unwrap_err();
        assert!(matches!(&error, ReadError::Replica { problem: ReplicaProblem::Changed, .. }), "{error}");
        assert_eq!(error.suspects(), [rel("a.jpg")]);
        fs::remove_file(&replica).unwrap();
        let error = read(&[], 0).unwrap_err();
        assert!(
            matches!(&error, ReadError::Replica { problem, .. } if problem.wants_recheck()),
            "a removed one is no replica: {error}"
        );
        fs::create_dir(&replica).unwrap();
        let error = read(&[], 0).unwrap_err();
        assert!(matches!(&error, ReadError::Replica { problem, .. } if !problem.wants_recheck()), "{error}");
    }

    #[test]
    fn links_and_folders_are_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let (data, outline) = photo(10);
        fs::write(dir.path().join("target"), &data).unwrap();
        std::os::unix::fs::symlink("target", dir.path().join("link.jpg")).unwrap();
        fs::create_dir(dir.path().join("folder.jpg")).unwrap();
        for path in ["link.jpg", "folder.jpg"] {
            let error = read_chunk(dir.path(), &[rel(path)], &outline, 0).unwrap_err();
            assert!(matches!(error, ReadError::Unreadable { .. }), "{error}");
        }
    }
}
