//! Pulling one page of another node's catalog into the index.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;
use libp2p::PeerId;

use crate::protocol::{PeerRequest, PeerResponse};
use crate::store::index::IndexError;
use crate::types::{CatalogHead, FolderId};

use super::serve::Services;

/// How a pull ended.
#[derive(Debug)]
pub(super) struct Pulled {
    pub(super) peer: PeerId,
    /// Or why nothing could be pulled.
    pub(super) outcome: Result<Page, String>,
}

/// What became of a page.
#[derive(Debug)]
pub(super) enum Page {
    /// Where this node stands now in the peer's catalog, what its head is, and how many entries
    /// of it are here.
    Stored { position: CatalogHead, head: CatalogHead, rows: u64 },
    /// The catalog has more entries than any may have.
    TooLong,
}

/// Asks for the page after what the index knows, and stores it.
pub(super) async fn pull(services: Arc<Services>, peer: PeerId, folder: FolderId) -> Pulled {
    // A panic must not leave the pull under way for ever.
    let outcome = AssertUnwindSafe(one_page(&services, peer, folder)).catch_unwind().await;
    Pulled { peer, outcome: outcome.unwrap_or_else(|_| Err("an internal error".to_owned())) }
}

async fn one_page(services: &Services, peer: PeerId, folder: FolderId) -> Result<Page, String> {
    let known = services.on_disk(move |index| index.peer_position(&peer)).await.map_err(|r| r.message)?;
    let from = known.unwrap_or(CatalogHead { epoch: crate::types::Epoch(0), seq: crate::types::Seq(0) });
    let answer = services
        .net
        .ask(peer, PeerRequest::Catalog { epoch: from.epoch, after: from.seq })
        .await
        .map_err(|error| error.to_string())?;
    let PeerResponse::Catalog(page) = answer.header else {
        return Err("its answer makes no sense".to_owned());
    };
    let head = page.head;
    let stored = services.on_disk(move |index| match index.apply_peer_page(&peer, folder, &page) {
        Err(error @ IndexError::CatalogTooLong { .. }) => {
            tracing::warn!(%error);
            Ok(Some(Page::TooLong))
        }
        Err(error) => Err(error),
        Ok(_) => {
            let progress = index.peer_progress(&peer)?;
            Ok(progress.map(|(position, rows)| Page::Stored { position, head, rows }))
        }
    });
    let stored = stored.await.map_err(|refusal| refusal.message)?;
    stored.ok_or_else(|| "the index forgot it meanwhile".to_owned())
}
