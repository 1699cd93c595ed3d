//! What this node was offered and fetches: which first, and how many at once.
//!
//! Fewest copies first, then the smallest: a picture that has only one copy left is worth more
//! than one that gets its third. An offer that finds the queue full is answered `busy` and comes
//! again. What fails here is forgotten: who offered it offers it again.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::PeerId;

use crate::limits::{MAX_INTAKE, MAX_INTAKE_BYTES, MAX_INTAKE_SOURCES, MAX_PULLING};
use crate::protocol::{OfferAnswer, Offered};
use crate::types::ContentId;

/// What this node knows of an offered content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// It is not here.
    New,
    /// It is.
    Held,
    /// It is about to go here, or somebody removed it.
    Unwanted,
}

/// Fetch this content and make it a replica; ends with [`Intake::ended`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pull {
    /// What, as it was offered.
    pub offered: Offered,
    /// Who offered it.
    pub from: Vec<PeerId>,
}

#[derive(Debug)]
struct Waiting {
    offered: Offered,
    from: Vec<PeerId>,
}

/// The queue of contents that come.
#[derive(Debug, Default)]
pub struct Intake {
    waiting: BTreeMap<ContentId, Waiting>,
    order: BTreeSet<(u16, u64, ContentId)>,
    pulling: BTreeMap<ContentId, u64>,
    /// Bytes of all that wait and are being fetched.
    promised: u64,
    /// This node is about to leave: nothing more.
    closed: bool,
}

impl Intake {
    /// Empty.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes nothing more (or takes again). What is under way goes on.
    pub fn close(&mut self, closed: bool) {
        self.closed = closed;
    }

    /// Answers an offer of `from`, content by content; `room` are the bytes that there is room
    /// for, beside what is being fetched.
    pub fn offered(
        &mut self,
        from: PeerId,
        offers: Vec<Offered>,
        known: &dyn Fn(&ContentId) -> Known,
        room: u64,
    ) -> Vec<OfferAnswer> {
        offers.into_iter().map(|offered| self.one(from, offered, known, room)).collect()
    }

    fn one(
        &mut self,
        from: PeerId,
        offered: Offered,
        known: &dyn Fn(&ContentId) -> Known,
        room: u64,
    ) -> OfferAnswer {
        let content = offered.content;
        if self.pulling.contains_key(&content) {
            return OfferAnswer::Coming;
        }
        if let Some(waiting) = self.waiting.get_mut(&content) {
            if !waiting.from.contains(&from) && waiting.from.len() < MAX_INTAKE_SOURCES {
                waiting.from.push(from);
            }
            // Copies were lost meanwhile: it is more urgent now.
            if offered.copies < waiting.offered.copies {
                self.order.remove(&place(&waiting.offered));
                waiting.offered.copies = offered.copies;
                self.order.insert(place(&waiting.offered));
            }
            return OfferAnswer::Coming;
        }
        match known(&content) {
            Known::Held => return OfferAnswer::Held,
            Known::Unwanted => return OfferAnswer::Unwanted,
            Known::New if self.closed => return OfferAnswer::Unwanted,
            Known::New => {}
        }
        if self.waiting.len() + self.pulling.len() >= MAX_INTAKE {
            return OfferAnswer::Busy;
        }
        if self.promised.saturating_add(offered.bytes) > room {
            return OfferAnswer::Full;
        }
        self.promised += offered.bytes;
        self.order.insert(place(&offered));
        self.waiting.insert(content, Waiting { offered, from: vec![from] });
        OfferAnswer::Coming
    }

    /// The next content to fetch; `None` until one has ended or another is offered.
    pub fn next_action(&mut self) -> Option<Pull> {
        let next = self.order.first().copied()?;
        let bytes: u64 = self.pulling.values().sum();
        // A large one goes alone, or after small ones that are under way.
        let fits = self.pulling.is_empty() || bytes.saturating_add(next.1) <= MAX_INTAKE_BYTES;
        if self.pulling.len() >= MAX_PULLING || !fits {
            return None;
        }
        self.order.remove(&next);
        let Waiting { offered, from } = self.waiting.remove(&next.2)?;
        self.pulling.insert(offered.content, offered.bytes);
        Some(Pull { offered, from })
    }

    /// A pull has ended, well or not.
    pub fn ended(&mut self, content: ContentId) {
        if let Some(bytes) = self.pulling.remove(&content) {
            self.promised = self.promised.saturating_sub(bytes);
        }
    }

    /// Contents that wait or are being fetched, and their bytes.
    #[must_use]
    pub fn under_way(&self) -> (usize, u64) {
        (self.waiting.len() + self.pulling.len(), self.promised)
    }
}

fn place(offered: &Offered) -> (u16, u64, ContentId) {
    (offered.copies, offered.bytes, offered.content)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::OfferAnswer::{Coming, Full, Held, Unwanted};
    use super::*;
    use crate::types::RelPath;

    fn offer(name: u8, copies: u16, bytes: u64) -> Offered {
        let path = RelPath::from_bytes(vec![b'a', name.max(b'0')]).unwrap();
        Offered { content: ContentId([name; 32]), bytes, path, copies, carries: false }
    }

    fn new(_: &ContentId) -> Known {
        Known::New
    }

    #[test]
    fn fewest_copies_go_first_then_the_smallest() {
        let mut intake = Intake::new();
        let peer = PeerId::random();
        let all = vec![offer(1, 2, 1), offer(2, 1, 50), offer(3, 1, 7)];
        assert_eq!(intake.offered(peer, all, &new, 1000), [OfferAnswer::Coming; 3]);
        let order: Vec<u8> =
            std::iter::from_fn(|| intake.next_action()).map(|pull| pull.offered.content.0[0]).collect();
        assert_eq!(order, [3, 2, 1]);
    }

    #[test]
    fn an_offer_of_what_comes_adds_a_source_and_no_second_fetch() {
        let mut intake = Intake::new();
        let (one, two) = (PeerId::random(), PeerId::random());
        intake.offered(one, vec![offer(1, 2, 1)], &new, 1000);
        assert_eq!(intake.offered(two, vec![offer(1, 1, 1)], &new, 1000), [OfferAnswer::Coming]);
        let pull = intake.next_action().unwrap();
        assert_eq!((pull.from, pull.offered.copies), (vec![one, two], 1));
        assert_eq!(intake.offered(two, vec![offer(1, 1, 1)], &new, 1000), [OfferAnswer::Coming]);
        assert_eq!(intake.next_action(), None);
        intake.ended(ContentId([1; 32]));
        assert_eq!(intake.under_way(), (0, 0));
    }

    #[test]
    fn what_is_here_unwanted_or_too_large_is_said() {
        let mut intake = Intake::new();
        let known = |content: &ContentId| match content.0[0] {
            1 => Known::Held,
            2 => Known::Unwanted,
            _ => Known::New,
        };
        let all = vec![offer(1, 1, 1), offer(2, 1, 1), offer(3, 1, 60), offer(4, 1, 60)];
        let answers = intake.offered(PeerId::random(), all, &known, 100);
        assert_eq!(answers, [Held, Unwanted, Coming, Full]);
        intake.close(true);
        assert_eq!(intake.offered(PeerId::random(), vec![offer(5, 1, 1)], &known, 100), [Unwanted]);
    }

    proptest! {
        #[test]
        fn it_never_promises_more_than_there_is_room_for(
            steps in prop::collection::vec((0u8..40, 0u16..3, 0u64..MAX_INTAKE_BYTES, any::<bool>()), 1..200),
            room in 0u64..4 * MAX_INTAKE_BYTES,
        ) {
            let mut intake = Intake::new();
            let mut pulling = Vec::new();
            for (name, copies, bytes, end) in steps {
                intake.offered(PeerId::random(), vec![offer(name, copies, bytes)], &new, room);
                if end && !pulling.is_empty() {
                    intake.ended(pulling.remove(0));
                }
                pulling.extend(std::iter::from_fn(|| intake.next_action()).map(|p| p.offered.content));
                let (number, promised) = intake.under_way();
                prop_assert!(promised <= room && number <= MAX_INTAKE && pulling.len() <= MAX_PULLING);
            }
            while !pulling.is_empty() {
                for content in pulling.drain(..) {
                    intake.ended(content);
                }
                pulling.extend(std::iter::from_fn(|| intake.next_action()).map(|p| p.offered.content));
            }
            prop_assert_eq!(intake.under_way(), (0, 0));
        }
    }
}
