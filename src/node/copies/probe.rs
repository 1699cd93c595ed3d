//! Asking a member for a chunk of something that its catalog names: one that answers pings and
//! can't deliver holds nothing.

use std::sync::Arc;

use libp2p::PeerId;

use super::super::network::AskError;
use super::super::serve::Services;

impl Services {
    /// Whether `peer` delivers a chunk of a content it claims, chosen by `number`. `None`: there
    /// is nothing to ask it for, or it has too much to do.
    pub(super) async fn probe(self: &Arc<Self>, peer: PeerId, number: u64) -> Option<bool> {
        let content = self.on_disk(move |index| index.held_by(&peer, number)).await.ok()??;
        // With its last chunk, which proves its length.
        match self.outline_of(content, peer).await {
            Ok(_) => Some(true),
            Err(error) => failure(&error),
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
