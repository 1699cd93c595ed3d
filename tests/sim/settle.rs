//! After the last fault: does the swarm come to rest, where it should, and stay there?

use crate::world::{Ms, SECOND, State, World};

/// The longest pause of a drop is an hour, and the longest patience with who was away shorter.
const SETTLES_WITHIN: Ms = 4 * 3600 * SECOND;
/// So long nothing more may happen.
const RESTS: Ms = 2 * 3600 * SECOND;

/// What came of a seed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Report {
    pub(crate) events: u64,
    pub(crate) transfers: u64,
    pub(crate) finals: u64,
    pub(crate) nodes: usize,
    pub(crate) lasted: Ms,
    /// From the last fault to rest.
    pub(crate) settled: Ms,
    /// Most transfers of one content after the last fault.
    pub(crate) late: u32,
    pub(crate) offers: u64,
    pub(crate) leases: u64,
    pub(crate) catalogs: u64,
}

impl World {
    /// Runs to the end; the error says what was broken.
    pub(crate) fn run_through(&mut self) -> Result<Report, String> {
        self.populate();
        let (last_fault, before) = self.until_settled()?;
        let settled = self.now - last_fault;
        self.log(|| "settled".to_owned());
        self.stays_so()?;
        let late = self.contents.iter().zip(&before).map(|(now, before)| now.transfers - before).max();
        let late = late.unwrap_or(0);
        // Each copy that lacks, once more for two who see the swarm differently, and a keeper's to compare.
        let most = 2 * u32::from(self.set.copies) + self.alive().len() as u32 / 4 + 1;
        if late > most {
            return Err(format!("a content was fetched {late} times after the last fault"));
        }
        Ok(Report { settled, late, ..self.report() })
    }

    /// When the last fault was, and how often each content had been fetched then.
    fn until_settled(&mut self) -> Result<(Ms, Vec<u32>), String> {
        loop {
            while self.open > 0 && self.step(Ms::MAX) {}
            self.whole()?;
            self.log(|| "no more faults".to_owned());
            let before = self.contents.iter().map(|content| content.transfers).collect();
            let last_fault = self.now;
            let mut next = self.now;
            // Somebody who was to leave may do so only now: that is a fault of its own.
            while self.open == 0 {
                next += 20 * SECOND;
                while self.open == 0 && self.step(next) {}
                self.whole()?;
                if self.open > 0 {
                    break;
                }
                self.now = next;
                let Some(why) = self.unsettled() else { return Ok((last_fault, before)) };
                if next > last_fault + SETTLES_WITHIN {
                    self.log(|| format!("BROKEN: {why}"));
                    return Err(format!("it doesn't settle: {why}"));
                }
            }
        }
    }

    fn report(&self) -> Report {
        Report {
            events: self.events,
            transfers: self.transfers,
            finals: self.finals,
            nodes: self.nodes.len(),
            lasted: self.now,
            offers: self.sent.offers,
            leases: self.sent.leases,
            catalogs: self.sent.catalogs,
            ..Report::default()
        }
    }

    fn whole(&self) -> Result<(), String> {
        self.broken.clone().map_or(Ok(()), Err)
    }

    fn stays_so(&mut self) -> Result<(), String> {
        let (transfers, finals, sent) = (self.transfers, self.finals, self.sent);
        let until = self.now + RESTS;
        while self.step(until) {}
        self.whole()?;
        self.now = until;
        if let Some(why) = self.unsettled() {
            return Err(format!("it was settled, and is not any more: {why}"));
        }
        if (transfers, finals) != (self.transfers, self.finals) {
            return Err("it was settled, and copies went on moving".to_owned());
        }
        let offers = self.sent.offers - sent.offers;
        if offers > 4 * RESTS / (300 * SECOND) * self.nodes.len() as u64 {
            return Err(format!("it was settled, and {offers} offers went on"));
        }
        Ok(())
    }

    /// What is not yet as it should be.
    fn unsettled(&self) -> Option<String> {
        let alive = self.alive();
        for n in &alive {
            let node = &self.nodes[*n];
            if node.state != State::Running {
                return Some(format!("{n} doesn't run"));
            }
            if !node.aside.is_empty() || node.index != node.disk {
                return Some(format!("{n} is still at work"));
            }
            if let Some(m) = alive.iter().find(|m| **m != *n && node.seen[**m] != self.nodes[**m].seq) {
                return Some(format!("{n} doesn't know the catalog of {m}"));
            }
            if node.run.as_ref().is_none_or(|run| run.pulling > 0) {
                return Some(format!("{n} is still fetching"));
            }
        }
        (0..self.contents.len()).find_map(|c| self.too_few_or_many(&alive, c))
    }

    fn too_few_or_many(&self, alive: &[usize], c: usize) -> Option<String> {
        let content = &self.contents[c];
        let wanted = match content.better {
            Some(better) if self.contents[better].on_disk > 0 => 0,
            _ => u32::from(self.set.copies),
        };
        let leaves = |n: &usize| self.nodes[*n].leaving;
        let has = |n: &&usize| !leaves(n) && self.nodes[**n].disk.contains_key(&c);
        // Who is about to leave, and can't, holds on to what it has.
        let found = alive.iter().filter(has).count() as u32;
        if content.on_disk == 0 && wanted > 0 {
            // Lost before it had its copies: that is not promised.
            return None;
        }
        if found > wanted {
            return Some(format!("{c} has {found} copies"));
        }
        let able = alive.iter().any(|n| {
            let node = &self.nodes[*n];
            node.takes && !leaves(n) && !node.disk.contains_key(&c) && self.free(*n) >= content.bytes
        });
        (found < wanted && able).then(|| format!("{c} has {found} copies"))
    }
}
