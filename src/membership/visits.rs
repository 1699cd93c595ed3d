//! More nodes than a node can keep as members. Who has no room for another is its *guest* and the
//! other way round: both say so in their hellos, so that neither counts on the other. A guest is asked
//! when there is something to ask, and then left alone.

use std::time::Instant;

use libp2p::{Multiaddr, PeerId};

use super::peer::{Link, Peer};
use super::{Action, Membership};
use crate::limits::{REDIAL_FIRST, STRANGER_FIRST, STRANGER_LONGEST};

impl Membership {
    /// Keeps at most so many members.
    #[must_use]
    pub fn with_limit(mut self, members: usize) -> Self {
        self.limit = members;
        self
    }

    /// There are as many members as can be kept.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.members >= self.limit
    }

    /// Whether this peer is no member and can't become one.
    #[must_use]
    pub fn is_guest(&self, peer: &PeerId) -> bool {
        self.is_full() && self.peers.get(peer).is_none_or(|peer| peer.hello().is_none())
    }

    /// Where a peer was seen or is said to be, the most promising first.
    #[must_use]
    pub fn addresses(&self, peer: &PeerId) -> &[Multiaddr] {
        self.peers.get(peer).map_or(&[], Peer::addresses)
    }

    /// Nodes that may be there and are no members, when there may be any: this node or a member has no
    /// room for more.
    pub fn others(&self) -> impl Iterator<Item = &PeerId> {
        let partial = self.is_partial();
        let there = |peer: &Peer| {
            let reachable = peer.is_connected() || !peer.addresses().is_empty();
            peer.hello().is_none() && !peer.stranger && reachable && (peer.guest || peer.failures == 0)
        };
        self.peers.iter().filter(move |(_, peer)| partial && there(peer)).map(|(id, _)| id)
    }

    /// Whether there may be nodes in the swarm that are no members of this one.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        let crowded = |peer: &Peer| peer.guest || peer.hello().is_some_and(|hello| hello.crowded);
        self.is_full() || self.peers.values().any(crowded)
    }

    /// A proper node, but here or there is no room. It may be a member until now.
    pub(super) fn no_room(&mut self, now: Instant, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let was_member = matches!(peer.link, Link::Member(_));
        peer.guest = true;
        peer.stranger = false;
        peer.trouble = None;
        peer.failures = peer.failures.saturating_add(1);
        // Asked again now and then: there may be room one day.
        peer.link = Link::Connected(now + self.jitter.pause(peer.failures, STRANGER_FIRST, STRANGER_LONGEST));
        self.set_timer(&id);
        if was_member {
            self.members -= 1;
            self.outbox.push_back(Action::MemberDown { peer: id });
        }
    }

    /// A member has gone: guests that are connected may take its place.
    pub(super) fn has_room(&mut self, now: Instant) {
        let mut touched = Vec::new();
        for (id, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.guest) {
            if let Link::Connected(at) | Link::Away(at) = &mut peer.link {
                *at = (*at).min(now + REDIAL_FIRST);
                touched.push(*id);
            }
        }
        for id in &touched {
            self.set_timer(id);
        }
    }

    pub(super) fn visiting(&mut self, now: Instant, id: &PeerId) {
        let Some(peer) = self.peers.get_mut(id).filter(|peer| peer.hello().is_none()) else { return };
        peer.visited = Some(now);
        self.set_timer(id);
    }

    /// One that answered is there, whatever became of it before; one that did not is left out until
    /// somebody names it.
    pub(super) fn visited(&mut self, id: &PeerId, ok: bool) {
        let Some(peer) = self.peers.get_mut(id).filter(|peer| peer.hello().is_none()) else { return };
        peer.guest = ok;
        if !ok {
            peer.failures = peer.failures.max(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{STRANGER_LONGEST as LONGEST, VISIT_LASTS};
    use crate::membership::{Event, Source};
    use crate::protocol::{Decides, HASH_VERSION, Hello, Keeps};
    use crate::types::{CatalogHead, Epoch, FolderId, Seq};

    fn hello(guest: bool) -> Hello {
        Hello {
            hash_version: HASH_VERSION,
            folder: FolderId(1),
            head: CatalogHead { epoch: Epoch(1), seq: Seq(1) },
            images: 1,
            bytes: 1,
            decides: Decides::default(),
            keeps: Keeps::default(),
            crowded: guest,
            guest,
        }
    }

    fn address(n: u8) -> Multiaddr {
        format!("/ip4/10.0.0.{n}/tcp/4011").parse().unwrap()
    }

    fn actions(plan: &mut Membership, now: Instant) -> Vec<Action> {
        std::iter::from_fn(|| plan.next_action(now)).collect()
    }

    /// Connects and greets.
    fn meet(plan: &mut Membership, now: Instant, peer: PeerId, n: u8, guest: bool) -> Vec<Action> {
        plan.on_event(now, Event::Connected { peer, address: Some(address(n)) });
        assert!(actions(plan, now).contains(&Action::SayHello { peer }));
        plan.on_event(now, Event::HelloOk { peer, hello: hello(guest) });
        actions(plan, now)
    }

    #[test]
    fn one_too_many_is_a_guest_and_takes_the_place_of_one_that_goes() {
        let now = Instant::now();
        let [me, first, second] = [(); 3].map(|()| PeerId::random());
        let mut plan = Membership::new(me, 1).with_limit(1);
        assert!(!plan.is_partial());
        let up = meet(&mut plan, now, first, 1, false);
        assert!(up.iter().any(|action| matches!(action, Action::MemberUp { peer, .. } if *peer == first)));
        let up = meet(&mut plan, now, second, 2, false);
        assert!(!up.iter().any(|action| matches!(action, Action::MemberUp { .. })), "{up:?}");
        assert!(plan.is_guest(&second) && !plan.is_guest(&first));
        assert_eq!(plan.others().collect::<Vec<_>>(), [&second]);
        plan.on_event(now, Event::Disconnected { peer: first });
        let later = now + REDIAL_FIRST;
        assert!(actions(&mut plan, later).contains(&Action::SayHello { peer: second }));
        plan.on_event(later, Event::HelloOk { peer: second, hello: hello(false) });
        assert!(plan.members().any(|(peer, _)| *peer == second));
    }

    #[test]
    fn who_has_no_room_for_this_node_is_no_member_of_it() {
        let now = Instant::now();
        let [me, other] = [(); 2].map(|()| PeerId::random());
        let mut plan = Membership::new(me, 1);
        meet(&mut plan, now, other, 1, true);
        assert_eq!((plan.member_count(), plan.is_partial()), (0, true));
        // It said yes at first.
        let mut plan = Membership::new(me, 1);
        meet(&mut plan, now, other, 1, false);
        plan.on_event(now, Event::HelloOk { peer: other, hello: hello(true) });
        assert!(actions(&mut plan, now).contains(&Action::MemberDown { peer: other }));
        assert_eq!(plan.member_count(), 0);
        assert!(actions(&mut plan, now + LONGEST).contains(&Action::SayHello { peer: other }), "one day");
    }

    #[test]
    fn a_visit_ends_when_nothing_more_is_asked() {
        let now = Instant::now();
        let [me, first, second] = [(); 3].map(|()| PeerId::random());
        let mut plan = Membership::new(me, 1).with_limit(1);
        meet(&mut plan, now, first, 1, false);
        meet(&mut plan, now, second, 2, false);
        let mut at = now;
        for _ in 0..12 {
            // Its greetings are rare by now.
            at += LONGEST;
            actions(&mut plan, at);
            plan.on_event(at, Event::HelloOk { peer: second, hello: hello(false) });
        }
        for _ in 0..3 {
            plan.on_event(at, Event::Visiting { peer: second });
            at += VISIT_LASTS / 2;
            let closes = |action: &Action| matches!(action, Action::Close { .. });
            assert!(!actions(&mut plan, at).iter().any(closes));
        }
        at += VISIT_LASTS / 2;
        let close = actions(&mut plan, at);
        assert!(
            close.iter().any(|action| matches!(action, Action::Close { peer, .. } if *peer == second)),
            "{close:?}"
        );
    }

    #[test]
    fn in_a_swarm_with_room_nobody_else_is_asked() {
        let now = Instant::now();
        let [me, other] = [(); 2].map(|()| PeerId::random());
        let mut plan = Membership::new(me, 1);
        let addresses = vec![address(1)];
        plan.on_event(now, Event::Discovered { peer: other, addresses, source: Source::Kad });
        assert_eq!(plan.others().count(), 0);
        plan.on_event(now, Event::Visited { peer: other, ok: true });
        assert_eq!(plan.others().count(), 1, "a guest");
        plan.on_event(now, Event::Visited { peer: other, ok: false });
        assert_eq!(plan.others().count(), 0);
    }
}
