//! Offers and their answers, and fetching what was offered, as in `src/node/copies`.

use libp2p::PeerId;
use p2pimg::limits::{MAX_INTAKE, MAX_PULLING};
use p2pimg::protocol::{OfferAnswer, Offered};
use p2pimg::replication::intake::{Known, Pull};
use p2pimg::replication::stabilize::Event;
use p2pimg::types::{ContentId, RelPath};

use crate::copies::Facts;
use crate::world::{ASK_TIMEOUT, Broken, Purpose, SECOND, What, World};

impl World {
    pub(crate) fn send_offer(&mut self, n: usize, peer: PeerId, contents: &[(ContentId, u16)]) {
        let to = Self::number(&peer);
        let known = |(content, copies): &(ContentId, u16)| {
            let c = Self::content_number(content);
            self.nodes[n].index.contains_key(&c).then_some((c, *copies))
        };
        let contents: Vec<(usize, u16)> = contents.iter().filter_map(known).collect();
        let up = self.nodes[n].up[to];
        self.next_ask += 1;
        let ask = self.next_ask;
        if let Some(run) = self.run(n) {
            run.offers.insert(ask, to);
        }
        if contents.is_empty() {
            // All of it has gone meanwhile.
            return self.push_own(n, 1, What::Offered { from: n, ask, answers: Some(Vec::new()) });
        }
        self.log(|| format!("{n} offers {to} {contents:?}"));
        self.count_offer(n);
        self.push_own(n, if up { ASK_TIMEOUT } else { 1 }, What::OfferLost(ask));
        if up {
            self.send(to, What::Offer { from: n, ask, contents });
        }
    }

    pub(crate) fn on_offer(&mut self, n: usize, from: usize, ask: u64, contents: &[(usize, u16)]) {
        if !self.nodes[n].up[from] {
            return self.send(from, What::Offered { from: n, ask, answers: None });
        }
        let room = self.free(n);
        let path = RelPath::from_bytes(b"a".to_vec()).expect("a name");
        let offers: Vec<Offered> = contents
            .iter()
            .map(|(c, copies)| {
                let Facts { id: content, bytes } = self.facts(*c);
                Offered { content, bytes, path: path.clone(), copies: *copies, carries: false }
            })
            .collect();
        let ids: Vec<ContentId> = offers.iter().map(|offered| offered.content).collect();
        let peer = self.nodes[from].peer;
        let node = &mut self.nodes[n];
        let (Some(run), index) = (node.run.as_deref_mut(), &node.index) else { return };
        let room = room.saturating_sub(run.reserved);
        let trim = &run.trim;
        let known = |content: &ContentId| {
            if trim.is_dropping(content) {
                Known::Unwanted
            } else if index.contains_key(&Self::content_number(content)) {
                Known::Held
            } else {
                Known::New
            }
        };
        let answers = run.copies.planner.offered(peer, offers, &known, room);
        let number = run.copies.planner.incoming().0;
        if number > MAX_INTAKE {
            self.fail(format!("{number} contents are to come to {n}"));
        }
        let answers: Vec<_> = ids.into_iter().zip(answers).collect();
        self.send(from, What::Offered { from: n, ask, answers: Some(answers) });
    }

    pub(crate) fn on_offered(
        &mut self,
        n: usize,
        from: usize,
        ask: u64,
        answers: Option<Vec<(ContentId, OfferAnswer)>>,
    ) {
        let (now, peer, eager) = (self.instant(n), self.nodes[from].peer, self.set.broken == Broken::Eager);
        let Some(run) = self.run(n) else { return };
        let Some(to) = run.offers.remove(&ask) else { return };
        // The planner hears of the member that was asked; `from` may be this node.
        let peer = if to == from { peer } else { self.nodes[to].peer };
        let mut answers = answers;
        if let Some(answers) = answers.as_mut().filter(|_| eager) {
            answers.retain(|(_, answer)| *answer != OfferAnswer::Coming);
        }
        if let Some(run) = self.run(n) {
            run.copies.planner.on_event(now, Event::Answered { peer, answers });
        }
    }

    pub(crate) fn on_offer_lost(&mut self, n: usize, ask: u64) {
        let now = self.instant(n);
        let Some(to) = self.run(n).and_then(|run| run.offers.remove(&ask)) else { return };
        let peer = self.nodes[to].peer;
        if let Some(run) = self.run(n) {
            run.copies.planner.on_event(now, Event::Answered { peer, answers: None });
        }
    }

    pub(crate) fn begin_pull(&mut self, n: usize, Pull { offered, from }: Pull) {
        let c = Self::content_number(&offered.content);
        let here = self.nodes[n].index.contains_key(&c);
        let sources: Vec<usize> = from.iter().map(Self::number).collect();
        let free = self.free(n);
        let Some(run) = self.run(n) else { return };
        run.pulling += 1;
        let room = free.saturating_sub(run.reserved) >= offered.bytes;
        run.reserved += offered.bytes;
        let pulling = run.pulling;
        if pulling > MAX_PULLING as u64 {
            self.fail(format!("{n} fetches {pulling} at once"));
        }
        let sources = if here || !room { Vec::new() } else { sources };
        self.fetch(n, Purpose::Copy, c, sources);
    }

    /// Begins to fetch from the first of these that is connected.
    pub(crate) fn fetch(&mut self, n: usize, purpose: Purpose, content: usize, mut sources: Vec<usize>) {
        sources.retain(|source| self.nodes[n].up[*source]);
        self.fetch_from(n, purpose, content, sources, 0);
    }

    fn fetch_from(&mut self, n: usize, purpose: Purpose, content: usize, sources: Vec<usize>, at: usize) {
        let mut takes = self.rng.between(2, 40);
        if let Some(source) = sources.get(at) {
            self.nodes[*source].serving += 1;
            let pulling = self.run(n).map_or(1, |run| run.pulling.max(1));
            let (own, other) = (&self.nodes[n], &self.nodes[*source]);
            let rate = (own.bandwidth / pulling).min(other.bandwidth / other.serving).max(1);
            takes += self.contents[content].bytes / rate;
        }
        // After one that was silent.
        takes += if at > 0 { 6 * SECOND } else { 0 };
        self.push_own(n, takes, What::Fetched { purpose, content, sources, at });
    }

    pub(crate) fn on_fetched(
        &mut self,
        n: usize,
        purpose: Purpose,
        c: usize,
        sources: Vec<usize>,
        at: usize,
    ) {
        let mut ok = self.nodes[n].index.contains_key(&c);
        let mut fetched = false;
        if let Some(source) = sources.get(at).copied() {
            self.nodes[source].serving -= 1;
            if !self.reach(n, source) || !self.nodes[source].disk.contains_key(&c) {
                return self.fetch_from(n, purpose, c, sources, at + 1);
            }
            self.contents[c].transfers += 1;
            self.transfers += 1;
            self.moved += self.contents[c].bytes;
            (ok, fetched) = (true, true);
        }
        let Purpose::Copy = purpose else { return self.on_keeper_here(n, &purpose, c, fetched) };
        let bytes = self.contents[c].bytes;
        if ok && !self.nodes[n].index.contains_key(&c) {
            ok = self.free(n) >= bytes;
            if ok {
                self.add_copy(n, c, true);
            }
        }
        let (now, content) = (self.instant(n), self.contents[c].id);
        if let Some(run) = self.run(n) {
            run.pulling -= 1;
            run.reserved -= bytes;
            run.copies.planner.on_event(now, Event::Pulled { content, ok });
        }
    }
}
