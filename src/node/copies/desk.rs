//! The desk of copies: who counts, what is offered, what comes in, what goes.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::PeerId;

use super::survey::{Excess, Surveyed};
use crate::limits::{MAX_PROBE_FAILURES, PROBE_AGAIN, PROBE_EVERY, RATE_WINDOW, RECONCILE_EVERY};
use crate::protocol::{Census, CopiesStatus, DrainStatus, Hello, Keeps, MemberState};
use crate::replication::absence::{self, Absence, State};
use crate::replication::intake::Intake;
use crate::replication::placement::{Place, Weight};
use crate::replication::repair::{self, Repair};
use crate::replication::rounds::Rounds;
use crate::replication::survey::{Member, View};
use crate::replication::wishes::Wish;
use crate::types::{ContentId, FolderId, Standing};

/// How a node keeps copies.
#[derive(Debug, Clone)]
pub(in crate::node) struct CopySettings {
    pub(in crate::node) me: PeerId,
    pub(in crate::node) folder: FolderId,
    pub(in crate::node) keeps: Keeps,
    pub(in crate::node) copies: u16,
    pub(in crate::node) repair_after: Duration,
    pub(in crate::node) trim_after: Duration,
    /// Peers that the index knows, with their folders: they are expected back.
    pub(in crate::node) known: Vec<(PeerId, FolderId)>,
    /// How long they stayed away before.
    pub(in crate::node) absences: Vec<(PeerId, Duration)>,
}

/// What is known of a member, also while it is away.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    place: Place,
    pub(super) copies: u16,
    takes: bool,
    trusted: bool,
}

/// The planners of copies, and what is under way.
#[derive(Debug)]
pub(in crate::node) struct CopyDesk {
    pub(super) own: Seen,
    pub(super) repair: Repair,
    pub(super) intake: Intake,
    pub(super) absence: Absence,
    pub(super) rounds: Rounds,
    pub(super) seen: HashMap<PeerId, Seen>,
    states: BTreeMap<PeerId, State>,
    pub(super) view: Arc<View>,
    trim_after: Duration,
    /// Since when own originals have been excess.
    excess_since: BTreeMap<ContentId, Instant>,
    excess: Vec<Wish>,
    excess_count: u64,
    pub(super) last: Option<(Census, Instant)>,
    short: u64,
    sole: u64,
    pub(super) draining: Option<Instant>,
    pub(super) cut_off: bool,
    /// When some member's state may change by itself.
    pub(super) next_refresh: Option<Instant>,
    failures: HashMap<PeerId, u32>,
    /// Members that are probed before others: something has failed with them.
    doubtful: BTreeSet<PeerId>,
    pub(super) next_probe: Instant,
    pub(super) next_reconcile: Instant,
    pub(super) probes: u64,
    pub(super) sizes: HashMap<ContentId, u64>,
    taken: (u64, u64),
    recent: VecDeque<(Instant, u64)>,
    pub(super) settled: bool,
}

impl CopyDesk {
    pub(in crate::node) fn new(now: Instant, settings: CopySettings) -> Self {
        let CopySettings { me, folder, keeps, copies, repair_after, trim_after, known, absences } = settings;
        let weight = Weight(keeps.weight);
        let place = Place { peer: me, folder, weight, zone: keeps.zone };
        let own = Seen { place, copies: copies.max(1), takes: true, trusted: true };
        let mut absence = Absence::new(repair_after);
        for (peer, away) in absences {
            absence.remember(peer, away);
        }
        let mut seen = HashMap::new();
        for (peer, folder) in known {
            // They have had no time to connect yet.
            absence.on_event(now, absence::Event::Down(peer));
            let place = Place { peer, folder, weight: Weight::NONE, zone: None };
            // Whether it may be trusted shows when it comes back. Until then its copies keep this
            // node from making others, which is what it would do anyway.
            seen.insert(peer, Seen { place, copies: 0, takes: false, trusted: true });
        }
        let member = |own: &Seen| Member { place: own.place.clone(), state: State::Live, copies: own.copies };
        let view = Arc::new(View { me: member(&own), members: BTreeMap::new() });
        Self {
            own,
            repair: Repair::new(),
            intake: Intake::new(),
            absence,
            rounds: Rounds::new(now),
            seen,
            states: BTreeMap::new(),
            view,
            trim_after,
            excess_since: BTreeMap::new(),
            excess: Vec::new(),
            excess_count: 0,
            last: None,
            short: 0,
            sole: 0,
            draining: None,
            cut_off: false,
            next_refresh: Some(now),
            failures: HashMap::new(),
            doubtful: BTreeSet::new(),
            next_probe: now + PROBE_EVERY,
            next_reconcile: now + RECONCILE_EVERY,
            probes: 0,
            sizes: HashMap::new(),
            taken: (0, 0),
            recent: VecDeque::new(),
            settled: false,
        }
    }

    /// A member came up, or told more of itself.
    pub(in crate::node) fn heard(&mut self, now: Instant, peer: PeerId, hello: &Hello, trusted: bool) {
        let Keeps { weight, zone, takes, draining, .. } = hello.keeps.clone();
        let place = Place { peer, folder: hello.folder, weight: Weight(weight), zone };
        self.seen.insert(peer, Seen { place, copies: hello.decides.copies, takes, trusted });
        let state = self.absence.state(now, &peer);
        if !matches!(state, State::Live | State::Failing | State::Draining) {
            self.absence.on_event(now, absence::Event::Up(peer));
        }
        if draining {
            self.absence.on_event(now, absence::Event::Draining(peer));
        } else if state == State::Draining {
            self.absence.on_event(now, absence::Event::Staying(peer));
        }
        self.refresh(now);
    }

    pub(in crate::node) fn gone(&mut self, now: Instant, peer: PeerId) {
        if self.seen.contains_key(&peer) {
            self.absence.on_event(now, absence::Event::Down(peer));
            self.failures.remove(&peer);
            self.doubtful.remove(&peer);
            self.refresh(now);
        }
    }

    /// Something that a survey may see has changed.
    pub(in crate::node) fn changed(&mut self) {
        self.rounds.changed();
    }

    /// How long members stayed away, to be written down.
    pub(in crate::node) fn absences(&self) -> Vec<(PeerId, Duration)> {
        self.absence.history()
    }

    /// The machine slept: nobody is judged by that time.
    pub(in crate::node) fn slept(&mut self, now: Instant) {
        self.absence.slept(now);
        self.next_refresh = Some(now);
    }

    pub(in crate::node) fn excess(&self) -> &[Wish] {
        &self.excess
    }

    pub(in crate::node) fn state(&self, peer: &PeerId) -> Option<MemberState> {
        self.states.get(peer).map(|state| match state {
            State::Live => MemberState::Live,
            State::Suspect => MemberState::Suspect,
            State::Away => MemberState::Away,
            State::Down => MemberState::Down,
            State::Failing => MemberState::Failing,
            State::Draining => MemberState::Draining,
        })
    }

    pub(in crate::node) fn next_wakeup(&self) -> Option<Instant> {
        let planners = [self.repair.next_wakeup(), self.rounds.next_wakeup(), self.next_refresh];
        planners.into_iter().flatten().chain([self.next_probe, self.next_reconcile]).min()
    }

    pub(in crate::node) fn status(&self, now: Instant, room: u64) -> CopiesStatus {
        let (incoming, incoming_bytes) = self.intake.under_way();
        let recent: u64 = self.recent.iter().filter(|(at, _)| *at + RATE_WINDOW > now).map(|(_, b)| b).sum();
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
            rate: recent / RATE_WINDOW.as_secs().max(1),
            excess: self.excess_count,
            cut_off: self.cut_off,
            draining: self.draining.is_some(),
            room,
        }
    }

    pub(super) fn drain_status(&self) -> DrainStatus {
        let began = self.last.map(|(_, at)| at);
        let surveyed = self.draining.is_some_and(|since| began.is_some_and(|at| at >= since));
        DrainStatus {
            draining: self.draining.is_some(),
            surveyed,
            left: self.short,
            sole: self.sole,
            without_taker: self.repair.without_taker() as u64,
        }
    }

    /// Whether all that can be handed over has been.
    pub(in crate::node) fn is_drained(&self) -> bool {
        let DrainStatus { surveyed, left, .. } = self.drain_status();
        surveyed && left == 0
    }

    /// Computes anew who counts; whether that is news.
    pub(super) fn refresh(&mut self, now: Instant) -> bool {
        self.cut_off = self.absence.cut_off(now);
        self.next_refresh = self.absence.next_wakeup(now);
        let states: BTreeMap<PeerId, State> =
            self.seen.keys().map(|peer| (*peer, self.absence.state(now, peer))).collect();
        let own_state = if self.draining.is_some() { State::Draining } else { State::Live };
        let member = |seen: &Seen, state| Member { place: seen.place.clone(), state, copies: seen.copies };
        let members = self
            .seen
            .iter()
            .filter(|(_, seen)| seen.trusted)
            .filter_map(|(peer, seen)| Some((*peer, member(seen, *states.get(peer)?))));
        let view = View { me: member(&self.own, own_state), members: members.collect() };
        self.states = states;
        if view.members == self.view.members && view.me == self.view.me {
            return false;
        }
        let takes = |member: &&Member| {
            let takes = self.seen.get(&member.place.peer).is_some_and(|seen| seen.takes);
            member.state == State::Live && takes
        };
        let takers: Vec<Place> =
            view.members.values().filter(takes).map(|member| member.place.clone()).collect();
        let others = view.members.values().filter(|member| !takes(member));
        let others = others.map(|member| member.place.clone()).chain([view.me.place.clone()]).collect();
        self.repair.on_event(now, repair::Event::Members { takers, others });
        self.view = Arc::new(view);
        self.rounds.changed();
        true
    }

    pub(super) fn surveyed(&mut self, now: Instant, surveyed: Option<Box<Surveyed>>) {
        let Some(surveyed) = surveyed else { return self.rounds.ended(now, false) };
        self.rounds.ended(now, true);
        let Surveyed { shorts, short, sole, excess, census, began } = *surveyed;
        // More than are named: as soon as some of these are done.
        if short > shorts.len() as u64 {
            self.rounds.changed();
        }
        self.last = Some((census, began));
        (self.short, self.sole) = (short, sole);
        self.repair.on_event(now, repair::Event::Surveyed(shorts));
        self.excess_count = excess.len() as u64;
        self.trim(now, excess);
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

    pub(super) fn delivered(&mut self, now: Instant, peer: PeerId, ok: bool) {
        if ok {
            self.failures.remove(&peer);
            self.doubtful.remove(&peer);
            self.absence.on_event(now, absence::Event::Working(peer));
        } else {
            let failures = self.failures.entry(peer).or_default();
            *failures += 1;
            if *failures < MAX_PROBE_FAILURES {
                self.doubtful.insert(peer);
                self.next_probe = self.next_probe.min(now + PROBE_AGAIN);
                return;
            }
            self.doubtful.remove(&peer);
            self.absence.on_event(now, absence::Event::Failing(peer));
        }
        self.refresh(now);
    }

    pub(super) fn pulled(&mut self, now: Instant, content: ContentId, from: &[PeerId], ok: bool) {
        self.intake.ended(content);
        if !ok {
            // This node's disk may be at fault, or they: a probe tells.
            self.doubtful.extend(from.iter().filter(|peer| self.states.contains_key(peer)));
            self.next_probe = self.next_probe.min(now + PROBE_AGAIN);
        }
        let bytes = self.sizes.remove(&content).unwrap_or(0);
        if ok {
            self.taken = (self.taken.0 + 1, self.taken.1 + bytes);
            self.recent.push_back((now, bytes));
            while self.recent.front().is_some_and(|(at, _)| *at + RATE_WINDOW <= now) {
                self.recent.pop_front();
            }
        }
    }

    /// The next member to ask for a chunk: each in turn, but first those that have just failed. By
    /// turns alone one of a hundred would count for hours.
    pub(super) fn next_probed(&mut self, live: &HashMap<PeerId, Standing>) -> Option<PeerId> {
        // Out of the set with the question: one that is too busy to answer keeps nobody else waiting.
        while let Some(peer) = self.doubtful.pop_first() {
            if live.get(&peer) == Some(&Standing::Trusted) {
                return Some(peer);
            }
        }
        self.next_in_turn(live)
    }

    /// The next member in turn.
    pub(super) fn next_in_turn(&mut self, live: &HashMap<PeerId, Standing>) -> Option<PeerId> {
        let members: BTreeSet<PeerId> = live
            .iter()
            .filter(|(_, standing)| **standing == Standing::Trusted)
            .map(|(peer, _)| *peer)
            .collect();
        let number = usize::try_from(self.probes).unwrap_or(0).checked_rem(members.len())?;
        self.probes = self.probes.wrapping_add(1);
        members.into_iter().nth(number)
    }
}

#[cfg(test)]
mod tests;
