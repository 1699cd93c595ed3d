//! Asking a member for a chunk of something that its catalog names: one that answers pings and
//! can't deliver holds nothing.

use std::sync::Arc;

use libp2p::PeerId;

use super::super::network::AskError;
use super::super::serve::Services;
use crate::replication::stabilize::Event;

impl Services {
    /// Whether `peer` delivers a chunk of a content it claims, chosen by `number`, as it is told to
    /// the planner. `None`: there is nothing to ask it for.
    pub(super) async fn probe(self: &Arc<Self>, peer: PeerId, number: u64) -> Option<Event> {
        let content = self.on_disk(move |index| index.held_by(&peer, number)).await.ok()??;
        // With its last chunk, which proves its length.
        match self.outline_of(content, peer).await {
            Ok(_) => Some(Event::Probed { peer, ok: true }),
            // Once is nothing. The planner counts.
            Err(AskError::Busy) => Some(Event::Busy(peer)),
            Err(error) => failure(&error).map(|ok| Event::Probed { peer, ok }),
        }
    }
}

/// Whether an answer speaks against a member.
pub(super) fn failure(error: &AskError) -> Option<bool> {
    match error {
        // Its connection is membership's business, and ours is nobody's.
        AskError::Busy | AskError::Stopping => None,
        AskError::Unreachable(_) | AskError::Refused(_) | AskError::Nonsense | AskError::WrongBytes => {
            Some(false)
        }
    }
}
