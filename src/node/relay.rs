//! Bytes of contents that other nodes hold, passed on chunk by chunk.
//!
//! A relay keeps no picture, only outlines of what it relays now. Every chunk is checked
//! against the outline before it is passed on, so a wrong byte is known by its sender
//! and fetched elsewhere (promise P7).

use std::sync::Arc;

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
    holders: Vec<PeerId>,
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
        let mut failures = Failures::default();
        for &holder in &relay.holders {
            match self.ask_patiently(holder, PeerRequest::Chunk { content, index }).await {
                Ok((PeerResponse::Chunk, payload)) if relay.outline.matches(index, &payload) => {
                    return Ok(payload);
                }
                Ok((PeerResponse::Chunk, _)) => {
                    failures.wrong_bytes = Some(holder);
                    self.net.wrong_bytes(holder, content).await;
                    self.remember(&Arc::new(relay.without(holder)));
                }
                Ok(_) => failures.note(holder, &AskError::Nonsense),
                Err(error) => {
                    failures.note(holder, &error);
                    // It moves to the end: the next chunks ask the others first.
                    self.remember(&Arc::new(relay.demoting(holder)));
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
                    let Some(outline) = Outline::verify(content, bytes, &values) else {
                        failures.wrong_bytes = Some(holder);
                        self.net.wrong_bytes(holder, content).await;
                        continue;
                    };
                    let relay = Arc::new(Relay { outline, holders: holders[at..].to_vec() });
                    self.remember(&relay);
                    return Ok(relay);
                }
                Ok(_) => failures.note(holder, &AskError::Nonsense),
                Err(error) => failures.note(holder, &error),
            }
        }
        Err(failures.refusal(content))
    }

    fn remember(&self, relay: &Arc<Relay>) {
        let outline = &relay.outline;
        self.relays.insert(outline.content(), Arc::clone(relay), outline.values().len());
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
        Self { outline: self.outline.clone(), holders }
    }

    fn demoting(&self, holder: PeerId) -> Self {
        let mut relay = self.without(holder);
        relay.holders.push(holder);
        relay
    }
}
