//! What is due, and with whom: the part of the planner that time drives.

use std::time::Instant;

use libp2p::PeerId;

use super::peer::{Link, Peer};
use super::{Action, Membership};
use crate::limits::{
    ASK_MEMBERS_FIRST, ASK_MEMBERS_LONGEST, CLIENT_DEADLINE, DIAL_DEADLINE, FORGET_AFTER, MAX_DIALS,
    REDIAL_FIRST, VISIT_LASTS,
};

impl Membership {
    /// What to do next; `None` until an event or [`Membership::next_wakeup`].
    pub fn next_action(&mut self, now: Instant) -> Option<Action> {
        if let Some(action) = self.outbox.pop_front() {
            return Some(action);
        }
        if let Some(address) = self.bootstraps.next(now) {
            return Some(Action::DialAddress(address));
        }
        // Each pass moves its timer into the future or removes it.
        while let Some((at, id)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, id));
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            peer.timer = None;
            let action = self.duty(now, id);
            self.set_timer(&id);
            if action.is_some() {
                return action;
            }
        }
        None
    }

    /// When there is something to do without a further event.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Instant> {
        let timer = self.timers.first().map(|(at, _)| *at);
        timer.into_iter().chain(self.bootstraps.wakeup()).min()
    }

    /// Carries out what is due with one peer, and plans what is due next.
    fn duty(&mut self, now: Instant, id: PeerId) -> Option<Action> {
        let crowded = self.is_full();
        let peer = self.peers.get_mut(&id)?;
        match &mut peer.link {
            Link::Away(at) if *at <= now => {
                if !peer.bootstrap && now.saturating_duration_since(peer.seen) >= FORGET_AFTER {
                    self.forget(&id);
                    return None;
                }
                if self.dialling >= MAX_DIALS || crowded {
                    *at = now + REDIAL_FIRST;
                    return None;
                }
                self.dialling += 1;
                peer.link = Link::Dialling(now);
                Some(Action::Dial { peer: id, addresses: peer.to_dial() })
            }
            Link::Dialling(since) if *since + DIAL_DEADLINE <= now => {
                self.dial_failed(now, id, false, "the dial never ended");
                None
            }
            Link::Connected(at) if *at <= now => {
                peer.link = Link::Greeted(now);
                Some(Action::SayHello { peer: id })
            }
            Link::Connected(_) if peer.visited.is_some_and(|at| at + VISIT_LASTS <= now) => {
                peer.visited = None;
                let reason = "nothing more is asked of it".to_owned();
                peer.dialled.then_some(Action::Close { peer: id, reason })
            }
            Link::Greeted(since) if *since + CLIENT_DEADLINE <= now => {
                self.hello_bad(now, id, "did not answer");
                None
            }
            Link::Member(member) if member.ask_at <= now => {
                member.asked = member.asked.saturating_add(1);
                member.ask_at = now + self.jitter.pause(member.asked, ASK_MEMBERS_FIRST, ASK_MEMBERS_LONGEST);
                Some(Action::AskMembers { peer: id })
            }
            _ => None,
        }
    }

    pub(super) fn set_timer(&mut self, id: &PeerId) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        let due = due(peer);
        if peer.timer == due {
            return;
        }
        if let Some(old) = peer.timer {
            self.timers.remove(&(old, *id));
        }
        peer.timer = due;
        self.timers.extend(due.map(|at| (at, *id)));
    }

    /// Only peers that are away.
    pub(super) fn forget(&mut self, id: &PeerId) {
        if let Some(peer) = self.peers.remove(id)
            && let Some(at) = peer.timer
        {
            self.timers.remove(&(at, *id));
        }
    }
}

/// When something is due with this peer.
fn due(peer: &Peer) -> Option<Instant> {
    match &peer.link {
        // Nothing to dial: the bootstrap address is dialled instead, or it comes by itself.
        Link::Away(_) if peer.addresses().is_empty() => None,
        Link::Away(at) => Some(*at),
        Link::Connected(at) => {
            let over = peer.visited.map(|visited| visited + VISIT_LASTS);
            Some(over.map_or(*at, |over| over.min(*at)))
        }
        Link::Dialling(since) => Some(*since + DIAL_DEADLINE),
        Link::Greeted(since) => Some(*since + CLIENT_DEADLINE),
        Link::Member(member) => Some(member.ask_at),
    }
}
