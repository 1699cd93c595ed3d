//! One message on one stream.
//!
//! ```text
//! varint header length | CBOR header | varint payload length | payload | end of stream
//! ```
//!
//! The payload stays outside of CBOR, so that a chunk goes from the disk to the stream
//! without being copied into a message, and its length is checked against the header it
//! comes with: a `chunk` may carry [`CHUNK_BYTES`], a `hello`
//! nothing. Memory grows with the bytes that arrive, never with what a peer announces.

use std::io;
use std::marker::PhantomData;

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::StreamProtocol;
use libp2p::request_response;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::shape::{self, ShapeError};
use super::validate::{Validate, Violation};
use crate::limits::{CHUNK_BYTES, MAX_HEADER_BYTES, MAX_PAYLOAD_BYTES, RUN_CHUNKS};
use crate::protocol::{ClientRequest, ClientResponse, PeerRequest, PeerResponse};

/// Node to node.
pub type PeerCodec = FrameCodec<PeerRequest, PeerResponse>;
/// Client to node.
pub type ClientCodec = FrameCodec<ClientRequest, ClientResponse>;

/// First piece of memory for what arrives; it doubles as long as bytes keep coming. The
/// room for a whole run of chunks is set aside at once, but touched only as far as bytes
/// arrive.
const FIRST_PIECE: usize = 32 * 1024;

/// Bytes of the first write of a message: what Yamux sends as one frame.
const FIRST_WRITE: usize = 16 * 1024;

/// A message as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame<H> {
    /// What it says.
    pub header: H,
    /// Raw bytes that belong to it; mostly none.
    pub payload: Vec<u8>,
}

impl<H> Frame<H> {
    /// A message with bytes.
    pub fn new(header: H, payload: Vec<u8>) -> Self {
        Self { header, payload }
    }
}

impl<H> From<H> for Frame<H> {
    fn from(header: H) -> Self {
        Self { header, payload: Vec::new() }
    }
}

/// Why a frame is not a message. Travels as the inner error of an [`io::Error`].
#[derive(Debug, Error)]
pub enum FrameError {
    /// Over a limit: [`MAX_HEADER_BYTES`], or what the header allows as payload.
    #[error("the {part} of a message is announced with {found} bytes, at most {limit} are allowed")]
    TooLong {
        /// Header or payload.
        part: &'static str,
        /// What was announced; the least it can be, when the number itself is too long.
        found: usize,
        /// What is allowed.
        limit: usize,
    },
    /// A length with needless zero bytes.
    #[error("the length of a message's {0} is not in its shortest form")]
    NotMinimal(&'static str),
    /// See [`ShapeError`].
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// Not a message of this protocol.
    #[error("the header is not a message of this protocol: {0}")]
    Header(#[from] serde_cbor::Error),
    /// See [`Violation`].
    #[error(transparent)]
    Limit(#[from] Violation),
    /// Bytes after the message.
    #[error("a message is followed by further bytes")]
    Trailing,
}

impl From<FrameError> for io::Error {
    fn from(error: FrameError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// Puts requests and responses on streams. Has no state; a clone is free.
#[derive(Debug)]
pub struct FrameCodec<Req, Resp>(PhantomData<fn() -> (Req, Resp)>);

impl<Req, Resp> Default for FrameCodec<Req, Resp> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<Req, Resp> Clone for FrameCodec<Req, Resp> {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl<Req, Resp> request_response::Codec for FrameCodec<Req, Resp>
where
    Req: Serialize + DeserializeOwned + Validate + Send,
    Resp: Serialize + DeserializeOwned + Validate + Send,
{
    type Protocol = StreamProtocol;
    type Request = Frame<Req>;
    type Response = Frame<Resp>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Frame<Req>>
    where
        T: AsyncRead + Unpin + Send,
    {
        read_frame(io).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Frame<Resp>>
    where
        T: AsyncRead + Unpin + Send,
    {
        read_frame(io).await
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        request: Frame<Req>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write_frame(io, request).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        response: Frame<Resp>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write_frame(io, response).await
    }
}

/// Reads one message and the end of the stream after it.
async fn read_frame<H, T>(io: &mut T) -> io::Result<Frame<H>>
where
    H: DeserializeOwned + Validate + Send,
    T: AsyncRead + Unpin + Send,
{
    let length = read_length(io, "header", MAX_HEADER_BYTES).await?;
    let header: H = decode(&read_bytes(io, length).await?)?;
    let limit = header.payload_limit().min(MAX_PAYLOAD_BYTES);
    let length = read_length(io, "payload", limit).await?;
    let payload = read_bytes(io, length).await?;
    if io.read(&mut [0]).await? != 0 {
        return Err(FrameError::Trailing.into());
    }
    Ok(Frame { header, payload })
}

async fn write_frame<H, T>(io: &mut T, frame: Frame<H>) -> io::Result<()>
where
    H: Serialize + Validate + Send,
    T: AsyncWrite + Unpin + Send,
{
    let Frame { header, payload } = frame;
    let mut start = encode(&header, payload.len())?;
    // The beginning of the payload goes along: a write is a frame of the multiplexer.
    let (along, rest) = payload.split_at(payload.len().min(FIRST_WRITE.saturating_sub(start.len())));
    start.extend_from_slice(along);
    io.write_all(&start).await?;
    io.write_all(rest).await
}

fn decode<H: DeserializeOwned + Validate>(bytes: &[u8]) -> Result<H, FrameError> {
    shape::check(bytes)?;
    let header: H = serde_cbor::from_slice(bytes)?;
    header.validate()?;
    Ok(header)
}

/// All of a frame that comes before its payload.
fn encode<H: Serialize + Validate>(header: &H, payload: usize) -> Result<Vec<u8>, FrameError> {
    header.validate()?;
    let cbor = serde_cbor::to_vec(header)?;
    within("header", cbor.len(), MAX_HEADER_BYTES)?;
    within("payload", payload, header.payload_limit().min(MAX_PAYLOAD_BYTES))?;
    let mut start = Vec::with_capacity(cbor.len() + 8);
    push_varint(&mut start, cbor.len());
    start.extend(cbor);
    push_varint(&mut start, payload);
    Ok(start)
}

fn within(part: &'static str, found: usize, limit: usize) -> Result<(), FrameError> {
    if found <= limit { Ok(()) } else { Err(FrameError::TooLong { part, found, limit }) }
}

fn push_varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Four bytes hold every length up to 256 MiB, more than any limit here.
async fn read_length<T: AsyncRead + Unpin>(
    io: &mut T,
    part: &'static str,
    limit: usize,
) -> io::Result<usize> {
    let mut value = 0;
    for shift in [0, 7, 14, 21] {
        let mut byte = [0_u8];
        io.read_exact(&mut byte).await?;
        let [byte] = byte;
        value |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            if byte == 0 && shift != 0 {
                return Err(FrameError::NotMinimal(part).into());
            }
            within(part, value, limit)?;
            return Ok(value);
        }
    }
    Err(FrameError::TooLong { part, found: 1 << 28, limit }.into())
}

/// Reads exactly `length` bytes, taking memory for at most twice of what has arrived.
async fn read_bytes<T: AsyncRead + Unpin>(io: &mut T, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(length.min(RUN_CHUNKS as usize * CHUNK_BYTES));
    while bytes.len() < length {
        let have = bytes.len();
        let next = length.min((have * 2).max(FIRST_PIECE));
        bytes.reserve_exact(next - have);
        bytes.resize(next, 0);
        let piece = bytes.get_mut(have..).unwrap_or_default();
        io.read_exact(piece).await?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
