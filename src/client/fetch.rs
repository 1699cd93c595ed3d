//! Fetching one content, a window of chunks at a time.

use std::collections::BTreeMap;
use std::time::Instant;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

use crate::limits;
use crate::protocol::{ClientRequest, ClientResponse};
use crate::transfer::outline::Outline;
use crate::transfer::schedule::{Event, Failure, Fetch, Outcome, Schedule, Source};
use crate::types::{ContentId, ImageId};
use crate::wire::codec::Frame;

use super::{CallError, ChunkSink, Client, ClientError};

/// A client has one source: its node, which finds the holders.
const NODE: Source = Source(0);

impl Client {
    /// Fetches a content into `sink`; every chunk is verified before the sink sees it.
    /// Returns its length in bytes.
    ///
    /// # Errors
    /// Connection lost, refused (not found, unavailable, corrupt at the holders), wrong
    /// bytes, sink full. The sink may have seen part of the content by then.
    pub async fn fetch(
        &self,
        image: ImageId,
        content: ContentId,
        sink: &mut dyn ChunkSink,
    ) -> Result<u64, ClientError> {
        let outline = self.outline(image, content).await?;
        let mut writer =
            Writer { ahead: sink.in_order().then(BTreeMap::new), next: 0, outline: &outline, sink };
        writer.begin()?;
        let mut schedule = Schedule::new(outline.chunks(), limits::CHUNK_WINDOW, vec![NODE]);
        if writer.ahead.is_some() {
            schedule = schedule.in_order();
        }
        let mut under_way = FuturesUnordered::new();
        loop {
            let now = Instant::now();
            while let Some(fetch) = schedule.next_action(now) {
                let request = ClientRequest::Chunk { content, image, index: fetch.chunk };
                under_way.push(async move { (fetch, self.try_call(request, "fetching").await) });
            }
            match schedule.outcome() {
                Some(Outcome::Complete) => return Ok(outline.bytes()),
                Some(Outcome::Failed(kind)) => return Err(self.failed(kind, content)),
                None => {}
            }
            let pause = async {
                match schedule.next_wakeup() {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some((fetch, answer)) = under_way.next() => {
                    let event = writer.take(fetch, answer)?;
                    schedule.on_event(Instant::now(), event);
                }
                () = pause => {}
            }
        }
    }

    async fn outline(&self, image: ImageId, content: ContentId) -> Result<Outline, ClientError> {
        let frame = self.call(ClientRequest::Outline { content, image }, "asking for the outline").await?;
        let ClientResponse::Outline { bytes } = frame.header else {
            return Err(ClientError::Protocol("outline"));
        };
        Outline::verify(content, bytes, &frame.payload).ok_or(ClientError::Corrupt { content })
    }

    fn failed(&self, kind: Failure, content: ContentId) -> ClientError {
        let lost = |reason: &str| match self.lost("fetching", reason) {
            CallError::Final(error) => error,
            CallError::Busy => ClientError::Protocol("busy"),
        };
        match kind {
            Failure::Corrupt => ClientError::Corrupt { content },
            Failure::Busy => lost("it stays too busy: try again later"),
            Failure::Gone | Failure::Timeout => lost("it stopped answering"),
        }
    }
}

/// Brings chunks to the sink, in order when the sink wants it.
struct Writer<'a> {
    /// Chunks that came early, at most a window of them; `None`: order does not matter.
    ahead: Option<BTreeMap<u32, Vec<u8>>>,
    next: u32,
    outline: &'a Outline,
    sink: &'a mut dyn ChunkSink,
}

impl Writer<'_> {
    fn begin(&mut self) -> Result<(), ClientError> {
        self.sink.begin(self.outline.bytes()).map_err(|source| self.full(source))
    }

    /// Verifies and writes one answer. An error ends the fetch; an event lets it go on.
    fn take(
        &mut self,
        fetch: Fetch,
        answer: Result<Frame<ClientResponse>, CallError>,
    ) -> Result<Event, ClientError> {
        let failed = |kind| Event::Failed { chunk: fetch.chunk, source: fetch.source, kind };
        match answer {
            Ok(Frame { header: ClientResponse::Chunk, payload }) => {
                if !self.outline.matches(fetch.chunk, &payload) {
                    return Ok(failed(Failure::Corrupt));
                }
                self.write(fetch.chunk, payload)?;
                Ok(Event::Arrived { chunk: fetch.chunk })
            }
            Ok(_) => Err(ClientError::Protocol("chunk")),
            Err(CallError::Busy) => Ok(failed(Failure::Busy)),
            Err(CallError::Final(error)) => Err(error),
        }
    }

    fn write(&mut self, chunk: u32, data: Vec<u8>) -> Result<(), ClientError> {
        let Some(ahead) = &mut self.ahead else { return self.put(chunk, &data) };
        ahead.insert(chunk, data);
        while let Some(data) = self.ahead.as_mut().and_then(|ahead| ahead.remove(&self.next)) {
            self.put(self.next, &data)?;
            self.next += 1;
        }
        Ok(())
    }

    fn put(&mut self, chunk: u32, data: &[u8]) -> Result<(), ClientError> {
        let offset = u64::from(chunk) * limits::CHUNK_BYTES as u64;
        self.sink.chunk(offset, data).map_err(|source| self.full(source))
    }

    fn full(&self, source: std::io::Error) -> ClientError {
        ClientError::Output { what: self.sink.name(), source }
    }
}
