//! Which pictures of the swarm look like one, for a client.

use std::cmp::Reverse;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::dedup::nearest::Hash;
use crate::limits::{MAX_MATCHES, MAX_NEAR_DISTANCE, MAX_SIMILAR_ASKED};
use crate::protocol::{
    ClientResponse, HASH_VERSION, Refusal, RefusalCode, SimilarPage, SimilarQuery, SimilarRow,
};
use crate::store::index::Index;
use crate::types::ImageId;

use super::serve::{Served, Services, frame};

/// Turns of those who ask.
#[derive(Debug)]
pub(super) struct Turns(Arc<Semaphore>);

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_SIMILAR_ASKED)))
    }
}

impl Services {
    /// The nearest that the catalogs know; and, where these are not all kept, that bands tell of.
    pub(super) async fn similar(self: &Arc<Self>, query: SimilarQuery) -> Served<ClientResponse> {
        let hash = hash(&query)?;
        // Kept by the work itself: a client that gives up does not end it.
        let turn = Arc::clone(&self.turns.0).acquire_owned().await;
        let standing = self.net.standing();
        let SimilarQuery { distance, limit, .. } = query;
        let look = move |index: &Index| {
            let _turn = turn;
            index.similar(&hash, distance, limit as usize, &standing)
        };
        let found = self.on_disk(look).await?;
        let rows = found.rows.into_iter().map(|(distance, row)| SimilarRow { distance, row });
        let mut page = SimilarPage {
            rows: rows.collect(),
            compared: found.compared,
            within: found.within,
            more: found.more,
        };
        let others = self.net.others().await;
        if others.partial || !others.asked.is_empty() || !others.elsewhere.is_empty() {
            self.add_beyond(hash, distance, limit as usize, &mut page).await?;
        }
        Ok(frame(ClientResponse::Similar(page)))
    }

    /// Adds what is in no catalog here. Its holders are asked: what bands tell is a claim.
    async fn add_beyond(
        self: &Arc<Self>,
        hash: Hash,
        distance: u32,
        limit: usize,
        page: &mut SimilarPage,
    ) -> Result<(), Refusal> {
        let near = self.near_through_bands(hash, distance.min(MAX_NEAR_DISTANCE)).await;
        page.compared = page.compared.saturating_add(near.asked as u64);
        page.more |= near.hot + near.missing > 0;
        let found = near.found;
        let unknown = self.on_disk(move |index| {
            let mut unknown = Vec::new();
            for near in found {
                if unknown.len() < MAX_MATCHES && index.holders(&near.content)?.is_empty() {
                    unknown.push(near);
                }
            }
            Ok(unknown)
        });
        for near in unknown.await? {
            let told = self.rows_held_by(ImageId::Hash(near.hash), &near.holders).await;
            let told = told.into_iter().filter(|row| row.content == near.content);
            let before = page.rows.len();
            page.rows.extend(told.map(|row| SimilarRow { distance: near.distance, row }));
            page.within += (page.rows.len() - before) as u64;
        }
        page.rows.sort_by_cached_key(|near| {
            let facts = &near.row.facts;
            let pixels = u64::from(facts.width) * u64::from(facts.height);
            (near.distance, Reverse((pixels, facts.bytes)), facts.image, near.row.content)
        });
        page.more |= page.rows.len() > limit;
        page.rows.truncate(limit);
        Ok(())
    }
}

/// What is to be compared.
fn hash(query: &SimilarQuery) -> Result<Hash, Refusal> {
    if query.hash_version != HASH_VERSION {
        let message = format!(
            "this node compares hashes of version {HASH_VERSION}, yours is of version {}: the client and the node \
             have to be of the same version",
            query.hash_version
        );
        return Err(Refusal::new(RefusalCode::Invalid, message));
    }
    match query.image {
        ImageId::Hash(hash) => Ok(hash),
        ImageId::Content(_) => {
            let message = "this picture has no perceptual hash to compare: it is known by its bytes only";
            Err(Refusal::new(RefusalCode::Invalid, message))
        }
    }
}
