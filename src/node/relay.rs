//! Bytes of contents that other nodes hold, passed on chunk by chunk.
//!
//! A relay keeps no picture, only the outline and the last chunk of what it relays now. Every chunk is checked
//! against the outline before it is passed on, so a wrong byte is known by its sender
//! and fetched elsewhere (promise P7).

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use libp2p::PeerId;

use crate::limits;
use crate::protocol::{PeerRequest, PeerResponse, Refusal, RefusalCode};
use crate::transfer::outline::Outline;
use crate::types::{ContentId, ImageId};

use super::network::AskError;
use super::serve::Services;

/// A content being relayed: its outline and who may have it, best first.
#[derive(Debug)]
pub(super) struct Relay {
    outline: Outline,
    /// The last chunk. Chaining values fix a content's length only up to the last chunk:
    /// who sent the outline has to prove the rest with that chunk itself. Otherwise a liar
    /// who shortens the length makes every honest holder look like the liar.
    last: Vec<u8>,
    holders: Vec<PeerId>,
}

impl Relay {
    fn bytes(&self) -> usize {
        self.outline.values().len() + self.last.len()
    }

    fn last_index(&self) -> u32 {
        self.outline.chunks() - 1
    }
}

/// The contents being relayed, least recently used first out.
#[derive(Debug, Default)]
pub(super) struct Relays {
    inner: Mutex<RelaysInner>,
}

#[derive(Debug, Default)]
struct RelaysInner {
    relays: HashMap<ContentId, Arc<Relay>>,
    order: VecDeque<ContentId>,
    bytes: usize,
}

impl Relays {
    fn get(&self, content: &ContentId) -> Option<Arc<Relay>> {
        let mut inner = self.lock();
        let relay = inner.relays.get(content).cloned()?;
        inner.touch(*content);
        Some(relay)
    }

    fn insert(&self, relay: Arc<Relay>) {
        let mut inner = self.lock();
        let content = relay.outline.content();
        inner.remove(&content);
        inner.bytes += relay.bytes();
        inner.relays.insert(content, relay);
        inner.order.push_back(content);
        while inner.relays.len() > limits::MAX_OPEN_RELAYS
            || (inner.bytes > limits::MAX_OPEN_RELAY_BYTES && inner.relays.len() > 1)
        {
            let Some(oldest) = inner.order.front().copied() else { break };
            inner.remove(&oldest);
        }
    }

    fn forget(&self, content: &ContentId) {
        self.lock().remove(content);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, RelaysInner> {
        // The data is a cache: whatever a panicking thread left is consistent enough.
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl RelaysInner {
    fn touch(&mut self, content: ContentId) {
        if self.order.back() != Some(&content) {
            self.order.retain(|c| *c != content);
            self.order.push_back(content);
        }
    }

    fn remove(&mut self, content: &ContentId) {
        if let Some(relay) = self.relays.remove(content) {
            self.bytes -= relay.bytes();
            self.order.retain(|c| c != content);
        }
    }
}

/// What went wrong with the holders so far, the most telling first.
#[derive(Debug, Default)]
struct Failures {
    wrong_bytes: Option<PeerId>,
    last: Option<String>,
    asked: usize,
}

impl Failures {
    fn note(&mut self, peer: PeerId, error: &AskError) {
        self.asked += 1;
        self.last = Some(format!("{peer}: {error}"));
    }

    fn refusal(self, content: ContentId) -> Refusal {
        if let Some(peer) = self.wrong_bytes {
            return Refusal::new(
                RefusalCode::Corrupt,
                format!("holder {peer} sent wrong bytes of c:{content}, and no other holder delivered"),
            );
        }
        match self.last {
            None => Refusal::new(RefusalCode::NotFound, format!("nobody in the swarm holds c:{content} now")),
            Some(last) => Refusal::new(
                RefusalCode::Unavailable,
                format!("none of {} holder(s) of c:{content} delivered; the last was {last}", self.asked),
            ),
        }
    }
}

impl Services {
    /// The outline of a content that another node holds.
    pub(super) async fn relayed_outline(
        &self,
        image: ImageId,
        content: ContentId,
    ) -> Result<Outline, Refusal> {
        self.relay(image, content).await.map(|relay| relay.outline.clone())
    }

    /// One verified chunk of a content that another node holds.
    pub(super) async fn relayed_chunk(
        &self,
        image: ImageId,
        content: ContentId,
        index: u32,
    ) -> Result<Vec<u8>, Refusal> {
        let relay = self.relay(image, content).await?;
        if relay.outline.range(index).is_none() {
            return Err(no_such_chunk(content, index));
        }
        if index == relay.last_index() {
            return Ok(relay.last.clone());
        }
        let mut failures = Failures::default();
        for &holder in &relay.holders {
            match self.ask_patiently(holder, PeerRequest::Chunk { content, index }).await {
                Ok((PeerResponse::Chunk, payload)) if relay.outline.matches(index, &payload) => {
                    return Ok(payload);
                }
                Ok((PeerResponse::Chunk, _)) => {
                    failures.wrong_bytes = Some(holder);
                    self.net.wrong_bytes(holder, content).await;
                    self.relays.insert(Arc::new(relay.without(holder)));
                }
                Ok(_) => failures.note(holder, &AskError::Nonsense),
                Err(error) => {
                    failures.note(holder, &error);
                    // It moves to the end: the next chunks ask the others first.
                    self.relays.insert(Arc::new(relay.demoting(holder)));
                }
            }
        }
        // Whoever asks again gets a fresh look at who holds it.
        self.relays.forget(&content);
        Err(failures.refusal(content))
    }

    async fn relay(&self, image: ImageId, content: ContentId) -> Result<Arc<Relay>, Refusal> {
        if let Some(relay) = self.relays.get(&content) {
            return Ok(relay);
        }
        let holders: Vec<PeerId> =
            self.candidates(image, content).await.into_iter().map(|c| c.peer).collect();
        let mut failures = Failures::default();
        for (at, &holder) in holders.iter().enumerate() {
            match self.ask_patiently(holder, PeerRequest::Outline { content }).await {
                Ok((PeerResponse::Outline { bytes }, values)) => {
                    match self.proven(holder, content, bytes, &values).await {
                        Ok(Some((outline, last))) => {
                            let relay = Arc::new(Relay { outline, last, holders: holders[at..].to_vec() });
                            self.relays.insert(Arc::clone(&relay));
                            return Ok(relay);
                        }
                        Ok(None) => {
                            failures.wrong_bytes = Some(holder);
                            self.net.wrong_bytes(holder, content).await;
                        }
                        Err(error) => failures.note(holder, &error),
                    }
                }
                Ok(_) => failures.note(holder, &AskError::Nonsense),
                Err(error) => failures.note(holder, &error),
            }
        }
        Err(failures.refusal(content))
    }

    /// Checks an outline that `holder` sent, with the last chunk from the same hand; `None`
    /// when either is not the content's.
    async fn proven(
        &self,
        holder: PeerId,
        content: ContentId,
        bytes: u64,
        values: &[u8],
    ) -> Result<Option<(Outline, Vec<u8>)>, AskError> {
        let Some(outline) = Outline::verify(content, bytes, values) else { return Ok(None) };
        let index = outline.chunks() - 1;
        match self.ask_patiently(holder, PeerRequest::Chunk { content, index }).await? {
            (PeerResponse::Chunk, last) if outline.matches(index, &last) => Ok(Some((outline, last))),
            (PeerResponse::Chunk, _) => Ok(None),
            _ => Err(AskError::Nonsense),
        }
    }

    /// Asks, and asks again with growing pauses while the peer is busy.
    async fn ask_patiently(
        &self,
        peer: PeerId,
        request: PeerRequest,
    ) -> Result<(PeerResponse, Vec<u8>), AskError> {
        let mut attempt = 0;
        loop {
            match self.net.ask(peer, request.clone()).await {
                Err(AskError::Busy) if attempt < limits::MAX_BUSY_RETRIES => {
                    attempt += 1;
                    tokio::time::sleep(crate::transfer::busy_pause(attempt)).await;
                }
                answer => return answer.map(|frame| (frame.header, frame.payload)),
            }
        }
    }
}

pub(super) fn no_such_chunk(content: ContentId, index: u32) -> Refusal {
    Refusal::new(RefusalCode::Invalid, format!("c:{content} has no chunk {index}"))
}

impl Relay {
    fn without(&self, holder: PeerId) -> Self {
        let holders = self.holders.iter().copied().filter(|h| *h != holder).collect();
        Self { outline: self.outline.clone(), last: self.last.clone(), holders }
    }

    fn demoting(&self, holder: PeerId) -> Self {
        let mut relay = self.without(holder);
        relay.holders.push(holder);
        relay
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::outline::OutlineBuilder;

    fn relay(seed: u32, bytes: usize) -> Arc<Relay> {
        let mut builder = OutlineBuilder::new();
        builder.update(&seed.to_le_bytes());
        builder.update(&vec![0; bytes]);
        let last = vec![0; 100];
        Arc::new(Relay { outline: builder.finish(), last, holders: vec![PeerId::random()] })
    }

    #[test]
    fn remembered_relays_are_bounded_and_the_least_used_goes() {
        let relays = Relays::default();
        let first = relay(0, 10);
        let second = relay(1, 10);
        relays.insert(Arc::clone(&first));
        relays.insert(Arc::clone(&second));
        for seed in 2..limits::MAX_OPEN_RELAYS as u32 {
            relays.insert(relay(seed, 10));
        }
        assert!(relays.get(&first.outline.content()).is_some(), "used: now the youngest");
        relays.insert(relay(u32::MAX, 10));
        assert!(relays.get(&first.outline.content()).is_some());
        assert!(relays.get(&second.outline.content()).is_none(), "the least recently used went");
    }

    #[test]
    fn bytes_of_outlines_are_counted_back() {
        let relays = Relays::default();
        let large = relay(7, 3 * limits::CHUNK_BYTES);
        relays.insert(Arc::clone(&large));
        relays.insert(Arc::clone(&large));
        assert_eq!(relays.lock().bytes, large.bytes());
        relays.forget(&large.outline.content());
        assert_eq!(relays.lock().bytes, 0);
    }
}
