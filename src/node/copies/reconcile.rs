//! Whether what this node believes of a member's catalog is what the member says of it.

use std::sync::{Arc, Mutex, PoisonError};

use libp2p::PeerId;
use serde_bytes::ByteBuf;

use super::super::serve::{Served, Services, frame, refuse_stranger};
use crate::protocol::{PeerRequest, PeerResponse};
use crate::types::CatalogHead;

/// What the own catalog added up to at a position: adding up reads all of it.
#[derive(Debug, Default)]
pub(in crate::node) struct AddedUp(Mutex<Option<(CatalogHead, [u8; 32])>>);

impl AddedUp {
    fn at(&self, head: CatalogHead) -> Option<[u8; 32]> {
        let known = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.filter(|(at, _)| *at == head).map(|(_, digest)| digest)
    }

    fn set(&self, head: CatalogHead, digest: [u8; 32]) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((head, digest));
    }
}

impl Services {
    /// Answers what the own catalog adds up to.
    pub(in crate::node) async fn serve_digest(self: &Arc<Self>, peer: PeerId) -> Served<PeerResponse> {
        refuse_stranger(self, peer)?;
        let services = Arc::clone(self);
        let (head, digest) = self
            .on_disk(move |index| {
                let head = index.head()?;
                if let Some(digest) = services.added_up.at(head) {
                    return Ok((head, digest));
                }
                let (head, digest) = index.own_digest()?;
                services.added_up.set(head, digest);
                Ok((head, digest))
            })
            .await?;
        Ok(frame(PeerResponse::Digest { head, digest: ByteBuf::from(digest) }))
    }

    /// Whether what is known of `peer`'s catalog is wrong; then it is going to be read anew. `None`
    /// when it can't be told: the catalog goes on changing, or the member does not answer.
    pub(super) async fn is_wrong_about(self: &Arc<Self>, peer: PeerId) -> Option<bool> {
        let answer = self.net.ask(peer, PeerRequest::Digest).await.ok()?;
        let PeerResponse::Digest { head, digest } = answer.header else { return None };
        let compared = self.on_disk(move |index| {
            let known = index.peer_digest(&peer)?.filter(|(at, _)| *at == head);
            let wrong = known.map(|(_, known)| *digest != known);
            if wrong == Some(true) {
                index.reread_peer(&peer)?;
            }
            Ok(wrong)
        });
        compared.await.ok()?
    }
}
