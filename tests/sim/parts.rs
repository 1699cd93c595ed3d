//! What the simulated world is made of.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use libp2p::PeerId;
use p2pimg::protocol::OfferAnswer;
use p2pimg::replication::drop::{self, AskId};
use p2pimg::replication::placement::Weight;
use p2pimg::types::{ContentId, FolderId, Zone};

use crate::copies::Copies;
use crate::faults::Fault;
use crate::trim::Trim;

/// Virtual milliseconds.
pub(crate) type Ms = u64;

pub(crate) const SECOND: Ms = 1000;
/// Who asked is told that nothing came.
pub(crate) const ASK_TIMEOUT: Ms = 8 * SECOND;
/// The rule that is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    Nothing,
    /// Every holder offers at once, and forgets who said that it fetches.
    Eager,
    /// Of more copies than there should be, every holder wants its own to go.
    NoOrder,
    /// The same, and whoever is asked for a lease is taken to have granted it.
    NoLeases,
    /// Copies of those who are down count.
    CountDown,
}

#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) seed: u64,
    pub(crate) nodes: usize,
    pub(crate) pictures: usize,
    pub(crate) copies: u16,
    /// Of a thousand messages.
    pub(crate) loss: u64,
    pub(crate) twice: u64,
    /// How long there are faults.
    pub(crate) faults: Ms,
    /// The usual pause between two.
    pub(crate) pause: Ms,
    /// Disks hardly hold what they should.
    pub(crate) tight: bool,
    pub(crate) broken: Broken,
    pub(crate) trace: bool,
}

#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) id: ContentId,
    pub(crate) bytes: u64,
    /// The better version of the same picture.
    pub(crate) better: Option<usize>,
    /// What the catalogs said of it, and from which to which number of each.
    pub(crate) spans: Vec<Span>,
    /// Nodes whose disk has it; the trash doesn't count.
    pub(crate) on_disk: u32,
    /// It had its copies once.
    pub(crate) confirmed: bool,
    pub(crate) transfers: u32,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) node: usize,
    pub(crate) replica: bool,
    pub(crate) from: u64,
    pub(crate) to: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    /// Its process stands still, or its machine sleeps.
    Halted {
        asleep: bool,
        since: Ms,
    },
    Crashed,
    /// With its disk.
    Gone,
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) peer: PeerId,
    pub(crate) folder: FolderId,
    pub(crate) weight: Weight,
    pub(crate) zone: Option<Zone>,
    pub(crate) takes: bool,
    pub(crate) capacity: u64,
    /// Bytes a millisecond.
    pub(crate) bandwidth: u64,
    pub(crate) full: bool,
    /// What is on the disk, and whether as a replica.
    pub(crate) disk: BTreeMap<usize, bool>,
    pub(crate) replica_bytes: u64,
    /// In the trash or beside the replicas, and not for good yet.
    pub(crate) aside: BTreeMap<usize, bool>,
    /// The own catalog.
    pub(crate) index: BTreeMap<usize, bool>,
    pub(crate) seq: u64,
    /// How far it knows the catalogs of the others; survives a crash.
    pub(crate) seen: Vec<u64>,
    pub(crate) state: State,
    pub(crate) life: u32,
    pub(crate) run: Option<Box<Run>>,
    /// Whom it is connected to, as it believes.
    pub(crate) up: Vec<bool>,
    /// What came while it was halted.
    pub(crate) held: Vec<Event>,
    /// How long its machine slept: the monotonic clock stood still.
    pub(crate) slept: Ms,
    /// Since its machine was started.
    pub(crate) booted: Ms,
    pub(crate) serving: u64,
    /// It is about to leave.
    pub(crate) leaving: bool,
    pub(crate) drained: bool,
}

/// What a crash takes.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) copies: Copies,
    pub(crate) trim: Trim,
    /// Offers that are on their way.
    pub(crate) offers: BTreeMap<u64, usize>,
    pub(crate) announcing: bool,
    pub(crate) pulling: u64,
    pub(crate) reserved: u64,
    pub(crate) wake: Option<Ms>,
    pub(crate) second: Ms,
    pub(crate) wakes: u32,
    pub(crate) sent_in: (Ms, u64),
}

#[derive(Debug, Clone)]
pub(crate) enum Purpose {
    Copy,
    Compare { subject: usize },
}

#[derive(Debug, Clone)]
pub(crate) enum What {
    Wake,
    /// See whether it is there.
    Check(usize),
    /// It closed the connection, or its process did.
    Closed(usize),
    Announce,
    Sync(usize),
    Hello(usize),
    Offer {
        from: usize,
        ask: u64,
        contents: Vec<(usize, u16)>,
    },
    Offered {
        from: usize,
        ask: u64,
        answers: Option<Vec<(ContentId, OfferAnswer)>>,
    },
    OfferLost(u64),
    Surveyed,
    Fetched {
        purpose: Purpose,
        content: usize,
        sources: Vec<usize>,
        at: usize,
    },
    Lease {
        from: usize,
        ask: AskId,
        content: usize,
        subject: usize,
        keeps: bool,
    },
    Prove {
        to: usize,
        ask: AskId,
        content: usize,
    },
    LeaseAnswer {
        from: usize,
        ask: AskId,
        granted: bool,
    },
    Done(drop::Event),
    Fault(Fault),
}

#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) at: Ms,
    pub(crate) order: u64,
    pub(crate) node: usize,
    /// Of the process that it is for; `None`: of whichever runs then.
    pub(crate) life: Option<u32>,
    pub(crate) what: What,
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Event {}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (Reverse(self.at), Reverse(self.order)).cmp(&(Reverse(other.at), Reverse(other.order)))
    }
}

/// Messages that were sent, by what they are about.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sent {
    pub(crate) catalogs: u64,
    pub(crate) offers: u64,
    pub(crate) leases: u64,
}
