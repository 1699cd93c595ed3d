//! Bytes of contents that other nodes hold, passed on chunk by chunk.
//!
//! A relay keeps no picture, only the outline and the last chunk of what it relays now.
//! Every chunk is checked against the outline before it is passed on, so a wrong byte is
//! known by its sender and fetched elsewhere (promise P7).
//!
//! A holder that is silent costs [`HEDGE_AFTER`](limits::HEDGE_AFTER) and not a whole
//! deadline: the next one is asked meanwhile, and who answers first wins.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use libp2p::PeerId;

use crate::limits;
use crate::protocol::{PeerRequest, PeerResponse, Refusal, RefusalCode};
use crate::transfer::outline::Outline;
use crate::types::{ContentId, ImageId};

use super::network::AskError;
use super::serve::Services;

/// A content being relayed: its outline and who may have it, best first.
#[derive(Debug, Clone)]
pub(super) struct Relay {
    outline: Outline,
    /// The last chunk. Chaining values fix a content's length only up to the last chunk:
    /// who sent the outline has to prove the rest with that chunk itself. Otherwise a liar
    /// who shortens the length makes every honest holder look like the liar.
    last: Arc<[u8]>,
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

    /// Changes whom to ask, of the relay as it is now: other chunks have changed it since
    /// the caller looked. One that was forgotten stays so.
    fn change_holders(&self, content: &ContentId, change: impl FnOnce(&mut Vec<PeerId>)) {
        let mut inner = self.lock();
        if let Some(relay) = inner.relays.get_mut(content) {
            change(&mut Arc::make_mut(relay).holders);
        }
        if inner.relays.get(content).is_some_and(|relay| relay.holders.is_empty()) {
            // Nobody is left to ask: whoever asks again gets a fresh look.
            inner.remove(content);
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
        if matches!(error, AskError::WrongBytes) {
            self.wrong_bytes = Some(peer);
            return;
        }
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
            return Ok(relay.last.to_vec());
        }
        let fetch = |holder| self.chunk_of(&relay.outline, holder, index);
        let won = first_good(&relay.holders, limits::HEDGE_AFTER, fetch, |holder, failure| async move {
            match failure {
                Bad::Wrong => {
                    self.relays.change_holders(&content, |holders| holders.retain(|h| *h != holder));
                    self.net.wrong_bytes(holder, content).await;
                }
                // It moves to the end: the next chunks ask the others first.
                Bad::Failed => self.relays.change_holders(&content, |holders| demote(holders, holder)),
            }
        })
        .await;
        won.map(|(_, payload)| payload).map_err(|failures| {
            // Whoever asks again gets a fresh look at who holds it.
            self.relays.forget(&content);
            failures.refusal(content)
        })
    }

    async fn relay(&self, image: ImageId, content: ContentId) -> Result<Arc<Relay>, Refusal> {
        if let Some(relay) = self.relays.get(&content) {
            return Ok(relay);
        }
        let mut holders: Vec<PeerId> =
            self.candidates(image, content).await.into_iter().map(|c| c.peer).collect();
        let mut bad = Mutex::new(Vec::new());
        let fetch = |holder| self.outline_of(content, holder);
        let won = first_good(&holders, limits::HEDGE_AFTER, fetch, |holder, failure| {
            bad.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(holder);
            async move {
                if matches!(failure, Bad::Wrong) {
                    self.net.wrong_bytes(holder, content).await;
                }
            }
        })
        .await;
        let (winner, (outline, last)) = won.map_err(|failures| failures.refusal(content))?;
        let bad = bad.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        holders.retain(|holder| !bad.contains(holder) && *holder != winner);
        holders.insert(0, winner);
        let relay = Arc::new(Relay { outline, last, holders });
        self.relays.insert(Arc::clone(&relay));
        Ok(relay)
    }

    /// The outline at one holder, verified, and proven by the last chunk from the same hand.
    async fn outline_of(&self, content: ContentId, holder: PeerId) -> Result<(Outline, Arc<[u8]>), AskError> {
        let answer = self.ask_patiently(holder, PeerRequest::Outline { content }).await?;
        let (PeerResponse::Outline { bytes }, values) = answer else { return Err(AskError::Nonsense) };
        let outline = Outline::verify(content, bytes, &values).ok_or(AskError::WrongBytes)?;
        let last = self.chunk_of(&outline, holder, outline.chunks() - 1).await?;
        Ok((outline, last.into()))
    }

    /// One verified chunk of one holder.
    async fn chunk_of(&self, outline: &Outline, holder: PeerId, index: u32) -> Result<Vec<u8>, AskError> {
        let request = PeerRequest::Chunk { content: outline.content(), index };
        match self.ask_patiently(holder, request).await? {
            (PeerResponse::Chunk, payload) if outline.matches(index, &payload) => Ok(payload),
            (PeerResponse::Chunk, _) => Err(AskError::WrongBytes),
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

fn demote(holders: &mut Vec<PeerId>, holder: PeerId) {
    if let Some(at) = holders.iter().position(|h| *h == holder) {
        holders.remove(at);
        holders.push(holder);
    }
}

/// How a holder failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bad {
    /// It sent wrong bytes.
    Wrong,
    /// Anything else.
    Failed,
}

/// Asks `holders` one after the other, the next one when the one before has failed or has
/// been silent for `hedge_after`, and returns the first good answer
/// with who gave it. Each failure is told to `note`, also that of a holder which was still
/// silent when another one won: it is not to be asked first again.
async fn first_good<T, Asking, Noting>(
    holders: &[PeerId],
    hedge_after: Duration,
    ask: impl Fn(PeerId) -> Asking,
    note: impl Fn(PeerId, Bad) -> Noting,
) -> Result<(PeerId, T), Failures>
where
    Asking: Future<Output = Result<T, AskError>>,
    Noting: Future<Output = ()>,
{
    let mut failures = Failures::default();
    let mut waiting = holders.iter().copied();
    let mut silent: Vec<PeerId> = Vec::new();
    let mut asked = FuturesUnordered::new();
    let mut next = waiting.next();
    loop {
        if let Some(holder) = next.take() {
            let answer = ask(holder);
            asked.push(async move { (holder, answer.await) });
            silent.push(holder);
        }
        if asked.is_empty() {
            return Err(failures);
        }
        tokio::select! {
            Some((holder, answer)) = asked.next() => {
                silent.retain(|h| *h != holder);
                match answer {
                    Ok(good) => {
                        // Asked before the winner, and not heard of yet.
                        let order = |peer| holders.iter().position(|h| *h == peer);
                        for late in silent.into_iter().filter(|late| order(*late) < order(holder)) {
                            note(late, Bad::Failed).await;
                        }
                        return Ok((holder, good));
                    }
                    Err(error) => {
                        failures.note(holder, &error);
                        let wrong = matches!(error, AskError::WrongBytes);
                        note(holder, if wrong { Bad::Wrong } else { Bad::Failed }).await;
                        if silent.is_empty() {
                            next = waiting.next();
                        }
                    }
                }
            }
            () = tokio::time::sleep(hedge_after), if waiting.len() > 0 => next = waiting.next(),
        }
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
        Arc::new(Relay { outline: builder.finish(), last: [0; 100].into(), holders: vec![PeerId::random()] })
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

    /// Two chunks of one content failed at once: the second put back the liar that the
    /// first had struck out, because each wrote what it had seen at its start.
    #[test]
    fn a_liar_that_was_struck_out_does_not_come_back() {
        let [liar, slow, good] = [(); 3].map(|()| PeerId::random());
        let relays = Relays::default();
        let mut first = Relay::clone(&relay(0, 10));
        first.holders = vec![liar, slow, good];
        let content = first.outline.content();
        relays.insert(Arc::new(first));
        let seen_by_the_second = relays.get(&content).unwrap();
        relays.change_holders(&content, |holders| holders.retain(|h| *h != liar));
        relays.change_holders(&content, |holders| demote(holders, slow));
        assert_eq!(seen_by_the_second.holders.len(), 3);
        assert_eq!(relays.get(&content).unwrap().holders, [good, slow]);
        relays.change_holders(&content, Vec::clear);
        assert!(relays.get(&content).is_none(), "with nobody to ask the holders are looked for again");
    }

    /// Four silent holders used up the whole time of a request, 8 s each, before the one
    /// that would have answered was asked.
    #[tokio::test]
    async fn silent_holders_do_not_use_up_the_deadline() {
        let holders: Vec<PeerId> = (0..8).map(|_| PeerId::random()).collect();
        let noted = Mutex::new(Vec::new());
        let ask = |holder| {
            let honest = holder == holders[7];
            async move {
                if !honest {
                    std::future::pending::<()>().await;
                }
                Ok(())
            }
        };
        let note = |holder, why| {
            noted.lock().unwrap().push((holder, why));
            std::future::ready(())
        };
        let search = first_good(&holders, Duration::from_millis(5), ask, note);
        let (winner, ()) = tokio::time::timeout(Duration::from_secs(10), search).await.unwrap().unwrap();
        assert_eq!(winner, holders[7]);
        let noted = noted.lock().unwrap();
        assert!(holders[..7].iter().all(|silent| noted.contains(&(*silent, Bad::Failed))), "{noted:?}");
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
