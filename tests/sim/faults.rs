//! What goes wrong, and when it ends. Bounded by what is promised: one disk is destroyed at a time,
//! and the next not before the swarm has healed. All else is free.

use p2pimg::replication::placement::Weight;
use p2pimg::replication::stabilize::Event;
use p2pimg::types::FolderId;

use crate::disk::HEALS_WITHIN;
use crate::rng::Rng;
use crate::world::{Content, Ms, Node, SECOND, State, What, World};

#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// The next one is drawn.
    Next,
    Restart(usize),
    Thaw(usize),
    /// The links between the nodes of this mask and the others are back.
    Mend(u64),
    Room(usize),
    Join,
    /// A node that was drained is switched off.
    Left(usize),
}

impl World {
    pub(crate) fn populate(&mut self) {
        let tight = self.set.tight;
        for _ in 0..self.set.nodes {
            self.add_node();
        }
        for _ in 0..self.set.pictures {
            self.add_picture();
        }
        if tight {
            let bytes: u64 = self.contents.iter().map(|c| c.bytes).sum();
            let share = bytes * u64::from(self.set.copies) / self.nodes.len() as u64;
            for node in &mut self.nodes {
                node.capacity = share * self.rng.between(60, 200) / 100;
            }
        }
        for n in 0..self.nodes.len() {
            let wait = self.rng.between(0, 5 * SECOND);
            self.nodes[n].state = State::Crashed;
            self.push(n, wait, What::Fault(Fault::Restart(n)));
            self.open += 1;
        }
        let wait = self.rng.between(10 * SECOND, 60 * SECOND);
        self.push(0, wait, What::Fault(Fault::Next));
        self.open += 1;
    }

    pub(crate) fn add_node(&mut self) -> usize {
        let n = self.nodes.len();
        for node in &mut self.nodes {
            node.seen.push(0);
            node.up.push(false);
        }
        let zones = ["attic", "cellar"];
        let zone = if self.set.seed.is_multiple_of(3) { zones.get(self.rng.below(3) as usize) } else { None };
        let capacity = [50, 100, 100, 400][self.rng.below(4) as usize] << 30;
        let node = Node {
            peer: self.name_of(n),
            folder: FolderId(n as u128 + 1),
            weight: Weight::of_capacity(capacity),
            zone: zone.map(|zone| zone.parse().expect("a zone")),
            takes: n == 0 || !self.rng.chance(30),
            capacity,
            bandwidth: self.rng.between(500, 20_000),
            full: false,
            disk: std::collections::BTreeMap::new(),
            replica_bytes: 0,
            aside: std::collections::BTreeMap::new(),
            index: std::collections::BTreeMap::new(),
            seq: 1,
            seen: vec![0; n + 1],
            state: State::Crashed,
            life: 0,
            run: None,
            up: vec![false; n + 1],
            held: Vec::new(),
            slept: 0,
            booted: self.rng.below(1 << 30),
            serving: 0,
            leaving: false,
            drained: false,
        };
        self.nodes.push(node);
        n
    }

    /// A new picture in the folder of one node or of several.
    pub(crate) fn add_picture(&mut self) {
        let c = self.contents.len();
        let bytes = self.rng.between(50_000, 8_000_000);
        // The one before may be a worse version of it.
        let worse = c > 0 && self.rng.chance(150) && self.contents[c - 1].better.is_none();
        let worse = worse && !(c > 1 && self.contents[c - 2].better.is_some());
        if worse {
            self.contents[c - 1].better = Some(c);
        }
        let id = self.id_of(c);
        let content = Content {
            id,
            bytes,
            better: None,
            spans: Vec::new(),
            on_disk: 0,
            confirmed: false,
            transfers: 0,
        };
        self.contents.push(content);
        let places = [1, 1, 1, 1, 2, 3, 4][self.rng.below(7) as usize];
        let there: Vec<usize> = self.alive().into_iter().filter(|n| !self.nodes[*n].leaving).collect();
        for _ in 0..places {
            let Some(n) = self.rng.pick(&there) else { return };
            // What is put while a node doesn't run is found when it starts.
            self.add_copy(n, c, false);
        }
    }

    pub(crate) fn on_fault(&mut self, fault: Fault) {
        self.last_fault = self.now;
        self.open -= 1;
        match fault {
            Fault::Next => self.next_fault(),
            Fault::Restart(n) => self.start(n),
            Fault::Thaw(n) => self.thaw(n),
            Fault::Mend(mask) => self.mend(mask),
            Fault::Room(n) => self.nodes[n].full = false,
            Fault::Join => {
                let n = self.add_node();
                self.start(n);
                self.log(|| format!("{n} joins"));
            }
            Fault::Left(n) => self.left(n),
        }
    }

    fn ends(&mut self, after: Ms, fault: Fault) {
        self.open += 1;
        self.push(0, after, What::Fault(fault));
    }

    fn next_fault(&mut self) {
        if self.now >= self.set.faults {
            return;
        }
        let wait = self.rng.between(self.set.pause / 4, self.set.pause * 2);
        self.ends(wait, Fault::Next);
        let there: Vec<usize> = self.alive().into_iter().filter(|n| self.is_running(*n)).collect();
        let Some(n) = self.rng.pick(&there) else { return };
        // Most are short, some are long.
        let long = if self.rng.chance(200) { 600 } else { 60 };
        let time = self.rng.between(1, long) * SECOND;
        match self.rng.below(100) {
            0..20 => {
                self.crash(n);
                self.ends(time, Fault::Restart(n));
            }
            20..32 => self.halt(n, time, false),
            32..42 => self.halt(n, time, true),
            42..58 => self.split(time),
            58..65 => {
                self.log(|| format!("{n}'s disk is full"));
                self.nodes[n].full = true;
                self.ends(time, Fault::Room(n));
            }
            65..77 => self.add_picture(),
            77..82 if self.alive().len() < self.set.nodes + 3 => self.ends(1, Fault::Join),
            82..86 => self.drain(n),
            86..100 if self.may_destroy(n) => {
                self.destroy(n, "is destroyed");
                if self.rng.chance(700) {
                    self.ends(time, Fault::Join);
                }
            }
            _ => {}
        }
    }

    fn start(&mut self, n: usize) {
        if self.nodes[n].state != State::Crashed {
            return;
        }
        self.log(|| format!("{n} starts"));
        let node = &mut self.nodes[n];
        node.state = State::Running;
        node.life += 1;
        (node.leaving, node.drained) = (false, false);
        node.up.fill(false);
        // What was not final comes back; what went, the catalog forgets.
        for c in self.nodes[n].aside.keys().copied().collect::<Vec<_>>() {
            self.put_back(n, c);
        }
        for c in self.nodes[n].index.keys().copied().collect::<Vec<_>>() {
            self.withdraw(n, c);
        }
        let run = self.new_run(n);
        self.nodes[n].run = Some(run);
        self.watch_all(n);
        self.act(n);
    }

    fn crash(&mut self, n: usize) {
        self.log(|| format!("{n} crashes"));
        self.nodes[n].state = State::Crashed;
        self.end_process(n);
    }

    fn end_process(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        node.run = None;
        node.life += 1;
        for event in std::mem::take(&mut node.held) {
            self.forget(&event.what);
        }
        for other in self.alive() {
            if other != n && !self.is_cut(n, other) {
                let wait = self.rng.between(5, 300);
                self.push(other, wait, What::Closed(n));
            } else if other != n {
                self.watch(n, other);
            }
        }
    }

    fn halt(&mut self, n: usize, time: Ms, asleep: bool) {
        self.log(|| format!("{n} {}", if asleep { "sleeps" } else { "stands still" }));
        self.nodes[n].state = State::Halted { asleep, since: self.now };
        self.watch_all(n);
        self.ends(time, Fault::Thaw(n));
    }

    fn thaw(&mut self, n: usize) {
        let State::Halted { asleep, since } = self.nodes[n].state else { return };
        self.log(|| format!("{n} goes on"));
        self.nodes[n].state = State::Running;
        if asleep {
            self.nodes[n].slept += self.now - since;
            let (now, boot) = (self.instant(n), self.boot(n));
            if let Some(run) = self.run(n) {
                run.copies.planner.on_event(now, Event::Slept);
                run.trim.resumed(boot);
            }
        }
        // Who took it for gone has closed the connection.
        for other in self.alive() {
            if other != n && self.nodes[n].up[other] && !self.nodes[other].up[n] {
                self.member_down(n, other);
            }
        }
        let held = std::mem::take(&mut self.nodes[n].held);
        self.again(held);
        self.watch_all(n);
        self.act(n);
    }

    /// Cuts the links between some nodes and the others.
    fn split(&mut self, time: Ms) {
        let mask =
            if self.rng.chance(300) { 1 << self.rng.below(self.nodes.len() as u64) } else { self.rng.draw() };
        self.log(|| format!("the network is split: {mask:b}"));
        for pair in self.across(mask) {
            *self.cuts.entry(pair).or_default() += 1;
            self.watch(pair.0, pair.1);
        }
        self.ends(time, Fault::Mend(mask));
    }

    fn mend(&mut self, mask: u64) {
        self.log(|| format!("the network is mended: {mask:b}"));
        for pair in self.across(mask) {
            // Who joined meanwhile was not cut off.
            let Some(cuts) = self.cuts.get_mut(&pair) else { continue };
            *cuts -= 1;
            if *cuts == 0 {
                self.cuts.remove(&pair);
            }
            self.watch(pair.0, pair.1);
        }
    }

    fn across(&self, mask: u64) -> Vec<(usize, usize)> {
        let side = |n: usize| mask >> (n % 64) & 1;
        let all = 0..self.nodes.len();
        all.clone()
            .flat_map(|a| (a + 1..all.end).map(move |b| (a, b)))
            .filter(|(a, b)| side(*a) != side(*b))
            .collect()
    }

    /// Whether a disk more may go: the swarm has healed from the one before.
    fn may_destroy(&self, n: usize) -> bool {
        let healed = |content: &Content| {
            content.on_disk >= u32::from(self.set.copies)
                || content.better.is_some_and(|k| self.contents[k].on_disk >= u32::from(self.set.copies))
        };
        let rested = self.destroyed.is_none_or(|at| self.now >= at + HEALS_WITHIN);
        let others = self.alive().len() > usize::from(self.set.copies) + 1;
        let own = self.nodes[n].disk.keys().all(|c| self.contents[*c].on_disk > 1);
        rested && others && own && self.contents.iter().all(healed)
    }

    pub(crate) fn destroy(&mut self, n: usize, why: &str) {
        self.log(|| format!("{n} {why}"));
        self.destroyed = Some(self.now);
        self.nodes[n].state = State::Gone;
        self.end_process(n);
        self.destroy_disk(n);
    }

    fn drain(&mut self, n: usize) {
        let others = self.alive().into_iter().filter(|m| !self.nodes[*m].leaving).count();
        if others <= usize::from(self.set.copies) + 1 {
            return;
        }
        self.log(|| format!("{n} is to leave"));
        self.nodes[n].leaving = true;
        let now = self.instant(n);
        if let Some(run) = self.run(n) {
            run.copies.planner.on_event(now, Event::Drain { cancel: false });
        }
        for other in 0..self.nodes.len() {
            if self.nodes[n].up[other] {
                let wait = self.delay();
                self.push(other, wait, What::Hello(n));
            }
        }
        self.act(n);
    }

    /// All that can be handed over has been: it is switched off, unless another disk was lost just now.
    pub(crate) fn leave(&mut self, n: usize) {
        if !std::mem::replace(&mut self.nodes[n].drained, true) {
            self.ends(2 * SECOND, Fault::Left(n));
        }
    }

    fn left(&mut self, n: usize) {
        let heals = self.destroyed.map_or(0, |at| at + HEALS_WITHIN);
        let drained = self.run(n).is_some_and(|run| run.copies.is_drained());
        if self.now < heals {
            self.ends(heals - self.now, Fault::Left(n));
        } else if drained {
            self.destroy(n, "was drained and leaves");
        } else {
            // Something has changed since; or it crashed, and forgot that it was to leave.
            self.nodes[n].drained = false;
        }
    }
}

/// What a seed stands for.
pub(crate) fn settings(seed: u64) -> crate::world::Settings {
    let mut rng = Rng(seed ^ 0x5eed);
    let large = rng.chance(15);
    let nodes = if large { rng.between(20, 50) } else { rng.between(3, 12) };
    let copies = if nodes > 4 && rng.chance(200) { 3 } else { 2 };
    crate::world::Settings {
        seed,
        nodes: nodes as usize,
        pictures: rng.between(5, 60) as usize,
        copies,
        loss: [0, 0, 5, 30][rng.below(4) as usize],
        twice: [0, 10, 50][rng.below(3) as usize],
        faults: rng.between(300, 900) * SECOND,
        pause: rng.between(10, 60) * SECOND,
        tight: rng.chance(150),
        broken: crate::world::Broken::Nothing,
        trace: false,
    }
}
