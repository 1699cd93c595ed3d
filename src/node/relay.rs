//! Bytes of contents that other nodes hold, passed on chunk by chunk.
//!
//! A relay keeps no picture, only the outline and the last chunk of what it relays now.
//! Every chunk is checked against the outline before it is passed on, so a wrong byte is
//! known by its sender and fetched elsewhere (promise P7).
//!
//! A holder that is silent costs [`HEDGE_AFTER`](limits::HEDGE_AFTER) and not a whole
//! deadline: the next one is asked meanwhile, and who answers first wins.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use libp2p::PeerId;

use crate::limits;
use crate::protocol::{PeerRequest, PeerResponse, Refusal, RefusalCode};
use crate::transfer::outline::{Outline, Run};
use crate::types::{ContentId, ImageId};
use crate::wire::codec::Frame;

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
    /// The holder that sent the outline is [`NEAR`](limits::NEAR).
    near: bool,
}

impl Relay {
    fn bytes(&self) -> usize {
        self.outline.values().len() + self.last.len()
    }

    fn last_index(&self) -> u32 {
        self.outline.chunks() - 1
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

    /// Verified chunks of a content that another node holds.
    pub(super) async fn relayed_chunks(
        &self,
        image: ImageId,
        content: ContentId,
        run: Run,
    ) -> Result<Vec<u8>, Refusal> {
        let relay = self.relay(image, content).await?;
        let Some((_, length)) = relay.outline.span(run) else {
            return Err(no_such_chunk(content, run.first.max(relay.outline.chunks())));
        };
        if relay.near || run.count == 1 {
            return self.relayed_run(&relay, run).await;
        }
        let one_by_one =
            futures::stream::iter(run.chunks()).map(|index| self.relayed_run(&relay, index.into()));
        let mut one_by_one = one_by_one.buffered(limits::RUN_CHUNKS as usize);
        let mut data = Vec::with_capacity(length);
        while let Some(chunk) = one_by_one.next().await {
            data.extend(chunk?);
        }
        Ok(data)
    }

    /// All of it from one holder.
    async fn relayed_run(&self, relay: &Relay, run: Run) -> Result<Vec<u8>, Refusal> {
        let content = relay.outline.content();
        if run == relay.last_index().into() {
            return Ok(relay.last.to_vec());
        }
        let fetch = |holder| self.chunks_of(&relay.outline, holder, run);
        let won = first_good(&relay.holders, limits::HEDGE_AFTER, fetch, |holder, failure| async move {
            match failure {
                Bad::Wrong => {
                    self.change_holders(&content, |holders| holders.retain(|h| *h != holder));
                    self.net.wrong_bytes(holder, content).await;
                }
                // It moves to the end: the next chunks ask the others first.
                Bad::Failed => self.change_holders(&content, |holders| demote(holders, holder)),
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
        let asked = Instant::now();
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
        let relay = Arc::new(Relay { outline, last, holders, near: asked.elapsed() < limits::NEAR });
        self.relays.insert(content, Arc::clone(&relay), relay.bytes());
        Ok(relay)
    }

    /// Changes whom to ask, of the relay as it is now: other chunks have changed it since
    /// the caller looked. With nobody left to ask, whoever asks again gets a fresh look.
    fn change_holders(&self, content: &ContentId, change: impl FnOnce(&mut Vec<PeerId>)) {
        self.relays.change(content, |relay| {
            change(&mut relay.holders);
            !relay.holders.is_empty()
        });
    }

    /// The outline at one holder, verified, and proven by the last chunk from the same hand.
    pub(super) async fn outline_of(
        &self,
        content: ContentId,
        holder: PeerId,
    ) -> Result<(Outline, Arc<[u8]>), AskError> {
        let answer = self.net.ask_patiently(holder, PeerRequest::Outline { content }).await?;
        let PeerResponse::Outline { bytes } = answer.header else { return Err(AskError::Nonsense) };
        let outline = Outline::verify(content, bytes, &answer.payload).ok_or(AskError::WrongBytes)?;
        let last = self.chunks_of(&outline, holder, (outline.chunks() - 1).into()).await?;
        Ok((outline, last.into()))
    }

    /// Verified chunks of one holder.
    pub(super) async fn chunks_of(
        &self,
        outline: &Outline,
        holder: PeerId,
        run: Run,
    ) -> Result<Vec<u8>, AskError> {
        let request = chunks_request(outline.content(), run);
        let Frame { header, payload } = self.net.ask_patiently(holder, request).await?;
        match (header, run.count) {
            (PeerResponse::Chunk, 1) | (PeerResponse::Chunks, 2..) if outline.matches_run(run, &payload) => {
                Ok(payload)
            }
            (PeerResponse::Chunk, 1) | (PeerResponse::Chunks, 2..) => Err(AskError::WrongBytes),
            _ => Err(AskError::Nonsense),
        }
    }
}

/// The question for a run of chunks of a content.
pub(super) fn chunks_request(content: ContentId, Run { first, count }: Run) -> PeerRequest {
    match count {
        1 => PeerRequest::Chunk { content, index: first },
        _ => PeerRequest::Chunks { content, first, count },
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
}
