//! A large swarm without faults but one: what a disk less costs, and whether each node's part of
//! it grows with the swarm.

use std::time::Instant;

use crate::faults::settings;
use crate::world::{Broken, Content, Ms, SECOND, Sent, Settings, State, World};

/// What it took to have all copies again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) nodes: u64,
    pub(crate) heals_after: Ms,
    /// Bytes that were fetched, and those that were lacking.
    pub(crate) moved: u64,
    pub(crate) lacked: u64,
    pub(crate) sent: Sent,
    pub(crate) surveys: u64,
}

impl Cost {
    pub(crate) fn tell(&self, what: &str) {
        let each = |sent: u64| sent as f64 / self.nodes as f64;
        println!(
            "{:>5} nodes, {what}: healed after {:.0} s, {:.1} MB moved of {:.1} MB lacking; messages of a node: \
             {:.2} of offers, {:.2} of leases, {:.1} of catalogs; {:.1} surveys",
            self.nodes,
            self.heals_after as f64 / 1000.0,
            self.moved as f64 / 1e6,
            self.lacked as f64 / 1e6,
            each(self.sent.offers),
            each(self.sent.leases),
            each(self.sent.catalogs),
            each(self.surveys),
        );
    }
}

/// Fills a swarm from one copy of each picture, then destroys a disk.
pub(crate) fn swarm(nodes: usize, pictures: usize) -> Result<(Cost, Cost), String> {
    let set = Settings {
        nodes,
        pictures,
        copies: 2,
        loss: 0,
        twice: 0,
        faults: 0,
        tight: false,
        broken: Broken::Nothing,
        trace: false,
        ..settings(1)
    };
    let began = Instant::now();
    let mut world = World::new(set);
    world.meet();
    let filled = world.heal()?;
    let rest = world.now + 600 * SECOND;
    while world.step(rest) {}
    world.now = rest;
    let victim = nodes / 2;
    world.destroy(victim, "is destroyed");
    let healed = world.heal()?;
    println!("{nodes} nodes, {pictures} pictures: {} events in {:.0?}", world.events, began.elapsed());
    Ok((filled, healed))
}

impl World {
    /// All know all others, and nobody has copied anything yet.
    fn meet(&mut self) {
        let nodes = self.set.nodes;
        for n in 0..nodes {
            self.add_node();
            let node = &mut self.nodes[n];
            (node.takes, node.bandwidth, node.zone) = (true, 10_000, None);
        }
        for c in 0..self.set.pictures {
            let (id, bytes) = (self.id_of(c), self.rng.between(50_000, 8_000_000));
            let spans = Vec::new();
            let content =
                Content { id, bytes, better: None, spans, on_disk: 0, confirmed: false, transfers: 0 };
            self.contents.push(content);
            self.add_copy(c % nodes, c, false);
        }
        let seqs: Vec<u64> = self.nodes.iter().map(|node| node.seq).collect();
        for n in 0..nodes {
            self.nodes[n].state = State::Running;
            self.nodes[n].life = 1;
            self.nodes[n].up = (0..nodes).map(|m| m != n).collect();
            let run = self.new_run(n);
            self.nodes[n].run = Some(run);
            self.nodes[n].seen.clone_from(&seqs);
            self.members_changed(n);
            let (now, hellos) = (self.instant(n), (0..nodes).filter(|m| *m != n));
            let hellos: Vec<_> = hellos.map(|m| self.hello_of(m)).collect();
            if let Some(run) = self.run(n) {
                for hello in &hellos {
                    run.copies.heard(now, hello);
                }
            }
        }
        for n in 0..nodes {
            self.act(n);
        }
    }

    fn lacking(&self) -> u64 {
        let copies = u32::from(self.set.copies);
        let lacks = |content: &Content| u64::from(copies.saturating_sub(content.on_disk)) * content.bytes;
        self.contents.iter().map(lacks).sum()
    }

    /// Until all have their copies, and a minute longer.
    fn heal(&mut self) -> Result<Cost, String> {
        let (began, moved, sent, surveys) = (self.now, self.moved, self.sent, self.surveys);
        let lacked = self.lacking();
        let mut heals_after = None;
        while heals_after.is_none_or(|at| self.now < began + at + 60 * SECOND) {
            let until = self.now + SECOND;
            while self.step(until) {}
            self.now = until;
            if let Some(why) = &self.broken {
                return Err(why.clone());
            }
            if heals_after.is_none() && self.lacking() == 0 {
                heals_after = Some(self.now - began);
            }
            if self.now > began + 4 * 3600 * SECOND {
                return Err(format!("{} bytes of {lacked} are still lacking", self.lacking()));
            }
        }
        let (before, now) = (sent, self.sent);
        Ok(Cost {
            nodes: self.alive().len() as u64,
            heals_after: heals_after.unwrap_or(0),
            moved: self.moved - moved,
            lacked,
            sent: Sent {
                catalogs: now.catalogs - before.catalogs,
                offers: now.offers - before.offers,
                leases: now.leases - before.leases,
            },
            surveys: self.surveys - surveys,
        })
    }
}
