//! Pictures beyond the catalogs: near to own ones, told of by bands, and in no catalog that this
//! node knows. A look at the swarm takes them in like rows of the index; their holders said
//! themselves what they hold, and nothing is dropped for what anybody said.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use libp2p::PeerId;

use crate::dht_index::band_plan::Shown;
use crate::limits::{BEYOND_FRESH, MAX_BAND_HOLDERS, MAX_BEYOND, MAX_HOLDING_KEYS};
use crate::picture::same::DECISION;
use crate::protocol::{Held, ImageRow, PeerRequest, PeerResponse};
use crate::store::index::Index;
use crate::types::{ContentId, ImageId, RelPath, Standing};

use super::super::serve::Services;

/// What is remembered. Empty at first; full, it takes nothing new until something is old.
#[derive(Debug, Default)]
pub(in crate::node) struct Beyond(Mutex<BTreeMap<(ImageId, ContentId), Known>>);

#[derive(Debug, Clone)]
struct Known {
    row: ImageRow,
    at: Instant,
}

impl Beyond {
    fn known(&self) -> MutexGuard<'_, BTreeMap<(ImageId, ContentId), Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that `holder` says it holds this. Whether that is new.
    fn note(&self, now: Instant, holder: PeerId, content: ContentId, held: Held) -> bool {
        let mut known = self.known();
        let key = (held.facts.image, content);
        if let Some(one) = known.get_mut(&key) {
            one.at = now;
            if one.row.holders.contains(&holder) || one.row.holders.len() >= MAX_BAND_HOLDERS {
                return false;
            }
            one.row.holders.push(holder);
            one.row.pinned |= held.pinned;
            return true;
        }
        if known.len() >= MAX_BEYOND {
            known.retain(|_, one| now.saturating_duration_since(one.at) < BEYOND_FRESH);
        }
        if known.len() >= MAX_BEYOND {
            tracing::debug!("too many pictures beyond the catalogs: one was left out");
            return false;
        }
        let Held { facts, path, pinned, .. } = held;
        let row = ImageRow { content, facts, path, holders: vec![holder], copies: 1, pinned };
        known.insert(key, Known { row, at: now });
        true
    }

    /// All of them in the order of (image, content), with the holders that are trusted and there;
    /// those that no catalog knows meanwhile. Blocks on the disk.
    pub(in crate::node) fn rows(
        &self,
        now: Instant,
        index: &Index,
        standing: &dyn Fn(&PeerId) -> Standing,
    ) -> Vec<ImageRow> {
        let rows: Vec<ImageRow> = {
            let mut known = self.known();
            known.retain(|_, one| now.saturating_duration_since(one.at) < BEYOND_FRESH);
            known.values().map(|one| one.row.clone()).collect()
        };
        let rows = rows.into_iter().filter(|row| !is_listed(index, &row.content, standing));
        rows.filter_map(|row| there(row, standing)).collect()
    }

    /// Where a holder says that it has this content.
    pub(in crate::node) fn path(&self, content: ContentId) -> Option<RelPath> {
        let known = self.known();
        let one = known.values().find(|one| one.row.content == content)?;
        Some(one.row.path.clone())
    }

    /// One of them, if its holders are there.
    pub(in crate::node) fn row(
        &self,
        content: ContentId,
        image: ImageId,
        standing: &dyn Fn(&PeerId) -> Standing,
    ) -> Option<ImageRow> {
        there(self.known().get(&(image, content))?.row.clone(), standing)
    }
}

/// Whether this node has it, or the catalog of a trusted node that is there.
fn is_listed(index: &Index, content: &ContentId, standing: &dyn Fn(&PeerId) -> Standing) -> bool {
    let holders = index.holders(content).unwrap_or_default();
    holders.iter().any(|(holder, _)| standing(holder) == Standing::Trusted)
        || index.content(content).ok().flatten().is_some()
}

fn there(mut row: ImageRow, standing: &dyn Fn(&PeerId) -> Standing) -> Option<ImageRow> {
    row.holders.retain(|holder| standing(holder) == Standing::Trusted);
    row.copies = row.holders.len() as u32;
    (!row.holders.is_empty()).then_some(row)
}

impl Services {
    /// Asks what is near to own pictures, and, of what no catalog here knows, its holders for
    /// what they have. How many are new.
    pub(super) async fn seek(self: &Arc<Self>, own: &[Shown]) -> usize {
        let hashes: Vec<[u8; 32]> = own.iter().map(|shown| shown.hash).collect();
        let near = self.many_near_through_bands(&hashes, DECISION.max_distance).await;
        if near.hot > 0 || near.missing > 0 {
            tracing::debug!(
                hot = near.hot,
                missing = near.missing,
                "bands may not have told all that is near"
            );
        }
        let mut candidates: BTreeMap<Shown, Vec<PeerId>> = BTreeMap::new();
        for near in near.found.into_iter().flatten() {
            candidates.insert(Shown { hash: near.hash, content: near.content }, near.holders);
        }
        let standing = self.net.standing();
        let foreign = self.on_disk(move |index| {
            candidates.retain(|shown, _| !is_listed(index, &shown.content, &standing));
            Ok(candidates)
        });
        let Ok(foreign) = foreign.await else { return 0 };
        let (me, live) = (self.net.me(), self.net.live());
        let mut by_holder: BTreeMap<PeerId, Vec<Shown>> = BTreeMap::new();
        for (shown, holders) in foreign {
            for holder in holders {
                if holder != me && live.get(&holder) == Some(&Standing::Trusted) {
                    by_holder.entry(holder).or_default().push(shown);
                }
            }
        }
        let mut found = 0;
        for (holder, wanted) in by_holder {
            for some in wanted.chunks(MAX_HOLDING_KEYS) {
                found += self.ask_beyond(holder, some).await;
            }
        }
        found
    }

    /// Asks a holder whether it holds what bands say it does.
    async fn ask_beyond(&self, holder: PeerId, wanted: &[Shown]) -> usize {
        let mut images: Vec<ImageId> = wanted.iter().map(|shown| ImageId::Hash(shown.hash)).collect();
        images.dedup();
        let entries = match self.net.ask_patiently(holder, PeerRequest::Holding { images }).await {
            Ok(answer) => match answer.header {
                PeerResponse::Holding(entries) => entries,
                _ => return 0,
            },
            Err(error) => {
                tracing::debug!(peer = %holder, %error, "asked what it holds");
                return 0;
            }
        };
        let now = Instant::now();
        let told = entries.into_iter().filter_map(|entry| {
            let held = entry.held?;
            let meant = |shown: &Shown| {
                shown.content == entry.content && held.facts.image == ImageId::Hash(shown.hash)
            };
            wanted.iter().any(meant).then_some((entry.content, held))
        });
        told.filter(|(content, held)| self.memory.beyond().note(now, holder, *content, held.clone())).count()
    }
}
