//! Sending a picture to the node, a window of chunks at a time.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::{Client, ClientError};
use crate::limits::{CHUNK_BYTES, CHUNK_WINDOW, MAX_CONTENT_BYTES, MAX_NAME_BYTES};
use crate::protocol::{ClientRequest, ClientResponse, ImageRow, PutRequest, PutResponse};
use crate::transfer::outline::{Outline, OutlineBuilder};
use crate::types::{ContentId, ImageId, RelPath};
use crate::wire::codec::Frame;

/// What came of sending a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Put {
    /// The swarm has it already; nothing was sent.
    Known(Box<ImageRow>),
    /// It is in the node's folder.
    Stored {
        /// Which content it is.
        content: ContentId,
        /// Where it is there.
        path: RelPath,
    },
}

/// How many copies there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copies {
    /// Confirmed by the holders.
    pub have: u32,
    /// How many there should be.
    pub wanted: u32,
    /// Trusted nodes that are there.
    pub nodes: u32,
}

impl Client {
    /// Adds the picture at `path` to the swarm, through the node's folder. `sent` hears of every
    /// chunk that has arrived: bytes so far, and of all.
    ///
    /// # Errors
    /// The file can't be read, or changes meanwhile; connection lost; refused (`forbidden` when
    /// the node is open to anybody, `invalid` when it is no picture, `unavailable` when there is
    /// no room).
    pub async fn put(&self, path: &Path, sent: impl Fn(u64, u64)) -> Result<Put, ClientError> {
        let what = path.display().to_string();
        let unreadable = |source| ClientError::Input { what: what.clone(), source };
        let of = path.to_path_buf();
        let (file, outline) = blocking(move || outline(&of)).await.map_err(unreadable)?;
        let name = short_name(path);
        let begin = PutRequest::Begin { content: outline.content(), bytes: outline.bytes(), name };
        let token = match self.put_step(begin, outline.values().to_vec()).await? {
            PutResponse::Known(row) => return Ok(Put::Known(row)),
            PutResponse::Begun { token } => token,
            _ => return Err(ClientError::Protocol("put")),
        };
        let (file, outline) = (Arc::new(file), Arc::new(outline));
        let chunks = stream::iter(0..outline.chunks()).map(|index| {
            let (file, outline) = (Arc::clone(&file), Arc::clone(&outline));
            async move {
                let data = blocking(move || chunk(&file, &outline, index)).await.map_err(unreadable)?;
                let length = data.len() as u64;
                match self.put_step(PutRequest::Chunk { token, index }, data).await? {
                    PutResponse::Taken => Ok(length),
                    _ => Err(ClientError::Protocol("put")),
                }
            }
        });
        let mut chunks = chunks.buffer_unordered(CHUNK_WINDOW);
        let mut done = 0;
        while let Some(length) = chunks.try_next().await? {
            done += length;
            sent(done, outline.bytes());
        }
        loop {
            match self.put_step(PutRequest::End { token }, Vec::new()).await? {
                PutResponse::Stored { path: Some(path) } => {
                    return Ok(Put::Stored { content: outline.content(), path });
                }
                // It hashes a large file, or is in the midst of a scan.
                PutResponse::Stored { path: None } => {}
                _ => return Err(ClientError::Protocol("put")),
            }
        }
    }

    /// How many copies of a content there are; the node waits some seconds for as many as there
    /// should be.
    ///
    /// # Errors
    /// Connection lost, or refused.
    pub async fn copies(&self, image: ImageId, content: ContentId) -> Result<Copies, ClientError> {
        match self.put_step(PutRequest::Copies { content, image }, Vec::new()).await? {
            PutResponse::Copies { have, wanted, nodes } => Ok(Copies { have, wanted, nodes }),
            _ => Err(ClientError::Protocol("put")),
        }
    }

    async fn put_step(&self, request: PutRequest, payload: Vec<u8>) -> Result<PutResponse, ClientError> {
        let frame = Frame::new(ClientRequest::Put(request), payload);
        match self.call(frame, "adding a picture").await?.header {
            ClientResponse::Put(response) => Ok(response),
            _ => Err(ClientError::Protocol("put")),
        }
    }
}

async fn blocking<T: Send + 'static>(call: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(call).await.map_err(io::Error::other)?
}

fn outline(path: &Path) -> io::Result<(File, Outline)> {
    let mut file = File::open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
    }
    if meta.len() > MAX_CONTENT_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is longer than any picture"));
    }
    let mut builder = OutlineBuilder::new();
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok((file, builder.finish())),
            Ok(count) => builder.update(buffer.get(..count).unwrap_or_default()),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

fn chunk(file: &File, outline: &Outline, index: u32) -> io::Result<Vec<u8>> {
    let (offset, length) = outline.range(index).ok_or(io::ErrorKind::InvalidInput)?;
    let mut data = vec![0; length];
    file.read_exact_at(&mut data, offset)?;
    if !outline.matches(index, &data) {
        return Err(io::Error::other("it changed while it was sent: nothing was added"));
    }
    Ok(data)
}

/// The name without its folder, as much of it as a message takes.
fn short_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name.len() <= MAX_NAME_BYTES {
        return name.into_owned();
    }
    // From the end: the extension says what it is.
    let from = name.len() - MAX_NAME_BYTES;
    let from = (from..name.len()).find(|at| name.is_char_boundary(*at)).unwrap_or(name.len());
    name.get(from..).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_changes_is_not_sent_as_what_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jpg");
        std::fs::write(&path, vec![1; CHUNK_BYTES + 5]).unwrap();
        let (file, outline) = outline(&path).unwrap();
        assert_eq!(chunk(&file, &outline, 1).unwrap(), [1; 5]);
        std::fs::write(&path, vec![2; CHUNK_BYTES + 5]).unwrap();
        assert!(chunk(&file, &outline, 1).unwrap_err().to_string().contains("changed"));
        assert!(chunk(&file, &outline, 2).is_err());
    }

    #[test]
    fn a_long_name_keeps_its_end() {
        let name = format!("{}.jpg", "ä".repeat(400));
        let short = short_name(Path::new("folder").join(name).as_path());
        assert!(short.len() <= MAX_NAME_BYTES && short.ends_with("ä.jpg"), "{short}");
        assert_eq!(short_name(Path::new("a/b.jpg")), "b.jpg");
        assert_eq!(short_name(Path::new("/")), "");
    }

    #[test]
    fn folders_are_no_pictures() {
        let folder = tempfile::tempdir().unwrap();
        assert!(outline(folder.path()).is_err());
    }
}
