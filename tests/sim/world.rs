//! The simulated world: disks, processes, links and a clock; and the pump of events.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::{Duration, Instant};

use libp2p::PeerId;
use libp2p::multihash::Multihash;
use p2pimg::replication::lease::BootTime;
use p2pimg::types::ContentId;

use crate::copies::Copies;
pub(crate) use crate::parts::{
    ASK_TIMEOUT, Broken, Content, Event, Ms, Node, Purpose, Run, SECOND, Sent, Settings, Span, State, What,
};
use crate::rng::Rng;
use crate::trim::Trim;

/// A node that works on its planners more often than this within a second is spinning.
const MOST_WAKES: u32 = 200;

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) set: Settings,
    pub(crate) rng: Rng,
    pub(crate) now: Ms,
    base: Instant,
    heap: BinaryHeap<Event>,
    order: u64,
    pub(crate) nodes: Vec<Node>,
    pub(crate) contents: Vec<Content>,
    /// Links that are cut, and how often.
    pub(crate) cuts: BTreeMap<(usize, usize), u32>,
    pub(crate) next_ask: u64,
    pub(crate) sent: Sent,
    pub(crate) transfers: u64,
    pub(crate) surveys: u64,
    pub(crate) moved: u64,
    pub(crate) finals: u64,
    pub(crate) events: u64,
    /// Faults that have yet to end.
    pub(crate) open: u32,
    pub(crate) last_fault: Ms,
    /// When a disk was last destroyed.
    pub(crate) destroyed: Option<Ms>,
    pub(crate) broken: Option<String>,
}

impl World {
    pub(crate) fn new(set: Settings) -> Self {
        Self {
            rng: Rng(set.seed),
            set,
            now: 0,
            base: Instant::now(),
            heap: BinaryHeap::new(),
            order: 0,
            nodes: Vec::new(),
            contents: Vec::new(),
            cuts: BTreeMap::new(),
            next_ask: 0,
            sent: Sent::default(),
            transfers: 0,
            surveys: 0,
            moved: 0,
            finals: 0,
            events: 0,
            open: 0,
            last_fault: 0,
            destroyed: None,
            broken: None,
        }
    }

    pub(crate) fn log(&self, line: impl FnOnce() -> String) {
        if self.set.trace {
            println!("{:>9.3} {}", self.now as f64 / 1000.0, line());
        }
    }

    pub(crate) fn fail(&mut self, what: String) {
        self.log(|| format!("BROKEN: {what}"));
        self.broken.get_or_insert(what);
    }

    /// The monotonic clock of a node's machine.
    pub(crate) fn instant(&self, n: usize) -> Instant {
        self.base + Duration::from_millis(self.now - self.nodes[n].slept)
    }

    pub(crate) fn boot(&self, n: usize) -> BootTime {
        BootTime(self.now + self.nodes[n].booted)
    }

    pub(crate) fn is_running(&self, n: usize) -> bool {
        self.nodes[n].state == State::Running
    }

    pub(crate) fn is_cut(&self, a: usize, b: usize) -> bool {
        !self.cuts.is_empty() && self.cuts.contains_key(&(a.min(b), a.max(b)))
    }

    pub(crate) fn reach(&self, a: usize, b: usize) -> bool {
        self.is_running(a) && self.is_running(b) && !self.is_cut(a, b)
    }

    pub(crate) fn number(peer: &PeerId) -> usize {
        let digest = peer.as_ref().digest();
        u32::from_be_bytes(*digest.last_chunk().expect("made by name_of")) as usize
    }

    pub(crate) fn content_number(content: &ContentId) -> usize {
        u32::from_be_bytes(*content.0.first_chunk().expect("32 bytes")) as usize
    }

    pub(crate) fn name_of(&self, n: usize) -> PeerId {
        let mut name = self.set.seed.to_be_bytes().to_vec();
        name.extend((n as u32).to_be_bytes());
        PeerId::from_multihash(Multihash::wrap(0, &name).expect("12 bytes fit")).expect("an identity")
    }

    pub(crate) fn id_of(&self, c: usize) -> ContentId {
        let mut id = *blake3::hash(&[self.set.seed, c as u64].map(u64::to_be_bytes).concat()).as_bytes();
        id[..4].copy_from_slice(&(c as u32).to_be_bytes());
        ContentId(id)
    }

    /// The nodes that hold a content as `n` knows it, itself included, and whether as a replica.
    pub(crate) fn holders(&self, n: usize, c: usize) -> Vec<(usize, bool)> {
        let seen = &self.nodes[n].seen;
        let knows = |span: &&Span| {
            if span.node == n {
                return span.to == u64::MAX;
            }
            let seen = seen.get(span.node).copied().unwrap_or(0);
            span.from <= seen && seen < span.to
        };
        self.contents[c].spans.iter().filter(knows).map(|span| (span.node, span.replica)).collect()
    }

    pub(crate) fn free(&self, n: usize) -> u64 {
        let node = &self.nodes[n];
        if node.full { 0 } else { node.capacity.saturating_sub(node.replica_bytes) }
    }

    pub(crate) fn run(&mut self, n: usize) -> Option<&mut Run> {
        self.nodes[n].run.as_deref_mut()
    }

    /// For whichever process runs then.
    pub(crate) fn push(&mut self, node: usize, after: Ms, what: What) {
        self.order += 1;
        self.heap.push(Event { at: self.now + after, order: self.order, node, life: None, what });
    }

    /// For the process that runs now.
    pub(crate) fn push_own(&mut self, node: usize, after: Ms, what: What) {
        self.order += 1;
        let life = Some(self.nodes[node].life);
        self.heap.push(Event { at: self.now + after, order: self.order, node, life, what });
    }

    /// An offer is sent: a node that never stops is spinning, too.
    pub(crate) fn count_offer(&mut self, n: usize) {
        self.sent.offers += 2;
        let (second, members) = (self.now / SECOND, self.nodes.len() as u64);
        let Some(run) = self.run(n) else { return };
        let before = if run.sent_in.0 == second { run.sent_in.1 } else { 0 };
        run.sent_in = (second, before + 1);
        if before > 4 + 3 * members {
            self.fail(format!("{n} offers without end"));
        }
    }

    pub(crate) fn delay(&mut self) -> Ms {
        if self.rng.chance(20) { self.rng.between(200, 3000) } else { self.rng.between(2, 60) }
    }

    /// Over the network: late, never, twice, or after what was sent later.
    pub(crate) fn send(&mut self, to: usize, what: What) {
        if self.rng.chance(self.set.loss) {
            return;
        }
        let delay = self.delay();
        if self.rng.chance(self.set.twice) {
            let later = self.delay();
            self.push(to, later, what.clone());
        }
        self.push(to, delay, what);
    }

    /// Does the next thing; `false`: there is none before `until`, or something is broken.
    pub(crate) fn step(&mut self, until: Ms) -> bool {
        if self.broken.is_some() || self.heap.peek().is_none_or(|event| event.at > until) {
            return false;
        }
        let Some(event) = self.heap.pop() else { return false };
        self.now = event.at;
        self.events += 1;
        if let What::Fault(fault) = event.what {
            self.on_fault(fault);
            return true;
        }
        let node = &mut self.nodes[event.node];
        let stale = event.life.is_some_and(|life| life != node.life);
        match node.state {
            State::Halted { .. } if !stale => {
                node.held.push(event);
                return true;
            }
            State::Running if !stale => {}
            _ => {
                self.forget(&event.what);
                return true;
            }
        }
        self.deliver(event.node, event.at, event.what);
        true
    }

    pub(crate) fn again(&mut self, events: Vec<Event>) {
        for event in events {
            self.order += 1;
            self.heap.push(Event { at: self.now, order: self.order, ..event });
        }
    }

    /// It was for a process that is no more.
    pub(crate) fn forget(&mut self, what: &What) {
        if let What::Fetched { sources, at, .. } = what
            && let Some(source) = sources.get(*at)
        {
            self.nodes[*source].serving -= 1;
        }
    }

    fn deliver(&mut self, n: usize, at: Ms, what: What) {
        match what {
            What::Wake => {
                let second = at / SECOND;
                let Some(run) = self.run(n).filter(|run| run.wake == Some(at)) else { return };
                run.wake = None;
                if run.second != second {
                    (run.second, run.wakes) = (second, 0);
                }
                run.wakes += 1;
                if run.wakes > MOST_WAKES {
                    return self.fail(format!("node {n} spins"));
                }
            }
            What::Check(other) => self.on_check(n, other),
            What::Closed(other) => self.on_closed(n, other),
            What::Announce => self.on_announce(n),
            What::Sync(from) => self.on_sync(n, from),
            What::Hello(from) => self.on_hello(n, from),
            What::Offer { from, .. }
            | What::Offered { from, .. }
            | What::Lease { from, .. }
            | What::LeaseAnswer { from, .. }
                if self.is_cut(n, from) => {}
            What::Offer { from, ask, contents } => self.on_offer(n, from, ask, &contents),
            What::Offered { from, ask, answers } => self.on_offered(n, from, ask, answers),
            What::OfferLost(ask) => self.on_offer_lost(n, ask),
            What::Surveyed => self.on_surveyed(n),
            What::Fetched { purpose, content, sources, at } => {
                self.on_fetched(n, purpose, content, sources, at);
            }
            What::Lease { from, ask, content, subject, keeps } => {
                self.on_lease(n, from, ask, (content, subject, keeps));
            }
            What::Prove { to, ask, content } => self.on_prove(n, to, ask, content),
            What::LeaseAnswer { from, ask, granted } => self.on_lease_answer(n, from, ask, granted),
            What::Done(event) => self.on_done(n, event),
            What::Fault(_) => {}
        }
        self.act(n);
    }

    /// What the event loop does after every event.
    pub(crate) fn act(&mut self, n: usize) {
        if self.nodes[n].run.is_none() {
            return;
        }
        self.act_on_drops(n);
        self.act_on_copies(n);
        let (now, boot, started) = (self.instant(n), self.boot(n), self.now);
        let Some(run) = self.nodes[n].run.as_deref_mut() else { return };
        let copies = run.copies.planner.next_wakeup().map(|at| {
            let wait = at.saturating_duration_since(now);
            started + wait.as_nanos().div_ceil(1_000_000) as Ms
        });
        let drops = run.trim.next_wakeup().map(|at| started + at.0.saturating_sub(boot.0));
        let Some(at) = copies.into_iter().chain(drops).min() else { return };
        let at = at.max(started + 1);
        if run.wake.is_none_or(|before| before <= started || before > at) {
            run.wake = Some(at);
            self.push_own(n, at - started, What::Wake);
        }
    }

    pub(crate) fn new_run(&self, n: usize) -> Box<Run> {
        Box::new(Run {
            copies: Copies::new(self, n),
            trim: Trim::new(self, n),
            offers: BTreeMap::new(),
            announcing: false,
            pulling: 0,
            reserved: 0,
            wake: None,
            second: 0,
            wakes: 0,
            sent_in: (0, 0),
        })
    }

    /// All that are not gone for good.
    pub(crate) fn alive(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|n| self.nodes[*n].state != State::Gone).collect()
    }

    pub(crate) fn set_of(contents: impl IntoIterator<Item = ContentId>) -> BTreeSet<ContentId> {
        contents.into_iter().collect()
    }
}
