//! The world of the model: three nodes' disks, their planners, the network, and what the
//! checker remembers to judge by (ghosts: no node can see them).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use libp2p::PeerId;
use libp2p::multihash::Multihash;
use p2pimg::replication::drop::{Action, Drops, Entry, Event, Me, Plan, Rules, Why};
use p2pimg::replication::lease::{BootTime, Terms};
use p2pimg::types::{ContentId, FolderId};

pub(crate) const NODES: usize = 3;
pub(crate) const OUTSIDER: usize = 3;
/// L is the same picture as K, K as K2, L is not like K2. Quality rises in this order.
pub(crate) const L: usize = 0;
pub(crate) const K: usize = 1;
pub(crate) const K2: usize = 2;
pub(crate) const CONTENTS: usize = 3;
pub(crate) const COPIES: u16 = 2;

/// Small integers stand for milliseconds: only their order matters to the planner.
pub(crate) const TERMS: Terms = Terms {
    lease: Duration::from_millis(3),
    margin: Duration::from_millis(1),
    answer: Duration::from_millis(1),
    pause_first: Duration::from_millis(1),
    pause_longest: Duration::from_millis(2),
};

pub(crate) fn peer(n: usize) -> PeerId {
    let id = Multihash::wrap(0, &[n as u8]).expect("one byte fits");
    PeerId::from_multihash(id).expect("an identity multihash")
}

pub(crate) fn node(peer_id: PeerId) -> usize {
    (0..=OUTSIDER).find(|n| peer(*n) == peer_id).expect("a peer of the model")
}

pub(crate) fn id(content: usize) -> ContentId {
    ContentId([content as u8; 32])
}

pub(crate) fn content(id: ContentId) -> usize {
    usize::from(id.0[0])
}

pub(crate) fn same_picture(a: usize, b: usize) -> bool {
    a == b || a.abs_diff(b) == 1
}

pub(crate) fn to_set(mask: u8) -> BTreeSet<ContentId> {
    (0..CONTENTS).filter(|c| mask & (1 << c) != 0).map(id).collect()
}

pub(crate) fn to_mask(set: &BTreeSet<ContentId>) -> u8 {
    set.iter().fold(0, |mask, c| mask | 1 << content(*c))
}

/// Where a node has a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Place {
    Absent,
    Temp,
    Original,
    Replica,
    /// The file of that content, with other bytes.
    Edited,
}

impl Place {
    /// A copy, on disk and verified.
    pub(crate) fn is_copy(self) -> bool {
        matches!(self, Self::Original | Self::Replica)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Trash {
    Empty,
    Intended,
    /// Other bytes than the drop was about.
    Wrong,
}

/// What a crash leaves.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Disk {
    pub(crate) place: [Place; CONTENTS],
    pub(crate) trash: [Trash; CONTENTS],
    pub(crate) journal: [Option<Entry>; CONTENTS],
    /// For each content, the set of what it carries.
    pub(crate) witnesses: [u8; CONTENTS],
    pub(crate) pinned: u8,
}

/// What the event loop has still to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Task {
    Do(Action),
    Report(Event),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    pub(crate) disk: Disk,
    /// `None`: crashed.
    pub(crate) planner: Option<Drops>,
    pub(crate) tasks: Vec<Task>,
    pub(crate) clock: u8,
    pub(crate) suspended: bool,
    /// Counts starts: with the number of a request it stands for the request's nonce.
    pub(crate) life: u8,
    pub(crate) begun: u8,
    /// Ghost: copies of each content that the environment took since this node last asked for leases
    /// or moved a file.
    pub(crate) took: [u8; CONTENTS],
    /// Ghost: what the protocol removed from this node.
    pub(crate) removed: [bool; CONTENTS],
    /// Ghost: how often this node fetched each content.
    pub(crate) transfers: [u8; CONTENTS],
}

impl Node {
    pub(crate) fn now(&self) -> BootTime {
        BootTime(u64::from(self.clock))
    }

    pub(crate) fn awake(&self) -> bool {
        self.planner.is_some() && !self.suspended
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Message {
    Ask {
        from: usize,
        to: usize,
        life: u8,
        ask: u64,
        content: usize,
        subject: usize,
        keeps: bool,
        witnesses: u8,
    },
    Answer {
        from: usize,
        to: usize,
        life: u8,
        ask: u64,
        granted: bool,
        proof: bool,
    },
}

impl Message {
    pub(crate) fn ends(&self) -> (usize, usize) {
        match self {
            Self::Ask { from, to, .. } | Self::Answer { from, to, .. } => (*from, *to),
        }
    }
}

/// Kinds of faults, each with its own budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Fault {
    Crash,
    Suspend,
    Delete,
    Edit,
    Arrive,
    Drift,
    Repeat,
    DiskFull,
    Pin,
    /// Not a fault: a look that finds that nothing has to go, and the wish comes back.
    Cancel,
    /// Not a fault: a look that finds other holders.
    Replan,
}

pub(crate) const FAULTS: usize = 11;

/// What went wrong, as bits of [`World::broken`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    FinalWithoutCopies = 1,
    PurgeWithoutCopies = 2,
    WrongBytes = 4,
    Pinned = 8,
    Outsider = 16,
    Witness = 32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) nodes: [Node; NODES],
    pub(crate) net: BTreeSet<Message>,
    pub(crate) now: u8,
    pub(crate) faults: [u8; FAULTS],
    /// Ghost: contents that were dropped somewhere, for good.
    pub(crate) dropped: u8,
    /// Ghost: copies of each content that the environment took, ever.
    pub(crate) taken: [u8; CONTENTS],
    /// Ghost: drops that became final, and purges.
    pub(crate) finals: u8,
    pub(crate) purges: u8,
    pub(crate) broken: u8,
}

impl World {
    pub(crate) fn copies(&self, content: usize) -> u16 {
        self.nodes.iter().filter(|node| node.disk.place[content].is_copy()).count() as u16
    }

    pub(crate) fn fault_count(&self) -> u8 {
        self.faults.iter().sum()
    }

    /// Everything dropped is matched by something living; the trash doesn't count. Unless
    /// the environment took as many copies as there are to be: that is beyond the promise.
    pub(crate) fn dropped_live_on(&self) -> bool {
        (0..CONTENTS).filter(|c| self.dropped & (1 << c) != 0).all(|c| {
            let like = || (0..CONTENTS).filter(move |k| same_picture(c, *k));
            let taken: u8 = like().map(|k| self.taken[k]).sum();
            u16::from(taken) >= COPIES || like().any(|k| self.copies(k) > 0)
        })
    }

    /// No content that the protocol removed is still promised to somebody who relies on it.
    pub(crate) fn promises_hold(&self) -> bool {
        self.nodes.iter().all(|asker| {
            let Some(planner) = &asker.planner else { return true };
            planner.relied_on(asker.now()).into_iter().all(|(holder, promised)| {
                let holder = node(holder);
                holder == OUTSIDER || !self.nodes[holder].removed[content(promised)]
            })
        })
    }
}

/// A start, what is wished for, and which faults there may be.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// Contents in their place at the start: node, content, where.
    pub(crate) places: Vec<(usize, usize, Place)>,
    /// Contents in the trash, dropped some time ago.
    pub(crate) trashed: Vec<(usize, usize)>,
    /// Node, subject, keeper.
    pub(crate) plans: Vec<(usize, usize, usize, Why)>,
    pub(crate) budget: Vec<(Fault, u8)>,
    /// At most so many faults in all.
    pub(crate) faults: u8,
    /// Ticks.
    pub(crate) horizon: u8,
    /// Pairs that don't see each other.
    pub(crate) cut: Vec<(usize, usize)>,
    /// An outsider is named as a holder, asks and answers.
    pub(crate) outsider: bool,
    /// It also sends requests and answers that nobody asked for.
    pub(crate) talks: bool,
    /// A comparison takes time: its end is another step.
    pub(crate) slow: bool,
    /// What only changes the own disk happens at once: fewer states, greater depth.
    pub(crate) coarse: bool,
    /// Does not stop at a keeper that goes for what does not match all it carries, to see
    /// what comes of it.
    pub(crate) blind: bool,
    /// Node, content, what it carries from before.
    pub(crate) carried: Vec<(usize, usize, u8)>,
    pub(crate) rules: Rules,
}

impl Scenario {
    pub(crate) fn budget_of(&self, fault: Fault) -> u8 {
        self.budget.iter().find(|(kind, _)| *kind == fault).map_or(0, |(_, budget)| *budget)
    }

    pub(crate) fn planner(&self, n: usize, now: BootTime) -> Drops {
        let me = Me { peer: peer(n), folder: FolderId(n as u128) };
        let mut planner = Drops::new(now, me, TERMS, self.rules);
        let others = (0..NODES).filter(|m| *m != n).map(|m| (peer(m), FolderId(m as u128)));
        planner.on_event(now, Event::Members(others.collect::<BTreeMap<_, _>>()));
        planner
    }

    pub(crate) fn plan(&self, index: usize) -> Plan {
        let (n, subject, keeper, why) = self.plans[index];
        let outsider = self.outsider.then_some(OUTSIDER);
        let holders = outsider.into_iter().chain((0..NODES).filter(|m| *m != n));
        Plan {
            subject: id(subject),
            keeper: id(keeper),
            why,
            copies: COPIES,
            holders: holders.map(peer).collect(),
            rank: n as u64,
            pinned: false,
        }
    }

    pub(crate) fn start(&self) -> World {
        // The nodes have been up for one lease time.
        let clock = TERMS.lease.as_millis() as u8;
        let node = |n: usize| Node {
            disk: Disk {
                place: [Place::Absent; CONTENTS],
                trash: [Trash::Empty; CONTENTS],
                journal: [None; CONTENTS],
                witnesses: [0; CONTENTS],
                pinned: 0,
            },
            planner: Some(self.planner(n, BootTime(0))),
            tasks: Vec::new(),
            clock,
            suspended: false,
            life: 0,
            begun: 0,
            took: [0; CONTENTS],
            removed: [false; CONTENTS],
            transfers: [0; CONTENTS],
        };
        let mut world = World {
            nodes: [node(0), node(1), node(2)],
            net: BTreeSet::new(),
            now: 0,
            faults: [0; FAULTS],
            dropped: 0,
            taken: [0; CONTENTS],
            finals: 0,
            purges: 0,
            broken: 0,
        };
        for (n, content, place) in &self.places {
            world.nodes[*n].disk.place[*content] = *place;
        }
        for (n, content) in &self.trashed {
            world.nodes[*n].disk.trash[*content] = Trash::Intended;
            world.dropped |= 1 << content;
        }
        for (n, content, witnesses) in &self.carried {
            world.nodes[*n].disk.witnesses[*content] = *witnesses;
        }
        world
    }
}
