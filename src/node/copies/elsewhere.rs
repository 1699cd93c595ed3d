//! What members hold whose catalogs are not kept here, as far as they said so when it was offered to
//! them. Without it, each content that only such a member holds besides this node would look short for
//! ever. It is no reason to give anything up: that takes leases.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use libp2p::PeerId;

use crate::limits::{HELD_BELIEVED, MAX_HELD_ELSEWHERE};
use crate::types::ContentId;

/// Who said when that it holds a content.
#[derive(Debug, Default)]
pub(in crate::node) struct HeldElsewhere(Mutex<BTreeMap<(ContentId, PeerId), Instant>>);

impl HeldElsewhere {
    pub(super) fn note(&self, content: ContentId, peer: PeerId, now: Instant) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= MAX_HELD_ELSEWHERE {
            told.retain(|_, at| now.saturating_duration_since(*at) < HELD_BELIEVED);
        }
        if told.len() < MAX_HELD_ELSEWHERE {
            told.insert((content, peer), now);
        }
    }

    /// Those of `peers` that said so not long ago.
    pub(super) fn of(&self, content: ContentId, peers: &BTreeSet<PeerId>, now: Instant) -> Vec<PeerId> {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let believed = |peer: &&PeerId| {
            let at = told.get(&(content, **peer));
            at.is_some_and(|at| now.saturating_duration_since(*at) < HELD_BELIEVED)
        };
        peers.iter().filter(believed).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_believed_for_some_time() {
        let (told, now) = (HeldElsewhere::default(), Instant::now());
        let [one, two] = [(); 2].map(|()| PeerId::random());
        let content = ContentId([1; 32]);
        told.note(content, one, now);
        told.note(ContentId([2; 32]), two, now);
        let both = BTreeSet::from([one, two]);
        assert_eq!(told.of(content, &both, now), [one]);
        assert!(told.of(content, &BTreeSet::from([two]), now).is_empty(), "its catalog is kept");
        assert!(told.of(content, &both, now + HELD_BELIEVED).is_empty());
    }
}
