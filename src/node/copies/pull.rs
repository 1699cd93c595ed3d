//! Fetching what was offered: fetch, verify, take over what it carries, inspect, commit, tell.
//!
//! Killed anywhere: unfinished bytes go at the next start, a committed replica that the index
//! does not know is found by [`settle`].

use std::collections::BTreeSet;
use std::sync::Arc;

use libp2p::PeerId;

use super::super::NodeEvent;
use super::super::serve::{Services, blocking};
use crate::replication::intake::Pull;
use crate::store::index::Applied;
use crate::store::replicas::{Received, settle};
use crate::types::RelPath;

impl Services {
    /// Makes an offered content a replica of this node. Whether it is one now.
    pub(super) async fn take_copy(self: &Arc<Self>, pull: Pull) -> bool {
        let content = pull.offered.content;
        match self.try_take_copy(pull).await {
            Ok(()) => true,
            Err(reason) => {
                tracing::debug!(%content, reason, "no copy");
                false
            }
        }
    }

    async fn try_take_copy(self: &Arc<Self>, Pull { offered, from }: Pull) -> Result<(), String> {
        let content = offered.content;
        if self.on_disk(move |index| index.content(&content)).await.map_err(|e| e.message)?.is_some() {
            return Ok(());
        }
        self.pace.wait(offered.bytes).await;
        let received = self.fetch(content, &from).await?;
        if let Some(holders) = self.witness_sources(&offered, &from).await? {
            self.fetch_witnesses(content, &holders).await?;
        }
        let (services, path) = (Arc::clone(self), offered.path);
        let applied =
            blocking(move || services.commit_copy(received, &path)).await.map_err(|e| e.message)??;
        let (applied, path) = applied;
        self.net.applied(applied).await;
        self.net.tell(NodeEvent::Replicated { content: content.to_string(), path: path.to_string() }).await;
        Ok(())
    }

    /// Whom to ask what the content carries; `None` when its only other holder, which offered it,
    /// said that there is nothing. Each of several may know something else.
    async fn witness_sources(
        &self,
        offered: &crate::protocol::Offered,
        from: &[PeerId],
    ) -> Result<Option<Vec<PeerId>>, String> {
        let content = offered.content;
        let known = self.on_disk(move |index| index.holders(&content)).await.map_err(|e| e.message)?;
        let live = self.net.live();
        let known = known.into_iter().map(|(peer, _)| peer).filter(|peer| live.contains_key(peer));
        let all: BTreeSet<PeerId> = from.iter().copied().chain(known).collect();
        Ok((offered.carries || all.len() > 1).then(|| all.into_iter().collect()))
    }

    fn commit_copy(&self, received: Received, once_at: &RelPath) -> Result<(Applied, RelPath), String> {
        let inspected = self.inspect(received.path())?;
        self.replicas.commit(received, once_at).map_err(|e| e.to_string())?;
        let change = settle::arrived(inspected, once_at.clone());
        let applied = self.index.apply(vec![change]).map_err(|e| e.to_string())?;
        Ok((applied, once_at.clone()))
    }
}
