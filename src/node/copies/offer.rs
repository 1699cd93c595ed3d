//! Offers: telling a member what lacks copies, and answering one that tells.

use std::sync::Arc;
use std::time::Instant;

use libp2p::PeerId;
use tokio::sync::oneshot;

use super::super::serve::{Served, Services, blocking, frame, refuse_stranger};
use super::News;
use crate::limits::{ASK_WHETHER_COME, MAX_CONTENT_BYTES};
use crate::protocol::{OfferAnswer, Offered, PeerRequest, PeerResponse, Refusal, RefusalCode};
use crate::replication::intake::Known;
use crate::types::ContentId;

impl Services {
    /// Offers contents, with the copies that count of each, to a member. `None`: it did not answer.
    pub(super) async fn offer(
        self: &Arc<Self>,
        peer: PeerId,
        contents: Vec<(ContentId, u16)>,
    ) -> Option<Vec<(ContentId, OfferAnswer)>> {
        let services = Arc::clone(self);
        let described = blocking(move || services.describe_offers(&contents)).await.ok()?;
        if described.is_empty() {
            // All of it has gone meanwhile.
            return Some(Vec::new());
        }
        let contents: Vec<ContentId> = described.iter().map(|offered| offered.content).collect();
        match self.net.ask(peer, PeerRequest::Offer { contents: described }).await {
            Ok(answer) => match answer.header {
                PeerResponse::Offered(answers) if answers.len() == contents.len() => {
                    let answers: Vec<_> = contents.into_iter().zip(answers).collect();
                    let now = Instant::now();
                    for (content, _) in answers.iter().filter(|(_, answer)| *answer == OfferAnswer::Held) {
                        self.held_elsewhere.note(*content, peer, now);
                    }
                    Some(answers)
                }
                _ => None,
            },
            Err(error) => {
                tracing::debug!(%peer, %error, "an offer");
                None
            }
        }
    }

    /// A member whose catalog is not here has taken these on, and no catalog will tell that they have come.
    /// So they are offered to it again, before others are asked. Whether some have come.
    pub(super) async fn has_come(self: &Arc<Self>, peer: PeerId, mut coming: Vec<(ContentId, u16)>) -> bool {
        let mut some = false;
        for pause in ASK_WHETHER_COME {
            if coming.is_empty() {
                break;
            }
            tokio::time::sleep(pause).await;
            let Some(answers) = self.offer(peer, coming.clone()).await else { continue };
            let come = |content: &ContentId| answers.contains(&(*content, OfferAnswer::Held));
            let before = coming.len();
            coming.retain(|(content, _)| !come(content));
            some |= coming.len() < before;
        }
        some
    }

    /// Blocks on the disk. What is not here any more is left out.
    fn describe_offers(&self, contents: &[(ContentId, u16)]) -> Vec<Offered> {
        let one = |(content, copies): &(ContentId, u16)| {
            let record = self.index.content(content).ok()??;
            let path = record.path;
            let carried = self.drops.ledger.as_ref().map(|ledger| ledger.witness_ids(*content));
            // Whoever can't tell says yes: then they are asked for.
            let carries = carried.is_none_or(|ids| ids.map_or(true, |ids| !ids.is_empty()));
            Some(Offered { content: *content, bytes: record.facts.bytes, path, copies: *copies, carries })
        };
        contents.iter().filter_map(one).collect()
    }

    /// Answers an offer.
    pub(in crate::node) async fn serve_offer(
        self: &Arc<Self>,
        peer: PeerId,
        offers: Vec<Offered>,
    ) -> Served<PeerResponse> {
        refuse_stranger(self, peer)?;
        if offers.iter().any(|offered| offered.bytes > MAX_CONTENT_BYTES) {
            return Err(Refusal::new(RefusalCode::Invalid, "no content is that long"));
        }
        let services = Arc::clone(self);
        let looked = blocking(move || {
            // A person had it removed, and the member has not done that yet.
            let removals = services.drops.ledger.as_ref().map(|ledger| ledger.open_removals(peer));
            let removals = removals.and_then(Result::ok).unwrap_or_default();
            let removed = |content: &ContentId| removals.iter().any(|removal| removal.content == *content);
            let known = |content: &ContentId| match services.index.content(content) {
                Ok(Some(_)) => Known::Held,
                Ok(None) if removed(content) => Known::Unwanted,
                Ok(None) => Known::New,
                // Better once too few than twice here.
                Err(_) => Known::Unwanted,
            };
            let offers = offers.into_iter().map(|offered| (known(&offered.content), offered));
            let offers: Vec<_> = offers.map(|(known, offered)| (offered, known)).collect();
            (offers, services.replicas.room().unwrap_or(0))
        });
        let (offers, room) = looked.await?;
        let (reply, answers) = oneshot::channel();
        self.net.copies(News::Incoming { from: peer, offers, room, reply }).await;
        let answers = answers.await.map_err(|_| Refusal::new(RefusalCode::Unavailable, "shutting down"))?;
        Ok(frame(PeerResponse::Offered(answers)))
    }
}
