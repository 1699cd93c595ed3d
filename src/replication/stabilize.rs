//! Keeping the number of copies right, put together: who counts, when to survey, what is offered,
//! what comes in, what is one too many. What Chord calls `stabilize()`.
//!
//! The parts decide ([`Absence`], [`Rounds`], [`Repair`], [`Intake`], [`Probes`]); this hands each what
//! it has to know of the others. Floor 4 carries out the actions and tells what came of them, and so
//! does the simulation (`tests/sim`).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::PeerId;

use super::absence::{self, Absence, State};
use super::intake::{Intake, Known};
use super::placement::{Place, Weight};
use super::probes::Probes;
use super::repair::{self, Offer, Repair};
use super::rounds::Rounds;
use super::survey::{Excess, Member, View};
use super::wishes::Wish;
use crate::limits::{MAX_KNOWN_PEERS, RATE_WINDOW};
use crate::protocol::{Census, CopiesStatus, DrainStatus, Keeps, OfferAnswer, Offered};
use crate::types::{ContentId, FolderId};

mod words;

pub use words::{Action, Event, Settings, Surveyed};

/// What is known of a member, also while it is away.
#[derive(Debug, Clone)]
struct Seen {
    place: Place,
    copies: u16,
    takes: bool,
}

/// The planner.
#[derive(Debug)]
pub struct Stabilize {
    own: Seen,
    repair: Repair,
    intake: Intake,
    absence: Absence,
    rounds: Rounds,
    seen: BTreeMap<PeerId, Seen>,
    view: Arc<View>,
    trim_after: Duration,
    /// Since when own originals have been excess.
    excess_since: BTreeMap<ContentId, Instant>,
    excess: Vec<Wish>,
    excess_count: u64,
    last: Option<(Census, Instant)>,
    /// The last survey was made for leaving.
    leaving: bool,
    short: u64,
    sole: u64,
    folder_known: Option<Instant>,
    draining: Option<Instant>,
    cut_off: bool,
    /// When some member's state may change.
    next_refresh: Option<Instant>,
    probes: Probes,
    pulling: BTreeMap<ContentId, (u64, Vec<PeerId>)>,
    taken: (u64, u64),
    recent: VecDeque<(Instant, u64)>,
    settled: bool,
    notices: VecDeque<Action>,
}

impl Stabilize {
    /// Of a node that starts now.
    #[must_use]
    pub fn new(now: Instant, settings: Settings) -> Self {
        let Settings { me, folder, keeps, copies, repair_after, trim_after, known, absences } = settings;
        let place = Place { peer: me, folder, weight: Weight(keeps.weight), zone: keeps.zone };
        let own = Seen { place, copies: copies.max(1), takes: true };
        let mut absence = Absence::new(repair_after);
        for (peer, away) in absences {
            absence.remember(peer, away);
        }
        let mut seen = BTreeMap::new();
        for (peer, folder) in known {
            // They have had no time to connect yet. Whether each may be trusted shows when it comes
            // back; until then its copies only keep this node from making others.
            absence.on_event(now, absence::Event::Down(peer));
            let place = Place { peer, folder, weight: Weight::NONE, zone: None };
            seen.insert(peer, Seen { place, copies: 0, takes: false });
        }
        let me = Member { place: own.place.clone(), state: State::Live, copies: own.copies };
        Self {
            own,
            repair: Repair::new(),
            intake: Intake::new(),
            absence,
            rounds: Rounds::new(now),
            seen,
            view: Arc::new(View { me, members: BTreeMap::new() }),
            trim_after,
            excess_since: BTreeMap::new(),
            excess: Vec::new(),
            excess_count: 0,
            last: None,
            leaving: false,
            short: 0,
            sole: 0,
            folder_known: None,
            draining: None,
            cut_off: false,
            next_refresh: Some(now),
            probes: Probes::new(now),
            pulling: BTreeMap::new(),
            taken: (0, 0),
            recent: VecDeque::new(),
            settled: false,
            notices: VecDeque::new(),
        }
    }

    /// Takes note of what happened.
    pub fn on_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Heard { peer, folder, copies, keeps } => self.heard(now, peer, folder, copies, keeps),
            Event::Gone(peer) => self.gone(now, peer),
            Event::Changed => self.rounds.changed(),
            Event::ChangedUntil(at) => self.rounds.at(at),
            Event::LookNear(until) => self.rounds.hold(now, until),
            Event::FolderKnown => {
                self.folder_known.get_or_insert(now);
            }
            Event::Slept => {
                self.absence.slept(now);
                self.next_refresh = Some(now);
            }
            Event::Surveyed(None) => self.rounds.ended(now, false),
            Event::Surveyed(Some(surveyed)) => self.surveyed(now, *surveyed),
            Event::Answered { peer, answers: Some(answers) } => {
                self.repair.on_event(now, repair::Event::Answered { peer, answers });
            }
            Event::Answered { peer, answers: None } => {
                self.repair.on_event(now, repair::Event::Failed(peer));
            }
            Event::Pulled { content, ok } => self.pulled(now, content, ok),
            Event::Probed { peer, ok } => self.probed(now, peer, ok),
            Event::Busy(peer) => self.busy(now, peer),
            Event::Drain { cancel } => self.drain(now, cancel),
        }
    }

    /// Answers what a member offers: see [`Intake::offered`].
    pub fn offered(
        &mut self,
        from: PeerId,
        offers: Vec<Offered>,
        known: &dyn Fn(&ContentId) -> Known,
        room: u64,
    ) -> Vec<OfferAnswer> {
        self.intake.offered(from, offers, known, room)
    }

    /// What to do next; `None` until an event or [`Stabilize::next_wakeup`].
    pub fn next_action(&mut self, now: Instant) -> Option<Action> {
        if self.next_refresh.is_some_and(|at| at <= now) {
            self.refresh(now);
        }
        if let Some(notice) = self.notices.pop_front() {
            return Some(notice);
        }
        if self.rounds.next_action(now) {
            return Some(Action::Survey(Arc::clone(&self.view)));
        }
        if let Some(Offer { peer, contents }) = self.repair.next_action(now) {
            let counted = contents.into_iter().map(|content| (content, self.repair.copies(&content)));
            return Some(Action::Offer { peer, contents: counted.collect() });
        }
        if let Some(pull) = self.intake.next_action() {
            self.pulling.insert(pull.offered.content, (pull.offered.bytes, pull.from.clone()));
            return Some(Action::Pull(pull));
        }
        if self.probes.next_wakeup() > now {
            return None;
        }
        // What passes between this and a sleep is taken for sleep.
        self.absence.awake(now);
        let here = self.here();
        if let Some((peer, number)) = self.probes.next_probe(now, &here) {
            return Some(Action::Probe { peer, number });
        }
        self.probes.next_comparison(now, &here).map(Action::Compare)
    }

    /// When to call [`Stabilize::next_action`] without an event.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Instant> {
        let planners = [self.repair.next_wakeup(), self.rounds.next_wakeup(), self.next_refresh];
        planners.into_iter().flatten().chain([self.probes.next_wakeup()]).min()
    }

    /// Own copies that are to go because there are more than enough.
    #[must_use]
    pub fn excess(&self) -> &[Wish] {
        &self.excess
    }

    /// How many contents come to this node, and their bytes.
    #[must_use]
    pub fn incoming(&self) -> (usize, u64) {
        self.intake.under_way()
    }

    /// Whether a trusted member's copies count.
    #[must_use]
    pub fn state(&self, peer: &PeerId) -> Option<State> {
        self.view.members.get(peer).map(|member| member.state)
    }

    /// How long members stayed away, to be written down.
    #[must_use]
    pub fn absences(&self) -> Vec<(PeerId, Duration)> {
        self.absence.history()
    }

    /// Whether this node hands over what it holds.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.is_some()
    }

    /// The planner's part of the status; `room`: bytes that copies of others may still take.
    #[must_use]
    pub fn status(&self, now: Instant, room: u64) -> CopiesStatus {
        let (incoming, incoming_bytes) = self.intake.under_way();
        let recent = self.recent.iter().filter(|(at, _)| *at + RATE_WINDOW > now).map(|(_, bytes)| bytes);
        CopiesStatus {
            wanted: self.own.copies,
            census: self.last.map(|(census, _)| census),
            surveyed_s: self.last.map(|(_, at)| now.saturating_duration_since(at).as_secs()),
            short: self.short,
            without_taker: self.repair.without_taker() as u64,
            incoming: incoming as u64,
            incoming_bytes,
            taken: self.taken.0,
            taken_bytes: self.taken.1,
            rate: recent.sum::<u64>() / RATE_WINDOW.as_secs().max(1),
            excess: self.excess_count,
            cut_off: self.cut_off,
            draining: self.draining.is_some(),
            room,
        }
    }

    /// How far handing over is.
    #[must_use]
    pub fn drain_status(&self) -> DrainStatus {
        // A survey of the time before may have counted this node's own copies, or not have known all
        // of the folder.
        let since = self.draining.zip(self.folder_known).map(|(draining, known)| draining.max(known));
        let began = self.last.map(|(_, began)| began);
        let surveyed = self.leaving && since.is_some_and(|since| began.is_some_and(|began| began >= since));
        DrainStatus {
            draining: self.draining.is_some(),
            surveyed,
            left: self.short,
            sole: self.sole,
            without_taker: self.repair.without_taker() as u64,
        }
    }

    fn heard(&mut self, now: Instant, peer: PeerId, folder: FolderId, copies: u16, keeps: Keeps) {
        if !self.make_room(now, &peer) {
            return;
        }
        let Keeps { weight, zone, takes, draining, .. } = keeps;
        let place = Place { peer, folder, weight: Weight(weight), zone };
        self.seen.insert(peer, Seen { place, copies, takes });
        let state = self.absence.state(now, &peer);
        if !matches!(state, State::Live | State::Failing | State::Draining) {
            self.absence.on_event(now, absence::Event::Up(peer));
        }
        if draining {
            self.absence.on_event(now, absence::Event::Draining(peer));
        } else if state == State::Draining {
            self.absence.on_event(now, absence::Event::Staying(peer));
        }
        self.next_refresh = Some(now);
    }

    /// Whether a member may be remembered: one that is down, if need be, is forgotten for it.
    fn make_room(&mut self, now: Instant, peer: &PeerId) -> bool {
        if self.seen.len() < MAX_KNOWN_PEERS || self.seen.contains_key(peer) {
            return true;
        }
        let down = self.seen.keys().find(|peer| self.absence.state(now, peer) == State::Down).copied();
        let Some(down) = down else { return false };
        self.seen.remove(&down);
        self.absence.on_event(now, absence::Event::Forgotten(down));
        true
    }

    fn gone(&mut self, now: Instant, peer: PeerId) {
        if self.seen.contains_key(&peer) {
            self.absence.on_event(now, absence::Event::Down(peer));
            self.probes.forget(&peer);
            self.next_refresh = Some(now);
        }
    }

    /// Computes anew who counts.
    fn refresh(&mut self, now: Instant) {
        self.next_refresh = self.absence.next_wakeup(now);
        let cut_off = self.absence.cut_off(now);
        if cut_off != self.cut_off {
            self.cut_off = cut_off;
            self.notices.push_back(Action::CutOff(cut_off));
        }
        let member = |seen: &Seen, state| Member { place: seen.place.clone(), state, copies: seen.copies };
        let own_state = if self.draining.is_some() { State::Draining } else { State::Live };
        let members =
            self.seen.iter().map(|(peer, seen)| (*peer, member(seen, self.absence.state(now, peer))));
        let view = View { me: member(&self.own, own_state), members: members.collect() };
        if view == *self.view {
            return;
        }
        let takes = |member: &&Member| {
            let takes = self.seen.get(&member.place.peer).is_some_and(|seen| seen.takes);
            member.state == State::Live && takes
        };
        let takers = view.members.values().filter(takes).map(|member| member.place.clone()).collect();
        let others = view.members.values().filter(|member| !takes(member));
        let others = others.map(|member| member.place.clone()).chain([view.me.place.clone()]).collect();
        self.repair.on_event(now, repair::Event::Members { takers, others });
        self.view = Arc::new(view);
        self.rounds.changed();
    }

    fn surveyed(&mut self, now: Instant, surveyed: Surveyed) {
        self.rounds.ended(now, true);
        let was_drained = self.is_drained();
        let Surveyed { shorts, short, sole, excess, census, began, leaving } = surveyed;
        // More than are named: as soon as some of these are done.
        if short > shorts.len() as u64 {
            self.rounds.changed();
        }
        self.last = Some((census, began));
        (self.short, self.sole, self.leaving) = (short, sole, leaving);
        self.repair.on_event(now, repair::Event::Surveyed(shorts));
        self.excess_count = excess.len() as u64;
        self.trim(now, excess);
        let settled = census.contents > 0 && census.short == 0;
        if settled && !self.settled {
            let (contents, copies) = (census.contents, self.own.copies);
            self.notices.push_back(Action::Settled { contents, copies });
        }
        self.settled = settled;
        if self.is_drained() && !was_drained {
            self.notices.push_back(Action::Drained);
        }
    }

    fn is_drained(&self) -> bool {
        let DrainStatus { surveyed, left, .. } = self.drain_status();
        surveyed && left == 0
    }

    /// Replicas go at once, originals when they have been excess for a while.
    fn trim(&mut self, now: Instant, excess: Vec<Excess>) {
        let mut since = std::mem::take(&mut self.excess_since);
        self.excess.clear();
        for Excess { wish, hidden } in excess {
            let subject = wish.plan.subject;
            if hidden {
                self.excess.push(wish);
                continue;
            }
            let at = since.remove(&subject).unwrap_or(now);
            self.excess_since.insert(subject, at);
            if at + self.trim_after <= now {
                self.excess.push(wish);
            } else {
                self.rounds.at(at + self.trim_after);
            }
        }
    }

    fn probed(&mut self, now: Instant, peer: PeerId, ok: bool) {
        if !self.seen.contains_key(&peer) {
            return;
        }
        let failing = self.probes.showed(now, peer, ok);
        if ok || failing {
            let event = if ok { absence::Event::Working(peer) } else { absence::Event::Failing(peer) };
            self.absence.on_event(now, event);
            self.next_refresh = Some(now);
        }
    }

    fn busy(&mut self, now: Instant, peer: PeerId) {
        if self.seen.contains_key(&peer) && self.probes.was_busy(now, peer) {
            self.absence.on_event(now, absence::Event::Failing(peer));
            self.next_refresh = Some(now);
        }
    }

    fn pulled(&mut self, now: Instant, content: ContentId, ok: bool) {
        self.intake.ended(content);
        let Some((bytes, from)) = self.pulling.remove(&content) else { return };
        if !ok {
            // This node's disk may be at fault, or they: a probe tells.
            let known = from.into_iter().filter(|peer| self.seen.contains_key(peer));
            return self.probes.doubt(now, known);
        }
        self.taken = (self.taken.0 + 1, self.taken.1.saturating_add(bytes));
        self.recent.push_back((now, bytes));
        while self.recent.front().is_some_and(|(at, _)| *at + RATE_WINDOW <= now) {
            self.recent.pop_front();
        }
    }

    /// Members that are connected, as far as is known: one that fails has to be able to show that it
    /// works again.
    fn here(&self) -> Vec<PeerId> {
        let answers =
            |member: &&Member| matches!(member.state, State::Live | State::Failing | State::Draining);
        self.view.members.values().filter(answers).map(|member| member.place.peer).collect()
    }

    fn drain(&mut self, now: Instant, cancel: bool) {
        if self.draining.is_some() != cancel {
            return;
        }
        self.draining = (!cancel).then_some(now);
        self.intake.close(!cancel);
        self.next_refresh = Some(now);
    }
}

#[cfg(test)]
mod tests;
