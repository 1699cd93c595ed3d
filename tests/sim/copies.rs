//! The node's planner of copies, driven as `src/node/copies` does, with a simulated disk and network.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::PeerId;
use p2pimg::limits::{REPAIR_AFTER, TRIM_AFTER};
use p2pimg::protocol::{Census, Keeps};
use p2pimg::replication::repair::Short;
use p2pimg::replication::stabilize::{Action, Event, Settings, Stabilize, Surveyed};
use p2pimg::replication::survey::{self, Duty, Excess, View};
use p2pimg::types::{ContentId, FolderId};

use crate::world::{Broken, Ms, What, World};

/// Longer than any run: a member that is down is never taken for it.
const NEVER: Duration = Duration::from_secs(30 * 24 * 3600);

/// What a member says of itself.
pub(crate) struct Hello {
    pub(crate) peer: PeerId,
    pub(crate) folder: FolderId,
    pub(crate) copies: u16,
    pub(crate) keeps: Keeps,
}

#[derive(Debug)]
pub(crate) struct Copies {
    pub(crate) planner: Stabilize,
    surveying: Option<Surveyed>,
    /// What the last survey found of each content, as long as the members are the same: the
    /// same holders mean the same, and most of the time would go into this.
    judged: BTreeMap<usize, Judged>,
    judged_by: Option<Arc<View>>,
}

type Judged = (Vec<(usize, bool)>, (survey::Copies, Duty));

impl Copies {
    pub(crate) fn new(world: &World, n: usize) -> Self {
        let (node, now) = (&world.nodes[n], world.instant(n));
        // Those that the index knows.
        let known = (0..world.nodes.len()).filter(|other| node.seen[*other] > 0);
        let known = known.map(|other| (world.nodes[other].peer, world.nodes[other].folder)).collect();
        let settings = Settings {
            me: node.peer,
            folder: node.folder,
            keeps: world.keeps_of(n, false),
            copies: world.set.copies,
            repair_after: if world.set.broken == Broken::CountDown { NEVER } else { REPAIR_AFTER },
            trim_after: TRIM_AFTER,
            known,
            absences: Vec::new(),
        };
        let mut planner = Stabilize::new(now, settings);
        planner.on_event(now, Event::FolderKnown);
        Self { planner, surveying: None, judged: BTreeMap::new(), judged_by: None }
    }

    pub(crate) fn is_drained(&self) -> bool {
        let status = self.planner.drain_status();
        status.surveyed && status.left == 0
    }

    pub(crate) fn heard(&mut self, now: Instant, hello: &Hello) {
        let Hello { peer, folder, copies, ref keeps } = *hello;
        self.planner.on_event(now, Event::Heard { peer, folder, copies, keeps: keeps.clone() });
    }

    pub(crate) fn changed(&mut self, now: Instant) {
        self.planner.on_event(now, Event::Changed);
    }
}

impl World {
    pub(crate) fn act_on_copies(&mut self, n: usize) {
        let now = self.instant(n);
        while let Some(action) = self.run(n).and_then(|run| run.copies.planner.next_action(now)) {
            match action {
                Action::Survey(view) => self.begin_survey(n, now, &view),
                Action::Offer { peer, contents } => self.send_offer(n, peer, &contents),
                Action::Pull(pull) => self.begin_pull(n, pull),
                Action::Probe { peer, .. } => {
                    let ok = self.reach(n, Self::number(&peer));
                    if let Some(run) = self.run(n) {
                        run.copies.planner.on_event(now, Event::Probed { peer, ok });
                    }
                }
                Action::Drained => self.leave(n),
                Action::Compare(_) | Action::CutOff(_) | Action::Settled { .. } => {}
            }
        }
    }

    fn begin_survey(&mut self, n: usize, now: Instant, view: &Arc<View>) {
        self.look(n);
        self.surveys += 1;
        let same = self.run(n).is_some_and(|run| {
            run.copies.judged_by.replace(Arc::clone(view)).is_some_and(|before| Arc::ptr_eq(&before, view))
        });
        let mut judged = self
            .run(n)
            .map(|run| std::mem::take(&mut run.copies.judged))
            .filter(|_| same)
            .unwrap_or_default();
        let surveyed = self.survey(n, now, view, &mut judged);
        // Some 5 us for each content that the index knows.
        let takes = self.rng.between(5, 40) + self.contents.len() as Ms / 200;
        if let Some(run) = self.run(n) {
            run.copies.surveying = Some(surveyed);
            run.copies.judged = judged;
        }
        self.push_own(n, takes, What::Surveyed);
    }

    fn survey(&self, n: usize, now: Instant, view: &View, judged: &mut BTreeMap<usize, Judged>) -> Surveyed {
        let leaving = view.me.state == p2pimg::replication::absence::State::Draining;
        let mut surveyed = Surveyed {
            shorts: Vec::new(),
            short: 0,
            sole: 0,
            excess: Vec::new(),
            census: Census::default(),
            began: now,
            leaving,
        };
        let Some(run) = &self.nodes[n].run else { return surveyed };
        let skip = if leaving { BTreeSet::new() } else { run.trim.subjects() };
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
            let wanted = copies.wanted;
            match duty {
                Duty::None => {}
                Duty::Offer { rank, copies, have } => {
                    let rank = if self.set.broken == Broken::Eager { 0 } else { rank };
                    surveyed.shorts.push(Short { content, bytes, copies, wanted, rank, have });
                }
                Duty::Trim { there } => {
                    surveyed.excess.extend(self.excess(n, *c, view, &holders, wanted, &there));
                }
            }
        }
        surveyed.short = surveyed.shorts.len() as u64;
        surveyed
    }

    /// Whether this node's copy is the one that goes.
    fn excess(
        &self,
        n: usize,
        c: usize,
        view: &View,
        holders: &[(usize, bool)],
        copies: u16,
        there: &[PeerId],
    ) -> Option<Excess> {
        let content = self.contents[c].id;
        let files = u64::from(!self.nodes[n].index.get(&c)?);
        if matches!(self.set.broken, Broken::NoOrder | Broken::NoLeases) {
            return Some(view.trim(content, copies, there, files));
        }
        let kinds: Vec<_> = holders.iter().map(|(m, replica)| (self.nodes[*m].peer, *replica)).collect();
        view.excess(content, copies, there, &kinds, files)
    }

    pub(crate) fn on_surveyed(&mut self, n: usize) {
        let (now, boot) = (self.instant(n), self.boot(n));
        let files = self.nodes[n].index.values().filter(|replica| !**replica).count() as u64;
        let Some(run) = self.run(n) else { return };
        let Some(surveyed) = run.copies.surveying.take() else { return };
        run.copies.planner.on_event(now, Event::Surveyed(Some(Box::new(surveyed))));
        run.trim.found_excess(boot, run.copies.planner.excess(), files);
    }

    pub(crate) fn keeps_of(&self, n: usize, draining: bool) -> Keeps {
        let node = &self.nodes[n];
        Keeps { weight: node.weight.0, zone: node.zone.clone(), takes: node.takes, draining, room: 0 }
    }

    pub(crate) fn facts(&self, c: usize) -> Facts {
        Facts { id: self.contents[c].id, bytes: self.contents[c].bytes }
    }
}

pub(crate) struct Facts {
    pub(crate) id: ContentId,
    pub(crate) bytes: u64,
}

pub(crate) type Ids = BTreeSet<ContentId>;
