//! Which pictures of the swarm look like one, for a client.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::dedup::nearest::Hash;
use crate::limits::MAX_SIMILAR_ASKED;
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
    /// The nearest that the catalogs know.
    pub(super) async fn similar(&self, query: SimilarQuery) -> Served<ClientResponse> {
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
        Ok(frame(ClientResponse::Similar(SimilarPage {
            rows: rows.collect(),
            compared: found.compared,
            within: found.within,
            more: found.more,
        })))
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
