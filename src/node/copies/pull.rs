//! Fetching what was offered: fetch, verify, take over what it carries, commit, tell.
//!
//! What the picture is (its hash, its signature), a member that decides alike describes: decoding each
//! copy again costs more than all the rest. Nothing is ever dropped for a description: who drops has
//! looked at both files itself.
//!
//! A small picture comes in one answer. Outline and chunks let many holders be asked at once and a
//! wrong byte be known by its sender; of what is checked as a whole anyway they cost two more round
//! trips. What does not come like that, for whatever reason, comes in chunks.
//!
//! Those that arrive together are committed together ([`Replicas::commit_all`]): files, folders, index, in this
//! order, and only then the news goes out. Killed anywhere: unfinished bytes go at the next start,
//! committed replicas that the index does not know are found by [`settle`].
//!
//! [`Replicas::commit_all`]: crate::store::replicas::Replicas::commit_all

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use libp2p::PeerId;

use super::super::NodeEvent;
use super::super::describe;
use super::super::network::AskError;
use super::super::relay::chunks_request;
use super::super::serve::{Services, blocking};
use crate::dedup::finding::Member;
use crate::limits::{CHUNK_BYTES, RUN_CHUNKS};
use crate::picture::same::Known;
use crate::protocol::{Offered, PeerRequest, PeerResponse, Removal};
use crate::replication::intake::Pull;
use crate::store::index::{Applied, Change};
use crate::store::replicas::{Received, settle};
use crate::transfer::outline::{Run, chunk_count};
use crate::types::{ContentId, ImageId, RelPath};

/// A content that is here and waits for its name.
pub(super) struct Arrived {
    received: Received,
    once_at: RelPath,
    change: Change,
    from: Vec<PeerId>,
    /// What had been ordered when its fetch began.
    removals: Vec<Removal>,
}

impl fmt::Debug for Arrived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Arrived").field(&self.received.content()).finish()
    }
}

/// What is looked up before a fetch.
struct Before {
    removals: Vec<Removal>,
    /// Whom to ask what it carries; `None`: nobody.
    witnesses: Option<Vec<PeerId>>,
}

impl Services {
    /// Makes an offered content a replica of this node. Whether it is one now.
    pub(super) async fn take_copy(self: &Arc<Self>, pull: Pull, describes: Option<PeerId>) -> bool {
        let content = pull.offered.content;
        match self.try_take_copy(pull, describes).await {
            Ok(()) => true,
            Err(reason) => {
                tracing::debug!(%content, reason, "no copy");
                false
            }
        }
    }

    async fn try_take_copy(
        self: &Arc<Self>,
        Pull { offered, from }: Pull,
        describes: Option<PeerId>,
    ) -> Result<(), String> {
        let beyond = self.holders_beyond(offered.content).await.into_iter().map(|(peer, _)| peer).collect();
        let (services, asked) = (Arc::clone(self), (offered.clone(), from.clone()));
        let before = blocking(move || services.look_before(&asked.0, &asked.1, beyond)).await;
        let Some(Before { removals, witnesses }) = before.map_err(|e| e.message)?? else { return Ok(()) };
        let arrived = self.arrive(&offered, from.clone(), removals, describes).await?;
        if let Some(holders) = witnesses {
            self.fetch_witnesses(offered.content, &holders).await?;
        }
        let services = Arc::clone(self);
        let together = move |group| {
            let services = Arc::clone(&services);
            async move { services.commit_together(group).await }
        };
        // Their catalogs may not be here: without this the next survey would see one copy, and offer it on.
        for peer in from {
            self.held_elsewhere.note(offered.content, peer, Instant::now());
        }
        let committed = self.taking.committing.join((), arrived, together).await;
        committed.unwrap_or_else(|| Err("this node could not write its disk".to_owned()))?;
        let (content, path) = (offered.content.to_string(), offered.path.to_string());
        self.net.tell(NodeEvent::Replicated { content, path }).await;
        Ok(())
    }

    /// Blocks on the disk. `None`: the content is here.
    fn look_before(
        &self,
        offered: &Offered,
        from: &[PeerId],
        beyond: Vec<PeerId>,
    ) -> Result<Option<Before>, String> {
        let content = offered.content;
        if self.index.content(&content).map_err(|e| e.to_string())?.is_some() {
            return Ok(None);
        }
        let removals = self.removals_of(content, from)?;
        let known = self.index.holders(&content).map_err(|e| e.to_string())?;
        let live = self.net.live();
        let known =
            known.into_iter().map(|(peer, _)| peer).chain(beyond).filter(|peer| live.contains_key(peer));
        let all: BTreeSet<PeerId> = from.iter().copied().chain(known).collect();
        // Its only other holder, which offered it, said whether there is anything. Each of several may
        // know something else.
        let witnesses = (offered.carries || all.len() > 1).then(|| all.into_iter().collect());
        Ok(Some(Before { removals, witnesses }))
    }

    /// What people ordered about these members' copies of a content. Blocks on the disk.
    fn removals_of(&self, content: ContentId, from: &[PeerId]) -> Result<Vec<Removal>, String> {
        let Some(ledger) = &self.drops.ledger else { return Ok(Vec::new()) };
        let all = from.iter().map(|peer| ledger.removal(content, *peer));
        let known = all.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
        Ok(known.into_iter().flatten().filter(|removal| !removal.spared).collect())
    }

    /// Fetches a content, and finds out what it is.
    async fn arrive(
        self: &Arc<Self>,
        offered: &Offered,
        from: Vec<PeerId>,
        removals: Vec<Removal>,
        describes: Option<PeerId>,
    ) -> Result<Arrived, String> {
        let content = offered.content;
        let _place = self.taking.fetching.acquire().await.map_err(|e| e.to_string())?;
        let described = async {
            match describes {
                Some(peer) => self.description(content, peer).await,
                None => None,
            }
        };
        let (received, described) = tokio::join!(self.fetch_offered(offered, &from), described);
        let received = received?;
        let once_at = offered.path.clone();
        let described = described.filter(|known| known.facts.bytes == received.bytes());
        let change = if let Some(Known { facts, encoding, signature, .. }) = described {
            let (outline, path) = (received.outline().clone(), once_at.clone());
            Change::Replica { facts, encoding, outline, signature, path }
        } else {
            let (services, file, path) = (Arc::clone(self), received.path().to_path_buf(), once_at.clone());
            let inspected = blocking(move || services.inspect(&file)).await.map_err(|e| e.message)??;
            settle::arrived(inspected, path)
        };
        Ok(Arrived { received, once_at, change, from, removals })
    }

    /// In one piece, when it is small, else in chunks.
    async fn fetch_offered(self: &Arc<Self>, offered: &Offered, from: &[PeerId]) -> Result<Received, String> {
        let content = offered.content;
        let chunks = chunk_count(offered.bytes);
        let live = self.net.live();
        let first = from.iter().find(|peer| live.contains_key(peer) && self.taking.sends_whole(peer));
        if let Some(peer) = first.filter(|_| chunks <= u64::from(RUN_CHUNKS)) {
            self.taking.pace.wait(offered.bytes).await;
            match self.ask_whole(content, offered.bytes, *peer).await {
                Ok(data) => {
                    let replicas = self.replicas.clone();
                    let written = blocking(move || replicas.receive_whole(content, &data)).await;
                    match written.map_err(|e| e.message)? {
                        Ok(received) => return Ok(received),
                        // Whose fault that is, the offer's or the holder's, the outline tells.
                        Err(error) => tracing::debug!(%error, %peer, "a picture in one piece"),
                    }
                }
                Err(AskError::Unreachable(_)) => self.taking.ask_in_pieces(*peer),
                Err(_) => {}
            }
        }
        self.fetch(content, from, Some(&self.taking.pace)).await
    }

    /// All chunks of a small content of `bytes` bytes, unverified.
    async fn ask_whole(&self, content: ContentId, bytes: u64, holder: PeerId) -> Result<Vec<u8>, AskError> {
        let count = u32::try_from(chunk_count(bytes)).map_err(|_| AskError::Nonsense)?;
        let answer = self.net.ask_patiently(holder, chunks_request(content, Run { first: 0, count })).await?;
        match answer.header {
            PeerResponse::Chunk | PeerResponse::Chunks if answer.payload.len() as u64 == bytes => {
                Ok(answer.payload)
            }
            _ => Err(AskError::Nonsense),
        }
    }

    /// What a member says of a content; `None` when it says nothing, or what can't be true.
    async fn description(self: &Arc<Self>, content: ContentId, peer: PeerId) -> Option<Known> {
        let services = Arc::clone(self);
        let ask = move |contents: Vec<ContentId>| {
            let services = Arc::clone(&services);
            async move { services.descriptions(contents, peer).await }
        };
        let known = self.taking.describing.join(peer, content, ask).await??;
        let whole = match known.facts.image {
            ImageId::Content(image) => image == content,
            ImageId::Hash(_) => known.signature.is_some(),
        };
        whole.then_some(known)
    }

    /// The same of several, in one question.
    async fn descriptions(&self, contents: Vec<ContentId>, peer: PeerId) -> Vec<Option<Known>> {
        let told = match self.net.ask(peer, PeerRequest::Describe { contents: contents.clone() }).await {
            Ok(answer) => describe::read(&contents, answer).unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        let of = |content: &ContentId| told.iter().find(|member| member.known.content == *content);
        contents.iter().map(|content| of(content).map(|Member { known, .. }| known.clone())).collect()
    }

    /// Gives a group their names and tells of them.
    async fn commit_together(self: Arc<Self>, group: Vec<Arrived>) -> Vec<Result<(), String>> {
        let (services, size) = (Arc::clone(&self), group.len());
        match blocking(move || services.commit_group(group)).await {
            Ok((results, applied)) => {
                if applied != Applied::default() {
                    self.net.applied(applied).await;
                }
                results
            }
            Err(refusal) => vec![Err(refusal.message); size],
        }
    }

    /// Blocks on the disk. When it returns, what it says is here is here after a power cut too.
    fn commit_group(&self, group: Vec<Arrived>) -> (Vec<Result<(), String>>, Applied) {
        let mut results = Vec::new();
        let (mut files, mut changes) = (Vec::new(), Vec::new());
        for Arrived { received, once_at, change, from, removals } in group {
            // The orders name copies that there were: one that comes now would bring the picture back.
            let may = match self.removals_of(received.content(), &from) {
                Ok(now) if now == removals => Ok(()),
                Ok(_) => Err("a person had it removed meanwhile".to_owned()),
                Err(error) => Err(error),
            };
            if may.is_ok() {
                files.push((received, once_at));
                changes.push(change);
            }
            results.push(may);
        }
        let committed = self.replicas.commit_all(files);
        let known: Vec<Change> = changes
            .into_iter()
            .zip(&committed)
            .filter_map(|(change, done)| done.is_ok().then_some(change))
            .collect();
        // Their claims are kept until the index knows.
        let applied = self.index.apply(known);
        let mut committed = committed.into_iter();
        for result in results.iter_mut().filter(|result| result.is_ok()) {
            *result = match (committed.next(), &applied) {
                (Some(Ok(_)), Ok(_)) => Ok(()),
                (Some(Err(error)), _) => Err(error.to_string()),
                (_, Err(error)) => Err(error.to_string()),
                (None, Ok(_)) => Err("it was not committed".to_owned()),
            };
        }
        (results, applied.unwrap_or_default())
    }
}

/// The largest content that comes in one piece has to fit into one answer.
const _: () = assert!(RUN_CHUNKS as usize * CHUNK_BYTES <= crate::limits::MAX_PAYLOAD_BYTES);
