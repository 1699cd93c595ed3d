//! Many messages of Kademlia's protocol on one stream.
//!
//! libp2p's `kad` opens a stream and runs a query for each record and each lookup: 70 to 100 times
//! the cost. The other side need not know of this: a `kad` server reads one message after the other
//! from a stream, and answers in order. So it works with any libp2p implementation.
//!
//! What is not guaranteed: that a record is *stored*. `ADD_PROVIDER` has no answer. A question after
//! a number of records shows that those before it were processed; a full store drops them without
//! a word.
//!
//! The caller has a connection to the peer: a stream to an unconnected one makes libp2p-stream dial
//! by a request that it may lose, and then waits for ever (here until the deadline).

use std::collections::VecDeque;
use std::io;

use futures::io::{BufReader, ReadHalf};
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol};
use libp2p_stream::{Control, OpenStreamError};
use thiserror::Error;
use tokio::sync::Semaphore;

use crate::limits::{KAD_ACK_EVERY, KAD_ASK_WINDOW, KAD_STEP_DEADLINE, KAD_WRITE_BYTES, MAX_KAD_MESSAGE};
use crate::protocol::KAD_PROTOCOL;

pub mod many;
pub mod message;

use message::{Key, Kind, Message, MessageError, Peer, provider_field, push_message, read_message};

/// Acknowledgements waited for at once. Two, so that the peer has work while one is on its way.
const ACKS_UNDER_WAY: usize = 2;

/// Bytes read at once.
const READ_BYTES: usize = 16 * 1024;

/// Why a stream ended before its work was done.
#[derive(Debug, Error)]
pub enum StreamError {
    /// Frozen, gone, or far too slow.
    #[error("the other node did not {0} in time")]
    Silent(&'static str),
    /// It is no node of this DHT.
    #[error("the other node does not serve this DHT")]
    Unsupported,
    /// The connection or the stream broke.
    #[error("the stream to the other node broke: {0}")]
    Broken(#[from] io::Error),
    /// It sent what is no message.
    #[error("the other node broke the protocol: {0}")]
    Message(#[from] MessageError),
    /// A longer message than any honest one.
    #[error("the other node announced a message of more than {MAX_KAD_MESSAGE} bytes")]
    TooLong,
    /// It answered something else than what was asked.
    #[error("the other node answered another question than the one asked")]
    OtherAnswer,
}

/// Who provides a key, as one node says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Providers(pub Vec<Peer>);

/// Has `peer` store that `me`, reached at `my_addresses`, provides `keys`, and returns how many
/// were acknowledged: all of them. `acked` hears each time how many are by now, and so knows after an
/// error where to go on.
///
/// Memory does not grow with the number of keys, on neither side: the peer's pace is kept.
///
/// # Errors
/// The stream could not be opened, or ended early; see [`StreamError`].
pub async fn publish(
    control: &mut Control,
    peer: PeerId,
    me: PeerId,
    my_addresses: &[Multiaddr],
    keys: impl Iterator<Item = Key>,
    acked: impl FnMut(usize),
) -> Result<usize, StreamError> {
    let stream = open(control, peer).await?;
    publish_on(stream, &provider_field(me, my_addresses), keys, acked).await
}

/// Asks `peer` who provides each of `keys`; the answers are in the order of the keys.
///
/// # Errors
/// The stream could not be opened, or ended early; see [`StreamError`]. What was answered before is
/// lost: ask a bounded number.
pub async fn ask_providers(
    control: &mut Control,
    peer: PeerId,
    keys: &[Key],
) -> Result<Vec<Providers>, StreamError> {
    let stream = open(control, peer).await?;
    ask_on(stream, keys).await
}

async fn open(control: &mut Control, peer: PeerId) -> Result<Stream, StreamError> {
    let opening = control.open_stream(peer, StreamProtocol::new(KAD_PROTOCOL));
    let opened = tokio::time::timeout(KAD_STEP_DEADLINE, opening).await;
    match opened.map_err(|_| StreamError::Silent("open a stream"))? {
        Ok(stream) => Ok(stream),
        Err(OpenStreamError::Io(error)) => Err(error.into()),
        Err(_) => Err(StreamError::Unsupported),
    }
}

async fn publish_on<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    provider: &[u8],
    keys: impl Iterator<Item = Key>,
    mut acked: impl FnMut(usize),
) -> Result<usize, StreamError> {
    let (reader, mut writer) = stream.split();
    let mut answers = Answers::new(reader);
    let mut out = Vec::with_capacity(KAD_WRITE_BYTES + 2048);
    let mut sent = 0_usize;
    let mut confirmed = 0;
    // The number of records sent when each question was asked that is not answered yet.
    let mut asked = VecDeque::with_capacity(ACKS_UNDER_WAY);
    let mut keys = keys.peekable();
    while let Some(key) = keys.next() {
        push_message(&mut out, Kind::AddProvider, &key, provider);
        sent += 1;
        let last = keys.peek().is_none();
        if last || sent.is_multiple_of(KAD_ACK_EVERY) {
            push_message(&mut out, Kind::FindNode, &key, &[]);
            asked.push_back(sent);
        }
        if last || out.len() >= KAD_WRITE_BYTES {
            step("read", writer.write_all(&out)).await?;
            out.clear();
        }
        while asked.len() >= ACKS_UNDER_WAY || (last && !asked.is_empty()) {
            // What is asked must be on its way before its answer is waited for.
            step("read", writer.write_all(&out)).await?;
            step("read", writer.flush()).await?;
            out.clear();
            answers.next(Kind::FindNode, None).await?;
            confirmed = asked.pop_front().unwrap_or(confirmed);
            acked(confirmed);
        }
    }
    // Everything is acknowledged; the other side sees the end also without this.
    let _ = step("read", writer.close()).await;
    Ok(confirmed)
}

/// Reads while it writes: who only writes is not read from any more once the answers fill the
/// windows of both sides.
async fn ask_on<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    keys: &[Key],
) -> Result<Vec<Providers>, StreamError> {
    let (reader, mut writer) = stream.split();
    let window = Semaphore::new(KAD_ASK_WINDOW);
    let ask = async {
        // Half a window at once: a write is a frame of the multiplexer.
        for some in keys.chunks(KAD_ASK_WINDOW / 2) {
            let Ok(places) = window.acquire_many(some.len() as u32).await else { break };
            places.forget();
            let mut out = Vec::new();
            for key in some {
                push_message(&mut out, Kind::GetProviders, key, &[]);
            }
            step("read", writer.write_all(&out)).await?;
            step("read", writer.flush()).await?;
        }
        Ok::<_, StreamError>(())
    };
    let listen = async {
        let mut answers = Answers::new(reader);
        let mut all = Vec::new();
        for key in keys {
            all.push(Providers(answers.next(Kind::GetProviders, Some(key)).await?.providers));
            window.add_permits(1);
        }
        Ok::<_, StreamError>(all)
    };
    let ((), all) = futures::future::try_join(ask, listen).await?;
    let _ = step("read", writer.close()).await;
    Ok(all)
}

/// One step, within [`KAD_STEP_DEADLINE`].
async fn step<T>(what: &'static str, work: impl Future<Output = io::Result<T>>) -> Result<T, StreamError> {
    let done = tokio::time::timeout(KAD_STEP_DEADLINE, work).await;
    Ok(done.map_err(|_| StreamError::Silent(what))??)
}

/// The answers of the other side, one after the other.
struct Answers<S> {
    reader: BufReader<ReadHalf<S>>,
    /// The message being read; its memory is used again.
    bytes: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Answers<S> {
    fn new(reader: ReadHalf<S>) -> Self {
        Self { reader: BufReader::with_capacity(READ_BYTES, reader), bytes: Vec::new() }
    }

    /// The next answer, which has to be one to a question of this `kind`, about this `key` if it
    /// says what it is about.
    async fn next(&mut self, kind: Kind, key: Option<&Key>) -> Result<Message, StreamError> {
        let length = step("answer", self.length()).await?.ok_or(StreamError::TooLong)?;
        self.bytes.resize(length, 0);
        step("answer", self.reader.read_exact(&mut self.bytes)).await?;
        let message = read_message(&self.bytes)?;
        let other_key = key.is_some_and(|key| !message.key.is_empty() && message.key != key);
        if message.kind != kind || other_key { Err(StreamError::OtherAnswer) } else { Ok(message) }
    }

    /// The length before a message; `None` when it is over [`MAX_KAD_MESSAGE`].
    async fn length(&mut self) -> io::Result<Option<usize>> {
        let mut value = 0;
        for shift in [0, 7, 14] {
            let mut byte = [0_u8];
            self.reader.read_exact(&mut byte).await?;
            let [byte] = byte;
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((value <= MAX_KAD_MESSAGE).then_some(value));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
