//! What the copies that are being taken share: how fast, how many at once, and what is done for several
//! together.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use libp2p::PeerId;
use tokio::sync::Semaphore;

use super::super::gather::Gather;
use super::pace::Pace;
use super::pull::Arrived;
use crate::limits::{IN_PIECES_FOR, MAX_COMMITTED, MAX_DESCRIBED, MAX_FETCHING, MAX_KNOWN_PEERS};
use crate::picture::same::Known;
use crate::types::ContentId;

/// Shared by all pulls of a node.
#[derive(Debug)]
pub(in crate::node) struct Taking {
    /// How fast copies are fetched.
    pub(in crate::node) pace: Pace,
    /// Held while bytes come.
    pub(super) fetching: Semaphore,
    /// What members say of what is being fetched from them.
    pub(super) describing: Arc<Gather<PeerId, ContentId, Option<Known>>>,
    /// What has come and gets its name.
    pub(super) committing: Arc<Gather<(), Arrived, Result<(), String>>>,
    in_pieces: InPieces,
}

impl Taking {
    /// `bandwidth`: bytes a second, at most.
    pub(in crate::node) fn new(bandwidth: Option<u64>) -> Self {
        Self {
            pace: Pace::new(bandwidth),
            fetching: Semaphore::new(MAX_FETCHING),
            describing: Arc::new(Gather::new(MAX_DESCRIBED)),
            committing: Arc::new(Gather::new(MAX_COMMITTED)),
            in_pieces: InPieces::default(),
        }
    }

    /// Whether a small content may be asked of a member in one piece.
    pub(super) fn sends_whole(&self, peer: &PeerId) -> bool {
        self.in_pieces.until(peer).is_none_or(|until| until <= Instant::now())
    }

    /// It could not: pieces come through a line on which the whole takes longer than an answer may.
    pub(super) fn ask_in_pieces(&self, peer: PeerId) {
        self.in_pieces.note(peer, Instant::now());
    }
}

/// Members that are asked for pieces, and until when.
#[derive(Debug, Default)]
struct InPieces(Mutex<HashMap<PeerId, Instant>>);

impl InPieces {
    fn until(&self, peer: &PeerId) -> Option<Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(peer).copied()
    }

    fn note(&self, peer: PeerId, now: Instant) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, until| *until > now);
        if all.len() < MAX_KNOWN_PEERS {
            all.insert(peer, now + IN_PIECES_FOR);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_could_not_send_the_whole_is_asked_for_pieces_for_a_while() {
        let (all, peer, other) = (InPieces::default(), PeerId::random(), PeerId::random());
        let now = Instant::now();
        all.note(peer, now);
        assert_eq!(all.until(&peer), Some(now + IN_PIECES_FOR));
        assert_eq!(all.until(&other), None);
        all.note(other, now + IN_PIECES_FOR);
        assert_eq!(all.until(&peer), None, "forgotten");
    }
}
