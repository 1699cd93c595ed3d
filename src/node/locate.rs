//! Finding who holds a content: the DHT names providers, catalogs name holders, and only
//! a holder's own answer counts (promise P10).

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use libp2p::PeerId;

use crate::limits;
use crate::protocol::{CatalogEntry, HolderStatus, ImageRow, PeerRequest, PeerResponse};
use crate::types::{ContentId, ImageId, Standing};

use super::serve::Services;

/// How long the DHT may take when a catalog has named a live holder already.
const LOOKUP_WITH_CATALOG: Duration = Duration::from_millis(250);

/// A peer that may hold a content, and who said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) peer: PeerId,
    pub(super) via_dht: bool,
    pub(super) via_catalog: bool,
}

impl Services {
    /// Who may hold `content`, other than this node: first those that both the DHT and
    /// their own catalog name, then the DHT's, then the catalogs'. At most
    /// [`MAX_PROVIDERS_PER_KEY`](limits::MAX_PROVIDERS_PER_KEY) and the live members.
    pub(super) async fn candidates(&self, image: ImageId, content: ContentId) -> Vec<Candidate> {
        let live = self.net.live();
        let known = self.on_disk(move |index| index.holders(&content)).await.unwrap_or_default();
        let known: Vec<PeerId> =
            known.into_iter().map(|(peer, _)| peer).filter(|p| live.contains_key(p)).collect();
        let patience = if known.is_empty() { limits::LOOKUP_DEADLINE } else { LOOKUP_WITH_CATALOG };
        let lookup =
            || async { tokio::time::timeout(patience, self.net.providers(image)).await.unwrap_or_default() };
        let mut named = lookup().await;
        if named.is_empty() && known.is_empty() {
            // A lookup that lost some answers finds nobody; before a person is told that
            // nobody has the picture, once more.
            named = lookup().await;
        }
        let found = merge(self.net.me(), &named, &known);
        if !found.is_empty() {
            return found;
        }
        // In a swarm where not all know all the record may be slow to come; the holders are there.
        let beyond = self.holders_beyond(content).await;
        merge(self.net.me(), &[], &beyond.into_iter().map(|(peer, _)| peer).collect::<Vec<_>>())
    }

    /// Asks every candidate whether it holds `content`.
    pub(super) async fn locate(&self, image: ImageId, content: ContentId) -> Vec<HolderStatus> {
        let mut found = Vec::new();
        let own = self.on_disk(move |index| index.content(&content)).await.ok().flatten();
        if let Some(record) = own {
            found.push(HolderStatus {
                peer: self.net.me(),
                path: Some(record.path),
                confirmed: true,
                via_dht: false,
                via_catalog: true,
            });
        }
        let mut asked: FuturesUnordered<_> = self
            .candidates(image, content)
            .await
            .into_iter()
            .map(|candidate| async move { (candidate, self.held_by(candidate.peer, image).await) })
            .collect();
        while let Some((candidate, entries)) = asked.next().await {
            let held = entries.into_iter().find(|e| e.content == content).and_then(|e| e.held);
            found.push(HolderStatus {
                peer: candidate.peer,
                confirmed: held.is_some(),
                path: held.map(|held| held.path),
                via_dht: candidate.via_dht,
                via_catalog: candidate.via_catalog,
            });
        }
        let now = Instant::now();
        for holder in found.iter().filter(|holder| holder.confirmed) {
            self.confirmations.note(content, holder.peer, now);
        }
        found.sort_by_key(|holder| (!holder.confirmed, holder.peer != self.net.me(), holder.peer));
        found
    }

    /// Contents of `image` at the providers that the DHT names, for pictures that no
    /// catalog here knows yet.
    pub(super) async fn rows_through_dht(&self, image: ImageId) -> Vec<ImageRow> {
        self.rows_held_by(image, &self.net.providers(image).await).await
    }

    /// Contents of `image` at these nodes, as they say themselves.
    pub(super) async fn rows_held_by(&self, image: ImageId, peers: &[PeerId]) -> Vec<ImageRow> {
        let live = self.net.live();
        let is_copy = |peer| u32::from(live.get(&peer) == Some(&Standing::Trusted));
        let mut asked: FuturesUnordered<_> = merge(self.net.me(), peers, &[])
            .into_iter()
            .map(|candidate| async move { (candidate.peer, self.held_by(candidate.peer, image).await) })
            .collect();
        let mut rows: Vec<ImageRow> = Vec::new();
        while let Some((peer, entries)) = asked.next().await {
            for entry in entries {
                let Some(held) = entry.held else { continue };
                if let Some(row) = rows.iter_mut().find(|row| row.content == entry.content) {
                    if !row.holders.contains(&peer) {
                        row.holders.push(peer);
                        row.copies += is_copy(peer);
                        row.pinned |= held.pinned && is_copy(peer) > 0;
                    }
                } else if rows.len() < limits::MAX_MATCHES {
                    let (content, holders) = (entry.content, vec![peer]);
                    rows.push(ImageRow {
                        content,
                        facts: held.facts,
                        path: held.path,
                        holders,
                        copies: is_copy(peer),
                        pinned: held.pinned && is_copy(peer) > 0,
                    });
                }
            }
        }
        rows
    }

    /// What `peer` says it holds of `image`; nothing when it does not answer.
    async fn held_by(&self, peer: PeerId, image: ImageId) -> Vec<CatalogEntry> {
        match self.net.ask(peer, PeerRequest::Holding { images: vec![image] }).await {
            Ok(answer) => match answer.header {
                PeerResponse::Holding(entries) => {
                    let of_it = |e: &CatalogEntry| e.held.as_ref().is_some_and(|h| h.facts.image == image);
                    let held: Vec<_> = entries.into_iter().filter(of_it).collect();
                    if held.is_empty() {
                        self.net.denied(peer, image).await;
                    }
                    held
                }
                _ => Vec::new(),
            },
            Err(error) => {
                tracing::debug!(%peer, %error, "asked what it holds");
                Vec::new()
            }
        }
    }
}

fn merge(me: PeerId, named: &[PeerId], known: &[PeerId]) -> Vec<Candidate> {
    let mut all: Vec<Candidate> = Vec::new();
    for &peer in named.iter().take(limits::MAX_PROVIDERS_PER_KEY).chain(known) {
        if peer != me && !all.iter().any(|c| c.peer == peer) {
            all.push(Candidate { peer, via_dht: named.contains(&peer), via_catalog: known.contains(&peer) });
        }
    }
    all.sort_by_key(|c| (!(c.via_dht && c.via_catalog), !c.via_dht));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_named_twice_come_first_and_once() {
        let [me, both, dht, catalog] = [(); 4].map(|()| PeerId::random());
        let all = merge(me, &[dht, both, me], &[catalog, both]);
        assert_eq!(all.iter().map(|c| c.peer).collect::<Vec<_>>(), [both, dht, catalog]);
        assert!(all[0].via_dht && all[0].via_catalog);
        assert!(all[1].via_dht && !all[1].via_catalog);
        assert!(!all[2].via_dht && all[2].via_catalog);
    }
}
