//! Whose catalog to ask for next, and whom to tell that one's own has grown.
//!
//! Both directions lean on `hello`: it carries the sender's head and is answered with the
//! receiver's, so a lost announcement is repeated until it is answered, and a pull begins
//! whenever a head is seen that is further than what is known.
//!
//! What a page is worth the index decides, which stores it; here counts how far it led. A
//! pull that led nowhere, and a catalog that begins anew each time, are asked for more and
//! more seldom, or a member could make this node ask for ever.
//!
//! Not all catalogs are kept: beyond a limit of entries a member is *asked* instead, whenever a list
//! is made (`merge`), and nothing of it is pulled.

mod budget;
pub mod merge;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use libp2p::PeerId;

use self::budget::Budget;
use crate::backoff::Jitter;
use crate::limits::{
    ANNOUNCE_EVERY, ANNOUNCE_PER_MEMBER, MAX_CACHED_ENTRIES, MAX_PULLS, PULL_RETRY_FIRST, PULL_RETRY_LONGEST,
};
use crate::types::{CatalogHead, Seq};

/// What the planner is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A member is up. `known`: how far its catalog is known from before, if it is.
    MemberUp {
        /// Who.
        peer: PeerId,
        /// What its `hello` said.
        head: CatalogHead,
        /// The position up to which entries are here.
        known: Option<CatalogHead>,
        /// Entries that its catalog has at least, as it says.
        images: u64,
    },
    /// A member is gone; what is in flight with it is given up.
    MemberDown(PeerId),
    /// A member told its head, on its own or as an answer.
    Head {
        /// Who.
        peer: PeerId,
        /// Its head.
        head: CatalogHead,
    },
    /// A page came for a [`Action::Pull`] and is stored.
    Pulled {
        /// Whose.
        peer: PeerId,
        /// How far its catalog is known now.
        position: CatalogHead,
        /// Its head, as the page says.
        head: CatalogHead,
        /// How many entries of it are here now.
        rows: u64,
    },
    /// A [`Action::Pull`] brought more than any catalog may have.
    TooLong(PeerId),
    /// How many entries of whose catalogs are here, members that are away included.
    Cached(BTreeMap<PeerId, u64>),
    /// An [`Action::Forget`] ended.
    Forgot(PeerId),
    /// A [`Action::Pull`] brought no page, or one that can't be used.
    PullFailed(PeerId),
    /// The own catalog's head.
    OwnHead(CatalogHead),
    /// A [`Action::Announce`] ended; `ok`: it was answered.
    Announced {
        /// Who.
        peer: PeerId,
        /// Answered.
        ok: bool,
    },
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Ask for the page after what the index knows, and store it; report
    /// [`Event::Pulled`] or [`Event::PullFailed`].
    Pull(PeerId),
    /// The member's catalog is known to its end, and was not before.
    Synced(PeerId),
    /// The member was away and its catalog is known from before: compare the two.
    Compare(PeerId),
    /// There is no room for the member's catalog: remove all of it; report [`Event::Forgot`].
    Forget(PeerId),
    /// Send a `hello` with the own head; report [`Event::Announced`].
    Announce(PeerId),
}

#[derive(Debug)]
struct Member {
    head: CatalogHead,
    known: CatalogHead,
    /// [`Action::Synced`] was said for what is known.
    synced: bool,
    /// It is to be compared when it is synced.
    returned: bool,
    /// Its catalog is not kept: so many entries it had, at least.
    asked: Option<u64>,
    /// What there was of it is to be removed; `Some(true)`: is being removed.
    forgetting: Option<bool>,
    pulling: bool,
    failures: u32,
    pull_after: Instant,
    announcing: bool,
    told: Option<CatalogHead>,
    telling: Option<CatalogHead>,
    announce_failures: u32,
    announce_after: Instant,
}

impl Member {
    fn behind(&self) -> bool {
        self.known != self.head
    }

    fn to_pull(&self) -> bool {
        self.behind() && !self.pulling && self.asked.is_none()
    }
}

/// The plan for all members. Keeps some hundred bytes for each; the entries are elsewhere.
#[derive(Debug)]
pub struct CatalogPull {
    members: BTreeMap<PeerId, Member>,
    own: Option<CatalogHead>,
    budget: Budget,
    jitter: Jitter,
    pulling: usize,
    announcing: usize,
    /// Where the search for the next pull and announcement begins, so that each gets its turn.
    turn: Option<PeerId>,
}

impl CatalogPull {
    /// No members yet; `seed` spreads the retries.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            members: BTreeMap::new(),
            own: None,
            budget: Budget::new(MAX_CACHED_ENTRIES),
            jitter: Jitter::new(seed),
            pulling: 0,
            announcing: 0,
            turn: None,
        }
    }

    /// Keeps at most so many entries of all catalogs together.
    #[must_use]
    pub fn with_limit(mut self, entries: u64) -> Self {
        self.budget = Budget::new(entries);
        self
    }

    /// The live members whose catalogs are not kept.
    pub fn asked(&self) -> impl Iterator<Item = &PeerId> {
        self.members.iter().filter(|(_, member)| member.asked.is_some()).map(|(peer, _)| peer)
    }

    /// How far a member's catalog is known here, and its head.
    #[must_use]
    pub fn progress(&self, peer: &PeerId) -> Option<(CatalogHead, CatalogHead)> {
        self.members.get(peer).map(|member| (member.known, member.head))
    }

    /// Whether every live member's catalog is known to its end.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.members.values().all(|member| !member.behind() && member.asked.is_none())
    }

    /// Takes note of what happened.
    pub fn on_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::MemberUp { peer, head, known, images } => self.member_up(now, peer, head, known, images),
            Event::MemberDown(peer) => self.member_down(&peer),
            Event::Head { peer, head } => {
                if let Some(member) = self.members.get_mut(&peer) {
                    member.head = head;
                }
            }
            Event::Pulled { peer, position, head, rows } => {
                self.budget.set(peer, rows);
                self.pulled(now, peer, position, head);
                if self.budget.is_over() {
                    self.ask_instead(&peer);
                }
            }
            Event::TooLong(peer) => {
                self.pull_failed(now, &peer);
                self.ask_instead(&peer);
            }
            Event::Cached(rows) => {
                self.budget.is(rows);
                self.keep_again();
            }
            Event::Forgot(peer) => {
                self.budget.forget(&peer);
                if let Some(member) = self.members.get_mut(&peer) {
                    member.forgetting = None;
                    member.known = CatalogHead { epoch: member.head.epoch, seq: Seq(0) };
                }
                self.keep_again();
            }
            Event::PullFailed(peer) => self.pull_failed(now, &peer),
            Event::OwnHead(head) => self.own = Some(head),
            Event::Announced { peer, ok } => self.announced(now, &peer, ok),
        }
    }

    fn pulled(&mut self, now: Instant, peer: PeerId, position: CatalogHead, head: CatalogHead) {
        let Some(member) = self.members.get_mut(&peer).filter(|member| member.pulling) else { return };
        let known = member.known;
        let anew = position.epoch != known.epoch || position.seq < known.seq;
        if !anew && position.seq == known.seq && position != head {
            self.pull_failed(now, &peer);
            return;
        }
        self.pulling -= 1;
        member.pulling = false;
        member.head = head;
        member.known = position;
        // A catalog that begins anew with every page would be pulled without a pause.
        let pause = anew && known.seq != Seq(0);
        member.failures = if pause { member.failures.saturating_add(1) } else { 0 };
        member.pull_after = now;
        if pause {
            member.pull_after += self.jitter.pause(member.failures, PULL_RETRY_FIRST, PULL_RETRY_LONGEST);
        }
    }

    /// What to do next; `None` until an event or [`CatalogPull::next_wakeup`].
    pub fn next_action(&mut self, now: Instant) -> Option<Action> {
        self.next_forgotten()
            .or_else(|| self.next_synced())
            .or_else(|| self.next_pull(now))
            .or_else(|| self.next_announcement(now))
    }

    /// When there is something to do without a further event.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Instant> {
        let pulls = self.members.values().filter(|m| self.pulling < MAX_PULLS && m.to_pull());
        let tells = self.members.values().filter(|m| self.announcing < MAX_PULLS && self.to_tell(m));
        pulls.map(|m| m.pull_after).chain(tells.map(|m| m.announce_after)).min()
    }

    fn to_tell(&self, member: &Member) -> bool {
        !member.announcing && self.own.is_some() && member.told != self.own
    }

    /// The first member after the one whose turn was last that fits.
    fn next_in_turn(&mut self, fits: impl Fn(&Member) -> bool) -> Option<PeerId> {
        let after = self.turn.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let mut in_turn = self.members.range((after, std::ops::Bound::Unbounded)).chain(&self.members);
        let peer = in_turn.find(|(_, member)| fits(member)).map(|(peer, _)| *peer)?;
        self.turn = Some(peer);
        Some(peer)
    }

    fn next_synced(&mut self) -> Option<Action> {
        let news = |member: &Member| {
            !member.behind() && member.asked.is_none() && (!member.synced || member.returned)
        };
        let (peer, member) = self.members.iter_mut().find(|(_, member)| news(member))?;
        if std::mem::replace(&mut member.synced, true) {
            member.returned = false;
            return Some(Action::Compare(*peer));
        }
        Some(Action::Synced(*peer))
    }

    fn next_forgotten(&mut self) -> Option<Action> {
        let (peer, member) = self.members.iter_mut().find(|(_, member)| member.forgetting == Some(false))?;
        member.forgetting = Some(true);
        Some(Action::Forget(*peer))
    }

    /// The catalog of this member is one too many.
    fn ask_instead(&mut self, peer: &PeerId) {
        let entries = self.budget.of(peer);
        let Some(member) = self.members.get_mut(peer).filter(|member| member.asked.is_none()) else { return };
        member.asked = Some(entries);
        member.forgetting = Some(false);
        member.synced = false;
        member.returned = false;
    }

    /// Catalogs that have room now are kept.
    fn keep_again(&mut self) {
        for member in self.members.values_mut().filter(|member| member.forgetting.is_none()) {
            if member.asked.is_some_and(|entries| self.budget.has_ample_room(entries)) {
                member.asked = None;
                // One at a time: how many entries it has shows when they are here.
                return;
            }
        }
    }

    fn next_pull(&mut self, now: Instant) -> Option<Action> {
        if self.pulling >= MAX_PULLS {
            return None;
        }
        let peer = self.next_in_turn(|m| m.to_pull() && m.pull_after <= now)?;
        let member = self.members.get_mut(&peer)?;
        member.pulling = true;
        self.pulling += 1;
        member.synced = false;
        Some(Action::Pull(peer))
    }

    fn next_announcement(&mut self, now: Instant) -> Option<Action> {
        let own = self.own.filter(|_| self.announcing < MAX_PULLS)?;
        let due = |m: &Member| !m.announcing && m.told != Some(own) && m.announce_after <= now;
        let peer = self.next_in_turn(due)?;
        let pause = ANNOUNCE_EVERY.max(ANNOUNCE_PER_MEMBER * self.members.len() as u32);
        let member = self.members.get_mut(&peer)?;
        member.announcing = true;
        member.telling = Some(own);
        member.announce_after = now + pause;
        self.announcing += 1;
        Some(Action::Announce(peer))
    }

    fn member_up(
        &mut self,
        now: Instant,
        peer: PeerId,
        head: CatalogHead,
        known: Option<CatalogHead>,
        images: u64,
    ) {
        self.member_down(&peer);
        // One that is empty now may not be later; with a limit of 0 nobody is kept.
        let fits = known.is_some() || self.budget.has_room(images.max(1));
        // What began anew is read from the start anyway.
        let returned = known.is_some_and(|known| known.epoch == head.epoch && known.seq <= head.seq);
        // The `hello` that made it a member told it the own head: of that moment, at most.
        let fresh = Member {
            head,
            known: known.unwrap_or(CatalogHead { epoch: head.epoch, seq: Seq(0) }),
            synced: false,
            returned,
            asked: (!fits).then_some(images),
            forgetting: None,
            pulling: false,
            failures: 0,
            pull_after: now,
            announcing: false,
            told: None,
            telling: None,
            announce_failures: 0,
            announce_after: now + ANNOUNCE_EVERY,
        };
        self.members.insert(peer, fresh);
    }

    fn member_down(&mut self, peer: &PeerId) {
        if let Some(member) = self.members.remove(peer) {
            self.pulling -= usize::from(member.pulling);
            self.announcing -= usize::from(member.announcing);
        }
    }

    fn pull_failed(&mut self, now: Instant, peer: &PeerId) {
        let Some(member) = self.members.get_mut(peer).filter(|member| member.pulling) else { return };
        self.pulling -= 1;
        member.pulling = false;
        member.failures = member.failures.saturating_add(1);
        member.pull_after = now + self.jitter.pause(member.failures, PULL_RETRY_FIRST, PULL_RETRY_LONGEST);
    }

    fn announced(&mut self, now: Instant, peer: &PeerId, ok: bool) {
        let Some(member) = self.members.get_mut(peer).filter(|member| member.announcing) else { return };
        self.announcing -= 1;
        member.announcing = false;
        if ok {
            member.told = member.telling;
            member.announce_failures = 0;
        } else {
            member.announce_failures = member.announce_failures.saturating_add(1);
            let pause: Duration =
                self.jitter.pause(member.announce_failures, PULL_RETRY_FIRST, PULL_RETRY_LONGEST);
            member.announce_after = member.announce_after.max(now + pause);
        }
    }
}

#[cfg(test)]
mod tests;
