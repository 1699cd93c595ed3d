//! Fetching one content, a window of chunks at a time. A node that is near is asked for
//! several in a row at once.

use std::collections::BTreeMap;
use std::time::Instant;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

use crate::limits;
use crate::protocol::{ClientRequest, ClientResponse};
use crate::transfer::outline::{Outline, Run};
use crate::transfer::schedule::{Event, Failure, Outcome, Schedule, Source};
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
        let asked = Instant::now();
        let outline = self.outline(image, content).await?;
        let longest = if asked.elapsed() < limits::NEAR { limits::RUN_CHUNKS } else { 1 };
        let mut writer =
            Writer { ahead: sink.in_order().then(BTreeMap::new), next: 0, outline: &outline, sink };
        writer.begin()?;
        let mut schedule = Schedule::new(outline.chunks(), limits::CHUNK_WINDOW, vec![NODE]);
        if writer.ahead.is_some() {
            schedule = schedule.in_order();
        }
        let mut runs = Runs { longest, next: None };
        let mut under_way = FuturesUnordered::new();
        loop {
            let now = Instant::now();
            while let Some(run) = runs.next(&mut schedule, now) {
                let Run { first, count } = run;
                let request = match count {
                    1 => ClientRequest::Chunk { content, image, index: first },
                    _ => ClientRequest::Chunks { content, image, first, count },
                };
                under_way.push(async move { (run, self.try_call(request, "fetching").await) });
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
                Some((run, answer)) = under_way.next() => {
                    let failure = writer.take(run, answer)?;
                    let now = Instant::now();
                    for chunk in run.chunks() {
                        schedule.on_event(now, match failure {
                            None => Event::Arrived { chunk },
                            Some(kind) => Event::Failed { chunk, source: NODE, kind },
                        });
                    }
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

/// Puts what the schedule wants next together to runs.
struct Runs {
    longest: u32,
    /// Wanted, and not the one after the last run's end.
    next: Option<u32>,
}

impl Runs {
    fn next(&mut self, schedule: &mut Schedule, now: Instant) -> Option<Run> {
        let mut wanted = || schedule.next_action(now).map(|fetch| fetch.chunk);
        let mut run = Run::from(self.next.take().or_else(&mut wanted)?);
        while run.count < self.longest {
            match wanted() {
                Some(chunk) if run.goes_on_with(chunk) => run.count += 1,
                other => {
                    self.next = other;
                    break;
                }
            }
        }
        Some(run)
    }
}

/// Brings chunks to the sink, in order when the sink wants it.
struct Writer<'a> {
    /// Runs that came early, by their first chunk, at most a window of chunks; `None`: order
    /// does not matter.
    ahead: Option<BTreeMap<u32, (u32, Vec<u8>)>>,
    next: u32,
    outline: &'a Outline,
    sink: &'a mut dyn ChunkSink,
}

impl Writer<'_> {
    fn begin(&mut self) -> Result<(), ClientError> {
        self.sink.begin(self.outline.bytes()).map_err(|source| self.full(source))
    }

    /// Verifies and writes one answer. An error ends the fetch; a failure lets it go on.
    fn take(
        &mut self,
        run: Run,
        answer: Result<Frame<ClientResponse>, CallError>,
    ) -> Result<Option<Failure>, ClientError> {
        match answer {
            Ok(Frame { header, payload }) => {
                if header != (if run.count == 1 { ClientResponse::Chunk } else { ClientResponse::Chunks }) {
                    return Err(ClientError::Protocol("chunk"));
                }
                if !self.outline.matches_run(run, &payload) {
                    return Ok(Some(Failure::Corrupt));
                }
                self.write(run, payload)?;
                Ok(None)
            }
            Err(CallError::Busy) => Ok(Some(Failure::Busy)),
            Err(CallError::Final(error)) => Err(error),
        }
    }

    fn write(&mut self, run: Run, data: Vec<u8>) -> Result<(), ClientError> {
        let Some(ahead) = &mut self.ahead else { return self.put(run.first, &data) };
        ahead.insert(run.first, (run.count, data));
        while let Some((count, data)) = self.ahead.as_mut().and_then(|ahead| ahead.remove(&self.next)) {
            self.put(self.next, &data)?;
            self.next += count;
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
