//! Fetching what was offered: fetch, verify, take over what it carries, commit, tell.
//!
//! What the picture is (its hash, its signature), a member that decides alike describes: decoding each
//! copy again costs more than all the rest. Nothing is ever dropped for a description: who drops has
//! looked at both files itself.
//!
//! Killed anywhere: unfinished bytes go at the next start, a committed replica that the index
//! does not know is found by [`settle`].

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use libp2p::PeerId;

use super::super::NodeEvent;
use super::super::describe;
use super::super::serve::{Services, blocking};
use crate::dedup::finding::Member;
use crate::picture::same::Known;
use crate::protocol::{Offered, PeerRequest, Removal};
use crate::replication::intake::Pull;
use crate::store::index::{Applied, Change};
use crate::store::replicas::{Received, settle};
use crate::types::{ContentId, ImageId, RelPath};

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
        let content = offered.content;
        if self.on_disk(move |index| index.content(&content)).await.map_err(|e| e.message)?.is_some() {
            return Ok(());
        }
        let removals = self.removals_of(content, &from).await?;
        self.pace.wait(offered.bytes).await;
        let received = self.fetch(content, &from).await?;
        if let Some(holders) = self.witness_sources(&offered, &from).await? {
            self.fetch_witnesses(content, &holders).await?;
        }
        let described = match describes {
            Some(peer) => self.description(&offered, peer).await,
            None => None,
        };
        // The orders name copies that there were: one that comes now would bring the picture back.
        if self.removals_of(content, &from).await? != removals {
            return Err("a person had it removed meanwhile".to_owned());
        }
        let (services, path) = (Arc::clone(self), offered.path);
        let committed = blocking(move || services.commit_copy(received, &path, described));
        let (applied, path) = committed.await.map_err(|e| e.message)??;
        // Their catalogs may not be here: without this the next survey would see one copy, and offer it on.
        for peer in from {
            self.held_elsewhere.note(content, peer, Instant::now());
        }
        self.net.applied(applied).await;
        self.net.tell(NodeEvent::Replicated { content: content.to_string(), path: path.to_string() }).await;
        Ok(())
    }

    /// Whom to ask what the content carries; `None` when its only other holder, which offered it,
    /// said that there is nothing. Each of several may know something else.
    async fn witness_sources(
        &self,
        offered: &Offered,
        from: &[PeerId],
    ) -> Result<Option<Vec<PeerId>>, String> {
        let content = offered.content;
        let known = self.on_disk(move |index| index.holders(&content)).await.map_err(|e| e.message)?;
        let live = self.net.live();
        let beyond = self.holders_beyond(content).await.into_iter().map(|(peer, _)| peer);
        let known =
            known.into_iter().map(|(peer, _)| peer).chain(beyond).filter(|peer| live.contains_key(peer));
        let all: BTreeSet<PeerId> = from.iter().copied().chain(known).collect();
        Ok((offered.carries || all.len() > 1).then(|| all.into_iter().collect()))
    }

    /// What people ordered about these members' copies of a content.
    async fn removals_of(&self, content: ContentId, from: &[PeerId]) -> Result<Vec<Removal>, String> {
        let Some(ledger) = self.drops.ledger.clone() else { return Ok(Vec::new()) };
        let from = from.to_vec();
        let read = blocking(move || {
            let all = from.iter().map(|peer| ledger.removal(content, *peer));
            all.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())
        });
        let known = read.await.map_err(|refusal| refusal.message)??;
        Ok(known.into_iter().flatten().filter(|removal| !removal.spared).collect())
    }

    /// What a member says of a content; `None` when it says nothing, or what can't be true.
    async fn description(&self, offered: &Offered, peer: PeerId) -> Option<Known> {
        let asked = [offered.content];
        let answer = self.net.ask(peer, PeerRequest::Describe { contents: asked.to_vec() }).await.ok()?;
        let Member { known, .. } = describe::read(&asked, answer).ok()?.into_iter().next()?;
        let whole = match known.facts.image {
            ImageId::Content(content) => content == offered.content,
            ImageId::Hash(_) => known.signature.is_some(),
        };
        whole.then_some(known)
    }

    fn commit_copy(
        &self,
        received: Received,
        once_at: &RelPath,
        described: Option<Known>,
    ) -> Result<(Applied, RelPath), String> {
        let change = match described.filter(|known| known.facts.bytes == received.bytes()) {
            Some(Known { facts, encoding, signature, .. }) => {
                let outline = received.outline().clone();
                Change::Replica { facts, encoding, outline, signature, path: once_at.clone() }
            }
            None => settle::arrived(self.inspect(received.path())?, once_at.clone()),
        };
        self.replicas.commit(received, once_at).map_err(|e| e.to_string())?;
        let applied = self.index.apply(vec![change]).map_err(|e| e.to_string())?;
        Ok((applied, once_at.clone()))
    }
}
