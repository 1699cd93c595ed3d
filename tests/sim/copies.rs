//! The node's part of copies, wired as in `src/node/copies`, with a simulated disk and network.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use libp2p::PeerId;
use p2pimg::limits::{MAX_WISH_HOLDERS, REPAIR_AFTER, TRIM_AFTER};
use p2pimg::protocol::Keeps;
use p2pimg::replication::absence::{self, Absence, State};
use p2pimg::replication::drop::{Plan, Why};
use p2pimg::replication::intake::Intake;
use p2pimg::replication::placement::{self, Holder, Place, Weight};
use p2pimg::replication::rank;
use p2pimg::replication::repair::{self, Repair, Short};
use p2pimg::replication::rounds::Rounds;
use p2pimg::replication::survey::{self, Duty, Member, View};
use p2pimg::replication::wishes::Wish;
use p2pimg::types::{ContentId, FolderId};

use crate::world::{Broken, Ms, What, World};

/// What a member says of itself.
pub(crate) struct Hello {
    pub(crate) peer: PeerId,
    pub(crate) folder: FolderId,
    pub(crate) copies: u16,
    pub(crate) keeps: Keeps,
}

#[derive(Debug, Clone)]
struct Seen {
    place: Place,
    copies: u16,
    takes: bool,
}

#[derive(Debug)]
struct Surveyed {
    shorts: Vec<Short>,
    /// Each with whether it is a replica.
    excess: Vec<(Wish, bool)>,
    began: Instant,
}

#[derive(Debug)]
pub(crate) struct Copies {
    own: Seen,
    pub(crate) repair: Repair,
    pub(crate) intake: Intake,
    absence: Absence,
    rounds: Rounds,
    seen: BTreeMap<PeerId, Seen>,
    view: View,
    excess_since: BTreeMap<ContentId, Instant>,
    excess: Vec<Wish>,
    draining: Option<Instant>,
    next_refresh: Option<Instant>,
    surveying: Option<Surveyed>,
    last: Option<Instant>,
    short: usize,
    /// What the last survey found of each content, as long as the members are the same: the
    /// same holders mean the same, and most of the time would go into this.
    judged: BTreeMap<usize, Judged>,
    broken: Broken,
}

type Judged = (Vec<(usize, bool)>, (survey::Copies, Duty));

impl Copies {
    pub(crate) fn new(world: &World, n: usize) -> Self {
        let (node, now) = (&world.nodes[n], world.instant(n));
        let place =
            Place { peer: node.peer, folder: node.folder, weight: node.weight, zone: node.zone.clone() };
        let own = Seen { place, copies: world.set.copies, takes: true };
        let mut absence = Absence::new(REPAIR_AFTER);
        let mut seen = BTreeMap::new();
        // Those that the index knows.
        for other in (0..world.nodes.len()).filter(|other| node.seen[*other] > 0) {
            let known = &world.nodes[other];
            absence.on_event(now, absence::Event::Down(known.peer));
            let place = Place { peer: known.peer, folder: known.folder, weight: Weight::NONE, zone: None };
            seen.insert(known.peer, Seen { place, copies: 0, takes: false });
        }
        let me = Member { place: own.place.clone(), state: State::Live, copies: own.copies };
        Self {
            own,
            repair: Repair::new(),
            intake: Intake::new(),
            absence,
            rounds: Rounds::new(now),
            seen,
            view: View { me, members: BTreeMap::new() },
            excess_since: BTreeMap::new(),
            excess: Vec::new(),
            draining: None,
            next_refresh: Some(now),
            surveying: None,
            last: None,
            short: 0,
            judged: BTreeMap::new(),
            broken: world.set.broken,
        }
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.is_some()
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.draining.is_some_and(|since| self.last.is_some_and(|at| at >= since)) && self.short == 0
    }

    pub(crate) fn heard(&mut self, now: Instant, hello: &Hello) {
        self.hear(now, hello);
        self.refresh(now);
    }

    /// As [`Copies::heard`], for a swarm that is met all at once.
    pub(crate) fn hear(&mut self, now: Instant, hello: &Hello) {
        let Keeps { weight, zone, takes, draining, .. } = hello.keeps.clone();
        let (peer, weight) = (hello.peer, Weight(weight));
        let place = Place { peer, folder: hello.folder, weight, zone };
        self.seen.insert(peer, Seen { place, copies: hello.copies, takes });
        let state = self.absence.state(now, &peer);
        if !matches!(state, State::Live | State::Failing | State::Draining) {
            self.absence.on_event(now, absence::Event::Up(peer));
        }
        if draining {
            self.absence.on_event(now, absence::Event::Draining(peer));
        } else if state == State::Draining {
            self.absence.on_event(now, absence::Event::Staying(peer));
        }
    }

    pub(crate) fn gone(&mut self, now: Instant, peer: PeerId) {
        if self.seen.contains_key(&peer) {
            self.absence.on_event(now, absence::Event::Down(peer));
            self.refresh(now);
        }
    }

    pub(crate) fn changed(&mut self) {
        self.rounds.changed();
    }

    /// `awake`: when this was last told that the machine is awake.
    pub(crate) fn slept(&mut self, awake: Instant, now: Instant) {
        self.absence.awake(awake);
        self.absence.slept(now);
        self.next_refresh = Some(now);
    }

    pub(crate) fn next_wakeup(&self) -> Option<Instant> {
        let planners = [self.repair.next_wakeup(), self.rounds.next_wakeup(), self.next_refresh];
        planners.into_iter().flatten().min()
    }

    pub(crate) fn drain(&mut self, now: Instant) {
        self.draining = Some(now);
        self.intake.close(true);
        self.refresh(now);
    }

    fn refresh(&mut self, now: Instant) {
        self.next_refresh = self.absence.next_wakeup(now);
        let own_state = if self.draining.is_some() { State::Draining } else { State::Live };
        let member = |seen: &Seen, state| Member { place: seen.place.clone(), state, copies: seen.copies };
        let state = |peer: &PeerId| match self.absence.state(now, peer) {
            State::Down if self.broken == Broken::CountDown => State::Away,
            state => state,
        };
        let members = self.seen.iter().map(|(peer, seen)| (*peer, member(seen, state(peer))));
        let view = View { me: member(&self.own, own_state), members: members.collect() };
        if view.members == self.view.members && view.me == self.view.me {
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
        self.view = view;
        self.judged.clear();
        self.rounds.changed();
    }

    fn surveyed(&mut self, now: Instant) {
        let Some(Surveyed { mut shorts, excess, began }) = self.surveying.take() else { return };
        self.rounds.ended(now, true);
        self.last = Some(began);
        self.short = shorts.len();
        if self.broken == Broken::Eager {
            for short in &mut shorts {
                short.rank = 0;
            }
        }
        self.repair.on_event(now, repair::Event::Surveyed(shorts));
        self.trim(now, excess);
    }

    fn trim(&mut self, now: Instant, excess: Vec<(Wish, bool)>) {
        let mut since = std::mem::take(&mut self.excess_since);
        self.excess.clear();
        for (wish, hidden) in excess {
            let subject = wish.plan.subject;
            if hidden {
                self.excess.push(wish);
                continue;
            }
            let at = since.remove(&subject).unwrap_or(now);
            self.excess_since.insert(subject, at);
            if at + TRIM_AFTER <= now {
                self.excess.push(wish);
            } else {
                self.rounds.at(at + TRIM_AFTER);
            }
        }
    }
}

impl World {
    pub(crate) fn act_on_copies(&mut self, n: usize) {
        let now = self.instant(n);
        let Some(run) = self.run(n) else { return };
        if run.copies.next_refresh.is_some_and(|at| at <= now) {
            run.copies.refresh(now);
        }
        if run.copies.rounds.next_action(now) {
            self.look(n);
            self.surveys += 1;
            let mut judged =
                self.run(n).map(|run| std::mem::take(&mut run.copies.judged)).unwrap_or_default();
            let surveyed = self.survey(n, now, &mut judged);
            // Some 5 us for each content that the index knows.
            let takes = self.rng.between(5, 40) + self.contents.len() as Ms / 200;
            if let Some(run) = self.run(n) {
                run.copies.surveying = Some(surveyed);
                run.copies.judged = judged;
            }
            self.push_own(n, takes, What::Surveyed);
        }
        while let Some(offer) = self.run(n).and_then(|run| run.copies.repair.next_action(now)) {
            self.send_offer(n, offer);
        }
        while let Some(pull) = self.run(n).and_then(|run| run.copies.intake.next_action()) {
            self.begin_pull(n, pull);
        }
    }

    fn survey(&self, n: usize, now: Instant, judged: &mut BTreeMap<usize, Judged>) -> Surveyed {
        let mut surveyed = Surveyed { shorts: Vec::new(), excess: Vec::new(), began: now };
        let Some(run) = &self.nodes[n].run else { return surveyed };
        let (view, skip) = (&run.copies.view, run.trim.subjects());
        for c in self.nodes[n].index.keys() {
            let Facts { id: content, bytes } = self.facts(*c);
            if skip.contains(&content) {
                continue;
            }
            let holders = self.holders(n, *c);
            let before = judged.get(c).filter(|(before, _)| *before == holders);
            let (copies, duty) = if let Some((_, judged)) = before {
                judged.clone()
            } else {
                let peers: Vec<PeerId> = holders.iter().map(|(m, _)| self.nodes[*m].peer).collect();
                let duty = view.duty(content, &peers);
                judged.insert(*c, (holders.clone(), duty.clone()));
                duty
            };
            match duty {
                Duty::None => {}
                Duty::Offer { rank, have } => {
                    let (copies, wanted) = (copies.count, copies.wanted);
                    surveyed.shorts.push(Short { content, bytes, copies, wanted, rank, have });
                }
                Duty::Trim { there } => {
                    surveyed.excess.extend(self.excess(n, *c, &holders, copies.wanted, &there));
                }
            }
        }
        surveyed
    }

    /// Whether this node's copy is the one that goes.
    fn excess(
        &self,
        n: usize,
        c: usize,
        holders: &[(usize, bool)],
        copies: u16,
        there: &[PeerId],
    ) -> Option<(Wish, bool)> {
        let view = &self.nodes[n].run.as_ref()?.copies.view;
        let (content, me) = (self.contents[c].id, self.nodes[n].peer);
        let place = |peer: &PeerId| -> Option<&Place> {
            if *peer == me { Some(&view.me.place) } else { view.members.get(peer).map(|m| &m.place) }
        };
        let holders: Vec<Holder<'_>> = holders
            .iter()
            .map(|(m, replica)| (self.nodes[*m].peer, *replica))
            .filter(|(peer, _)| there.contains(peer))
            .filter_map(|(peer, replica)| Some(Holder { place: place(&peer)?, replica }))
            .collect();
        let order = !matches!(self.set.broken, Broken::NoOrder | Broken::NoLeases);
        if order && !placement::excess(content, &holders, copies).iter().any(|place| place.peer == me) {
            return None;
        }
        let hidden = self.nodes[n].index.get(&c).copied()?;
        let mut others: Vec<PeerId> = there.iter().copied().filter(|peer| *peer != me).collect();
        others.sort_by_cached_key(|peer| (std::cmp::Reverse(rank(content, peer)), *peer));
        others.truncate(MAX_WISH_HOLDERS.max(2 * usize::from(copies)));
        let plan = Plan {
            subject: content,
            keeper: content,
            why: Why::Excess,
            copies,
            holders: others,
            rank: rank(content, &me),
            pinned: false,
        };
        Some((Wish { plan, files: u64::from(!hidden) }, hidden))
    }

    pub(crate) fn on_surveyed(&mut self, n: usize) {
        let (now, boot) = (self.instant(n), self.boot(n));
        let files = self.nodes[n].index.values().filter(|replica| !**replica).count() as u64;
        let Some(run) = self.run(n) else { return };
        run.copies.surveyed(now);
        run.trim.found_excess(boot, &run.copies.excess, files);
        if run.copies.is_drained() {
            self.leave(n);
        }
    }

    pub(crate) fn facts(&self, c: usize) -> Facts {
        Facts { id: self.contents[c].id, bytes: self.contents[c].bytes }
    }
}

pub(crate) struct Facts {
    pub(crate) id: ContentId,
    pub(crate) bytes: u64,
}

/// How often a sleeping machine's node had said that it is awake.
pub(crate) const AWAKE_EVERY: Duration = Duration::from_secs(15);

pub(crate) type Ids = BTreeSet<ContentId>;
