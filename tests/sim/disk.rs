//! Disks: copies come, are set aside, go and come back; and what is promised about them is
//! checked at each change.

use crate::world::{Ms, SECOND, Span, What, World};

/// How long a swarm may need to see that a disk is gone and to make copies of what it had.
pub(crate) const HEALS_WITHIN: Ms = 300 * SECOND;

impl World {
    /// A copy is there, verified and known to the own catalog.
    pub(crate) fn add_copy(&mut self, n: usize, c: usize, replica: bool) {
        let node = &mut self.nodes[n];
        if node.disk.contains_key(&c) || node.aside.contains_key(&c) {
            return;
        }
        node.disk.insert(c, replica);
        node.index.insert(c, replica);
        node.seq += 1;
        let from = node.seq;
        if replica {
            node.replica_bytes += self.contents[c].bytes;
        }
        let content = &mut self.contents[c];
        content.spans.push(Span { node: n, replica, from, to: u64::MAX });
        content.on_disk += 1;
        content.confirmed |= content.on_disk >= u32::from(self.set.copies);
        self.log(|| format!("{n} has {c}{}", if replica { " as a replica" } else { "" }));
        self.catalog_changed(n);
    }

    /// Its name is gone from its place. Whether it was there.
    pub(crate) fn set_aside(&mut self, n: usize, c: usize) -> bool {
        let Some(replica) = self.nodes[n].disk.remove(&c) else { return false };
        self.nodes[n].aside.insert(c, replica);
        self.contents[c].on_disk -= 1;
        self.log(|| format!("{n} sets {c} aside"));
        self.judge(c, "was set aside");
        true
    }

    pub(crate) fn put_back(&mut self, n: usize, c: usize) {
        if let Some(replica) = self.nodes[n].aside.remove(&c) {
            self.nodes[n].disk.insert(c, replica);
            self.contents[c].on_disk += 1;
            self.log(|| format!("{n} puts {c} back"));
        }
    }

    /// It is not to come back.
    pub(crate) fn drop_for_good(&mut self, n: usize, c: usize) -> bool {
        let Some(replica) = self.nodes[n].aside.remove(&c) else { return false };
        if replica {
            self.nodes[n].replica_bytes -= self.contents[c].bytes;
        }
        self.finals += 1;
        self.log(|| format!("{n} dropped {c}"));
        // Whoever promised it may have been destroyed since: that is one disk within the time.
        let recent = self.destroyed.is_some_and(|at| self.now < at + HEALS_WITHIN);
        let keepers = [Some(c), self.contents[c].better].into_iter().flatten();
        let there = keepers.map(|keeper| self.contents[keeper].on_disk).max().unwrap_or(0);
        if there + u32::from(recent) < u32::from(self.set.copies) {
            self.fail(format!("{n} dropped {c} for good, and {there} copies are left"));
        }
        true
    }

    /// The catalog says what the disk has.
    pub(crate) fn withdraw(&mut self, n: usize, c: usize) {
        let node = &mut self.nodes[n];
        if node.disk.contains_key(&c) || node.aside.contains_key(&c) || node.index.remove(&c).is_none() {
            return;
        }
        node.seq += 1;
        let to = node.seq;
        let spans = &mut self.contents[c].spans;
        for span in spans.iter_mut().filter(|span| span.node == n && span.to == u64::MAX) {
            span.to = to;
        }
        self.catalog_changed(n);
    }

    /// All that was on it is lost.
    pub(crate) fn destroy_disk(&mut self, n: usize) {
        self.nodes[n].aside.clear();
        for c in std::mem::take(&mut self.nodes[n].disk).into_keys() {
            self.contents[c].on_disk -= 1;
            self.judge(c, "was destroyed");
        }
    }

    /// No picture that had its copies once is on no disk.
    fn judge(&mut self, c: usize, why: &str) {
        let content = &self.contents[c];
        let keeper = content.better.unwrap_or(c);
        let kept = &self.contents[keeper];
        let lives = content.on_disk > 0 || kept.on_disk > 0;
        if !lives && (content.confirmed || kept.confirmed) {
            self.fail(format!("the last copy of {c} {why}"));
        }
    }

    fn catalog_changed(&mut self, n: usize) {
        let members = self.nodes[n].up.iter().filter(|up| **up).count() as Ms;
        let now = self.instant(n);
        let Some(run) = self.run(n) else { return };
        run.copies.changed(now);
        if !run.announcing {
            run.announcing = true;
            // `ANNOUNCE_EVERY`, `ANNOUNCE_PER_MEMBER`.
            self.push_own(n, (25 * members).max(200), What::Announce);
        }
    }
}
