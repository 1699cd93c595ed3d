//! Who is connected, and catalogs on their way.

use p2pimg::replication::stabilize::Event;

use crate::copies::Hello;
use crate::world::{Ms, SECOND, State, What, World};

impl World {
    /// Both sides find out, each in its time, whether the other is there.
    pub(crate) fn watch(&mut self, a: usize, b: usize) {
        for (x, y) in [(a, b), (b, a)] {
            let reach = self.reach(a, b);
            let wait = if reach { self.rng.between(100, 3000) } else { self.rng.between(4000, 11_000) };
            self.push(x, wait, What::Check(y));
        }
    }

    pub(crate) fn watch_all(&mut self, n: usize) {
        for other in self.alive() {
            if other != n {
                self.watch(n, other);
            }
        }
    }

    pub(crate) fn on_check(&mut self, n: usize, other: usize) {
        match (self.reach(n, other), self.nodes[n].up[other]) {
            (true, false) => self.member_up(n, other),
            (false, true) => self.member_down(n, other),
            _ => {}
        }
    }

    pub(crate) fn on_closed(&mut self, n: usize, other: usize) {
        if self.nodes[n].up[other] {
            self.member_down(n, other);
        }
        if self.nodes[other].state != State::Gone {
            let wait = self.rng.between(100, 3000);
            self.push(n, wait, What::Check(other));
        }
    }

    pub(crate) fn hello_of(&self, n: usize) -> Hello {
        let node = &self.nodes[n];
        let draining = node.run.as_ref().is_some_and(|run| run.copies.planner.is_draining());
        let keeps = self.keeps_of(n, draining);
        Hello { peer: node.peer, folder: node.folder, copies: self.set.copies, keeps }
    }

    fn member_up(&mut self, n: usize, other: usize) {
        self.log(|| format!("{n}: {other} is up"));
        self.nodes[n].up[other] = true;
        self.members_changed(n);
        let (now, hello) = (self.instant(n), self.hello_of(other));
        if let Some(run) = self.run(n) {
            run.copies.heard(now, &hello);
        }
        let wait = self.delay();
        self.push_own(n, wait, What::Sync(other));
        // Its `hello` brings this node's news, too.
        let wait = self.delay();
        self.push(other, wait, What::Sync(n));
    }

    pub(crate) fn member_down(&mut self, n: usize, other: usize) {
        self.log(|| format!("{n}: {other} is down"));
        self.nodes[n].up[other] = false;
        self.members_changed(n);
        let (now, peer) = (self.instant(n), self.nodes[other].peer);
        if let Some(run) = self.run(n) {
            run.copies.planner.on_event(now, Event::Gone(peer));
        }
    }

    pub(crate) fn members_changed(&mut self, n: usize) {
        let (now, boot) = (self.instant(n), self.boot(n));
        let up = &self.nodes[n].up;
        let members = (0..up.len()).filter(|m| up[*m]).map(|m| (self.nodes[m].peer, self.nodes[m].folder));
        let members = members.collect();
        if let Some(run) = self.run(n) {
            run.trim.set_members(boot, members);
            run.copies.changed(now);
        }
    }

    /// It said more of itself: that it leaves.
    pub(crate) fn on_hello(&mut self, n: usize, from: usize) {
        if !self.reach(n, from) {
            return;
        }
        let (now, hello) = (self.instant(n), self.hello_of(from));
        if self.nodes[n].up[from]
            && let Some(run) = self.run(n)
        {
            run.copies.heard(now, &hello);
        }
    }

    pub(crate) fn on_announce(&mut self, n: usize) {
        if let Some(run) = self.run(n) {
            run.announcing = false;
        }
        for other in 0..self.nodes.len() {
            if self.nodes[n].up[other] {
                let wait = self.delay();
                self.push(other, wait, What::Sync(n));
            }
        }
    }

    /// A catalog's news: an announcement and its answer, a question and the page.
    pub(crate) fn on_sync(&mut self, n: usize, from: usize) {
        if !self.nodes[n].up[from] {
            return;
        }
        self.sent.catalogs += 4;
        let lost = self.rng.chance(4 * self.set.loss);
        if !self.reach(n, from) || lost {
            let wait: Ms = self.rng.between(2 * SECOND, 6 * SECOND);
            return self.push_own(n, wait, What::Sync(from));
        }
        // The announcement is a `hello`: news only when the member leaves.
        if self.nodes[from].leaving {
            self.on_hello(n, from);
        }
        let seq = self.nodes[from].seq;
        if self.nodes[n].seen[from] < seq {
            self.nodes[n].seen[from] = seq;
            let now = self.instant(n);
            if let Some(run) = self.run(n) {
                run.copies.changed(now);
            }
        }
    }
}
