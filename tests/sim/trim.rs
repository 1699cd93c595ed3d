//! The node's part of drops, wired as in `src/node/drops`: excess copies, and worse versions of a
//! picture. What a look for duplicates finds is made up from the catalogs here.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::PeerId;
use p2pimg::brake::Brake;
use p2pimg::replication::drop::{
    self, Action, Answer, AskId, Comparison, Drops, End, Entry, Me, Plan, Renamed, Request, Rules, View, Why,
};
use p2pimg::replication::lease::{BootTime, Terms};
use p2pimg::replication::rank;
use p2pimg::replication::wishes::{self, Wish, Wishes};
use p2pimg::types::{ContentId, FolderId};

use crate::copies::Ids;
use crate::world::{Broken, Purpose, What, World};

#[derive(Debug)]
pub(crate) struct Trim {
    drops: Drops,
    wishes: Wishes,
    members: BTreeMap<PeerId, FolderId>,
    /// Who asked for a lease, and how it calls the request.
    waiting: BTreeMap<AskId, (usize, AskId)>,
    next_ask: u64,
    superseded: Vec<Wish>,
    excess: Vec<Wish>,
    ended: bool,
    files: u64,
    /// Keepers that were fetched to be compared, by what is to go for them.
    temp: BTreeSet<(usize, usize)>,
    /// Who may have a keeper, as the newest plan says.
    plans: BTreeMap<usize, Plan>,
}

impl Trim {
    pub(crate) fn new(world: &World, n: usize) -> Self {
        let me = Me { peer: world.nodes[n].peer, folder: world.nodes[n].folder };
        Self {
            drops: Drops::new(world.boot(n), me, Terms::default(), Rules::default()),
            // What takes more than a share waits for a person, and there is none here.
            wishes: Wishes::new(Brake { percent: 100, free: 0 }),
            members: BTreeMap::new(),
            waiting: BTreeMap::new(),
            next_ask: 0,
            superseded: Vec::new(),
            excess: Vec::new(),
            ended: false,
            files: 0,
            temp: BTreeSet::new(),
            plans: BTreeMap::new(),
        }
    }

    pub(crate) fn set_members(&mut self, now: BootTime, members: BTreeMap<PeerId, FolderId>) {
        if members != self.members {
            self.members.clone_from(&members);
            self.drops.on_event(now, drop::Event::Members(members));
        }
    }

    pub(crate) fn subjects(&self) -> Ids {
        World::set_of(self.superseded.iter().map(|wish| wish.plan.subject))
    }

    pub(crate) fn is_dropping(&self, content: &ContentId) -> bool {
        self.drops.is_dropping(*content)
    }

    pub(crate) fn resumed(&mut self, now: BootTime) {
        self.drops.on_event(now, drop::Event::Resumed);
    }

    fn found(&mut self, now: BootTime, wishes: Vec<Wish>, files: u64) {
        (self.superseded, self.files) = (wishes, files);
        self.wish(now);
    }

    pub(crate) fn found_excess(&mut self, now: BootTime, excess: &[Wish], files: u64) {
        self.files = files;
        if excess != self.excess || self.ended {
            self.ended = false;
            self.excess = excess.to_vec();
            self.wish(now);
        }
    }

    fn wish(&mut self, now: BootTime) {
        let known = self.subjects();
        let excess = self.excess.iter().filter(|wish| !known.contains(&wish.plan.subject));
        let wishes = self.superseded.iter().chain(excess).cloned().collect();
        self.wishes.on_event(now, wishes::Event::Found { wishes, files: self.files });
    }

    pub(crate) fn next_wakeup(&self) -> Option<BootTime> {
        self.drops.next_wakeup().into_iter().chain(self.wishes.next_wakeup()).min()
    }
}

impl World {
    /// Which own contents are worse versions of what somebody has.
    pub(crate) fn look(&mut self, n: usize) {
        let boot = self.boot(n);
        let node = &self.nodes[n];
        let mut found = Vec::new();
        for (c, replica) in &node.index {
            let Some(keeper) = self.contents[*c].better else { continue };
            let (subject, id) = (self.contents[*c].id, self.contents[keeper].id);
            let mut holders: Vec<PeerId> = self
                .holders(n, keeper)
                .into_iter()
                .filter(|(m, _)| *m != n && node.up[*m])
                .map(|(m, _)| self.nodes[m].peer)
                .collect();
            if holders.is_empty() {
                continue;
            }
            holders.sort_by_cached_key(|peer| (std::cmp::Reverse(rank(id, peer)), *peer));
            let plan = Plan {
                subject,
                keeper: id,
                why: Why::Superseded,
                copies: self.set.copies,
                holders,
                rank: rank(subject, &node.peer),
                pinned: false,
            };
            found.push(Wish { plan, files: u64::from(!replica) });
        }
        let files = node.index.values().filter(|replica| !**replica).count() as u64;
        let Some(run) = self.run(n) else { return };
        if !(found.is_empty() && run.trim.superseded.is_empty()) {
            run.trim.found(boot, found, files);
        }
    }

    pub(crate) fn act_on_drops(&mut self, n: usize) {
        let now = self.boot(n);
        loop {
            let Some(run) = self.run(n) else { return };
            if let Some(action) = run.trim.drops.next_action(now) {
                self.on_drop_action(n, action);
            } else if let Some(action) = run.trim.wishes.next_action(now) {
                self.on_wish_action(n, action);
            } else {
                return;
            }
        }
    }

    fn on_wish_action(&mut self, n: usize, action: wishes::Action) {
        let now = self.boot(n);
        let Some(run) = self.run(n) else { return };
        let trim = &mut run.trim;
        match action {
            wishes::Action::Begin(plan) => {
                if !trim.drops.is_dropping(plan.subject) {
                    trim.plans.insert(Self::content_number(&plan.subject), plan.clone());
                    trim.drops.on_event(now, drop::Event::Begin(plan));
                }
            }
            wishes::Action::Replan(plan) => {
                trim.plans.insert(Self::content_number(&plan.subject), plan.clone());
                trim.drops.on_event(now, drop::Event::Replan(plan));
            }
            wishes::Action::Cancel(subject) => trim.drops.on_event(now, drop::Event::Cancel(subject)),
            wishes::Action::Braked { .. } => self.fail(format!("{n} is braked")),
        }
    }

    #[allow(clippy::needless_pass_by_value)] // As the planner hands it over.
    fn on_drop_action(&mut self, n: usize, action: Action) {
        let c = Self::content_number;
        let (ok, wait) = (true, self.rng.between(1, 30));
        let event = match action {
            Action::Grant { to, ask, content, .. } => {
                if let Some((to, ask)) = self.decided(n, to, ask) {
                    self.push_own(n, wait, What::Prove { to, ask, content: c(&content) });
                }
                return;
            }
            Action::Deny { to, ask, .. } => {
                if let Some((to, ask)) = self.decided(n, to, ask) {
                    self.send(to, What::LeaseAnswer { from: n, ask, granted: false });
                }
                return;
            }
            Action::Compare { subject, keeper } => return self.compare(n, c(&subject), c(&keeper)),
            Action::Ask { ask, to, keeper, subject, asker_keeps, .. } => {
                return self.ask(n, ask, to, (c(&keeper), c(&subject), asker_keeps));
            }
            Action::Discard { subject, keeper } => {
                let pair = (c(&subject), c(&keeper));
                if let Some(run) = self.run(n) {
                    run.trim.temp.remove(&pair);
                }
                return;
            }
            Action::Ended { subject, how } => return self.on_drop_ended(n, subject, how),
            // The rest is done when its end is told.
            Action::Commit { subject, .. } => drop::Event::Committed { subject, ok },
            Action::Journal { subject, entry } => drop::Event::Journaled { subject, entry, ok },
            Action::Recheck { subject } => drop::Event::Rechecked { subject, ok },
            Action::Rename { subject } => drop::Event::Renamed { subject, outcome: Renamed::Intact },
            Action::PutBack { subject } => drop::Event::PutBack { subject, ok },
            Action::Purge { subject } => drop::Event::Purged { subject, ok },
            Action::Withdraw { subject } => drop::Event::Withdrawn(subject),
        };
        self.push_own(n, wait, What::Done(event));
    }

    /// The step is done now, on the disk as it is.
    pub(crate) fn on_done(&mut self, n: usize, event: drop::Event) {
        let c = Self::content_number;
        let event = match event {
            drop::Event::Committed { subject, .. } => {
                let keeper = self.contents[c(&subject)].better;
                let ok = keeper.is_some_and(|keeper| self.commit_keeper(n, c(&subject), keeper));
                drop::Event::Committed { subject, ok }
            }
            drop::Event::Journaled { subject, entry: Entry::Final, .. } => {
                let ok = self.drop_for_good(n, c(&subject));
                drop::Event::Journaled { subject, entry: Entry::Final, ok }
            }
            drop::Event::Rechecked { subject, .. } => {
                let ok = self.nodes[n].disk.contains_key(&c(&subject));
                drop::Event::Rechecked { subject, ok }
            }
            drop::Event::Renamed { subject, .. } => {
                let moved = self.set_aside(n, c(&subject));
                let outcome = if moved { Renamed::Intact } else { Renamed::Unsure };
                drop::Event::Renamed { subject, outcome }
            }
            drop::Event::PutBack { subject, ok } => {
                self.put_back(n, c(&subject));
                drop::Event::PutBack { subject, ok }
            }
            drop::Event::Withdrawn(subject) => {
                self.withdraw(n, c(&subject));
                drop::Event::Withdrawn(subject)
            }
            event => event,
        };
        let boot = self.boot(n);
        if let Some(run) = self.run(n) {
            run.trim.drops.on_event(boot, event);
        }
    }

    fn commit_keeper(&mut self, n: usize, subject: usize, keeper: usize) -> bool {
        let here = self.run(n).is_some_and(|run| run.trim.temp.contains(&(subject, keeper)));
        let reserved = self.run(n).map_or(0, |run| run.reserved);
        if here && self.free(n).saturating_sub(reserved) >= self.contents[keeper].bytes {
            self.add_copy(n, keeper, true);
        }
        self.nodes[n].disk.contains_key(&keeper)
    }

    fn compare(&mut self, n: usize, subject: usize, keeper: usize) {
        let here = self.nodes[n].disk.contains_key(&keeper);
        let purpose = Purpose::Compare { subject };
        let Some(run) = self.run(n) else { return };
        if here || run.trim.temp.contains(&(subject, keeper)) {
            return self.fetch(n, purpose, keeper, Vec::new());
        }
        let holders = run.trim.plans.get(&subject).map(|plan| plan.holders.clone()).unwrap_or_default();
        let sources = holders.iter().map(Self::number).collect();
        self.fetch(n, purpose, keeper, sources);
    }

    /// The keeper's bytes are here, or can't be had.
    pub(crate) fn on_keeper_here(&mut self, n: usize, purpose: &Purpose, keeper: usize, fetched: bool) {
        let Purpose::Compare { subject } = purpose else { return };
        let committed = self.nodes[n].disk.contains_key(&keeper);
        let Some(run) = self.run(n) else { return };
        if fetched && !committed && *subject != keeper {
            run.trim.temp.insert((*subject, keeper));
        }
        let here = committed || run.trim.temp.contains(&(*subject, keeper));
        let ids = [*subject, keeper].map(|c| self.contents[c].id);
        let outcome = if here {
            Comparison::Seen { matched: ids.into(), witnesses: BTreeSet::new(), committed }
        } else {
            Comparison::Failed
        };
        self.on_done(n, drop::Event::Compared { subject: ids[0], outcome });
    }

    fn on_drop_ended(&mut self, n: usize, subject: ContentId, how: End) {
        self.log(|| format!("{n}: the drop of {} ended: {how:?}", Self::content_number(&subject)));
        let (now, boot) = (self.instant(n), self.boot(n));
        let Some(run) = self.run(n) else { return };
        run.trim.plans.remove(&Self::content_number(&subject));
        run.trim.wishes.on_event(boot, wishes::Event::Ended { subject, how });
        run.trim.ended = true;
        run.copies.changed(now);
    }

    fn ask(&mut self, n: usize, ask: AskId, to: PeerId, about: (usize, usize, bool)) {
        let (content, subject, keeps) = about;
        let to = Self::number(&to);
        if to == n || self.set.broken == Broken::NoLeases {
            let granted = to != n || self.nodes[n].disk.contains_key(&content);
            let ask = self.on_the_wire(n, ask);
            return self.push_own(n, 5, What::LeaseAnswer { from: to, ask, granted });
        }
        let ask = self.on_the_wire(n, ask);
        self.log(|| format!("{n} asks {to} to keep {content} for {subject}"));
        self.sent.leases += 2;
        // Silence is the planner's own to see.
        if self.nodes[n].up[to] {
            self.send(to, What::Lease { from: n, ask, content, subject, keeps });
        } else {
            self.push_own(n, 1, What::LeaseAnswer { from: to, ask, granted: false });
        }
    }

    /// With the asker's life: it stands for the nonce, which is never used twice.
    fn on_the_wire(&self, n: usize, ask: AskId) -> AskId {
        AskId(ask.0 | u64::from(self.nodes[n].life) << 40)
    }

    pub(crate) fn on_lease(&mut self, n: usize, from: usize, ask: AskId, about: (usize, usize, bool)) {
        let (content, subject, keeps) = about;
        if !self.nodes[n].up[from] {
            return self.send(from, What::LeaseAnswer { from: n, ask, granted: false });
        }
        let node = &self.nodes[n];
        let there = self.holders(n, content).into_iter().filter(|(m, _)| *m == n || node.up[*m]);
        let folders: BTreeSet<FolderId> =
            there.filter(|(m, _)| *m != from).map(|(m, _)| self.nodes[m].folder).collect();
        let (id, subject) = (self.contents[content].id, self.contents[subject].id);
        let witnesses = if id == subject { BTreeSet::new() } else { BTreeSet::from([subject]) };
        let asker = self.nodes[from].peer;
        let mut request = Request {
            asker,
            ask: AskId(0),
            content: id,
            subject,
            asker_keeps: keeps,
            witnesses_after: witnesses.len(),
            witnesses,
            held: node.index.contains_key(&content),
            view: View { without_asker: folders.len() as u16, copies: self.set.copies },
            asker_rank: rank(subject, &asker),
        };
        let boot = self.boot(n);
        let Some(run) = self.run(n) else { return };
        run.trim.next_ask += 1;
        request.ask = AskId(run.trim.next_ask);
        run.trim.waiting.insert(request.ask, (from, ask));
        run.trim.drops.on_event(boot, drop::Event::Asked(request));
    }

    fn decided(&mut self, n: usize, to: PeerId, ask: AskId) -> Option<(usize, AskId)> {
        let to = Self::number(&to);
        self.run(n)?.trim.waiting.remove(&ask).filter(|(asker, _)| *asker == to)
    }

    /// Reads the bytes, and answers with the proof.
    pub(crate) fn on_prove(&mut self, n: usize, to: usize, ask: AskId, content: usize) {
        let granted = self.nodes[n].disk.contains_key(&content);
        self.send(to, What::LeaseAnswer { from: n, ask, granted });
    }

    pub(crate) fn on_lease_answer(&mut self, n: usize, from: usize, ask: AskId, granted: bool) {
        let answer = if granted { Answer::Granted { proof_matches: true } } else { Answer::Denied };
        if ask.0 >> 40 != u64::from(self.nodes[n].life) {
            return;
        }
        let ask = AskId(ask.0 & ((1 << 40) - 1));
        let (boot, from) = (self.boot(n), self.nodes[from].peer);
        if let Some(run) = self.run(n) {
            run.trim.drops.on_event(boot, drop::Event::Answered { ask, from, answer });
        }
    }
}
