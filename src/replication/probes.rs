//! Which member is asked next whether it delivers, and which whether its catalog is known right.
//!
//! A member that answers pings and can't deliver holds nothing. So each is asked now and then for
//! something that its catalog names (a *probe*), each in turn, and one that has just failed before all
//! others: by turns alone one of a hundred would count for hours.
//!
//! *Busy* is no failure: a node that others fetch from has to be allowed to say so. But one that says
//! nothing else for [`BUSY_LONGEST`], asked again and again, is no use as a holder, and fails too. One answer
//! with bytes, and it counts again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use libp2p::PeerId;

use crate::limits::{
    BUSY_AGAIN, BUSY_LONGEST, MAX_PROBE_FAILURES, MIN_BUSY, PROBE_AGAIN, PROBE_EVERY, RECONCILE_EVERY,
};

/// A member that has been busy each time it was asked.
#[derive(Debug)]
struct Busy {
    since: Instant,
    answers: u32,
    again: Instant,
}

/// Whom to ask. Bounded by the members, whose names the caller hands in.
#[derive(Debug)]
pub struct Probes {
    /// Probes in a row that failed.
    failures: BTreeMap<PeerId, u32>,
    /// Something has failed with them.
    doubtful: BTreeSet<PeerId>,
    /// Busy, and nothing else since.
    busy: BTreeMap<PeerId, Busy>,
    /// The last probe was one of these: the next is somebody else's.
    was_busy: bool,
    next: Instant,
    number: u64,
    /// Probes in turn.
    turn: u64,
    next_compare: Instant,
    compared: u64,
}

impl Probes {
    /// Of a node that starts now.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            failures: BTreeMap::new(),
            doubtful: BTreeSet::new(),
            busy: BTreeMap::new(),
            was_busy: false,
            next: now + PROBE_EVERY,
            number: 0,
            turn: 0,
            next_compare: now + RECONCILE_EVERY,
            compared: 0,
        }
    }

    /// Who is to be probed now, of those that answer, and a number that chooses for what: another one
    /// each time, because one bad file is not a bad member.
    pub fn next_probe(&mut self, now: Instant, here: &[PeerId]) -> Option<(PeerId, u64)> {
        if self.next > now {
            return None;
        }
        self.next = now + PROBE_EVERY;
        self.number = self.number.wrapping_add(1);
        let turn = self.turn.wrapping_add(1);
        // Out of the set with the question: one that is too busy to answer keeps nobody else waiting.
        while let Some(peer) = self.doubtful.pop_first() {
            if here.contains(&peer) {
                self.turn = turn;
                return Some((peer, self.number));
            }
        }
        // Nobody's turn is lost by it.
        if let Some(peer) = self.next_busy(now, here) {
            return Some((peer, self.number));
        }
        self.turn = turn;
        in_turn(here, turn).map(|peer| (peer, self.number))
    }

    /// Every other probe at most: however many are busy, each of the rest has its turn.
    fn next_busy(&mut self, now: Instant, here: &[PeerId]) -> Option<PeerId> {
        self.was_busy = !self.was_busy;
        if !self.was_busy {
            return None;
        }
        let due = self.busy.iter().filter(|(peer, busy)| busy.again <= now && here.contains(peer));
        let first = due.min_by_key(|(_, busy)| busy.again).map(|(peer, _)| *peer);
        self.was_busy = first.is_some();
        first
    }

    /// Whose catalog is to be compared now.
    pub fn next_comparison(&mut self, now: Instant, here: &[PeerId]) -> Option<PeerId> {
        if self.next_compare > now {
            return None;
        }
        self.next_compare = now + RECONCILE_EVERY;
        self.compared = self.compared.wrapping_add(1);
        in_turn(here, self.compared)
    }

    /// When one of them is due.
    #[must_use]
    pub fn next_wakeup(&self) -> Instant {
        self.next.min(self.next_compare)
    }

    /// Something has failed with these: they are probed soon.
    pub fn doubt(&mut self, now: Instant, peers: impl IntoIterator<Item = PeerId>) {
        self.doubtful.extend(peers);
        self.next = self.next.min(now + PROBE_AGAIN);
    }

    /// A probe showed something. Whether the member has failed so often now that it does not count.
    pub fn showed(&mut self, now: Instant, peer: PeerId, ok: bool) -> bool {
        if ok {
            self.forget(&peer);
            return false;
        }
        let failures = self.failures.entry(peer).or_default();
        *failures = failures.saturating_add(1);
        let failing = *failures >= MAX_PROBE_FAILURES;
        if failing {
            self.doubtful.remove(&peer);
        } else {
            self.doubt(now, [peer]);
        }
        failing
    }

    /// A member that was probed is busy. Whether it has been for so long now that it does not count.
    pub fn was_busy(&mut self, now: Instant, peer: PeerId) -> bool {
        let busy = self.busy.entry(peer).or_insert(Busy { since: now, answers: 0, again: now });
        busy.answers = busy.answers.saturating_add(1);
        busy.again = now + BUSY_AGAIN;
        busy.answers >= MIN_BUSY && now.saturating_duration_since(busy.since) >= BUSY_LONGEST
    }

    /// A member is gone, or works.
    pub fn forget(&mut self, peer: &PeerId) {
        self.failures.remove(peer);
        self.doubtful.remove(peer);
        self.busy.remove(peer);
    }
}

fn in_turn(here: &[PeerId], number: u64) -> Option<PeerId> {
    let at = number.checked_rem(here.len() as u64)?;
    here.get(usize::try_from(at).ok()?).copied()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn probe(probes: &mut Probes, now: &mut Instant, here: &[PeerId]) -> Option<(PeerId, u64)> {
        *now += PROBE_EVERY;
        probes.next_probe(*now, here)
    }

    #[test]
    fn one_that_fails_is_probed_until_it_is_failing_and_no_longer() {
        let mut now = Instant::now();
        let mut probes = Probes::new(now);
        let here: Vec<PeerId> = (1..100).map(|_| PeerId::random()).collect();
        let (bad, first) = probe(&mut probes, &mut now, &here).unwrap();
        let mut numbers = BTreeSet::from([first]);
        for _ in 1..MAX_PROBE_FAILURES {
            assert!(!probes.showed(now, bad, false));
            assert_eq!(probes.next_wakeup(), now + PROBE_AGAIN, "soon");
            let (peer, number) = probe(&mut probes, &mut now, &here).unwrap();
            assert_eq!(peer, bad);
            assert!(numbers.insert(number), "for something else");
        }
        assert!(probes.showed(now, bad, false));
        let turns: BTreeSet<PeerId> =
            here.iter().filter_map(|_| probe(&mut probes, &mut now, &here)).map(|(peer, _)| peer).collect();
        assert_eq!(turns.len(), here.len(), "each has its turn, and it can show that it works again");
        assert!(!probes.showed(now, bad, true));
        assert!(!probes.showed(now, bad, false), "it begins anew");
    }

    #[test]
    fn one_that_could_not_be_asked_keeps_nobody_from_their_turn() {
        let mut now = Instant::now();
        let mut probes = Probes::new(now);
        let here: Vec<PeerId> = (0..3).map(|_| PeerId::random()).collect();
        let (bad, _) = probe(&mut probes, &mut now, &here).unwrap();
        probes.showed(now, bad, false);
        assert_eq!(probe(&mut probes, &mut now, &here).map(|(peer, _)| peer), Some(bad));
        // It was busy: nothing is told.
        assert!(probe(&mut probes, &mut now, &here).is_some_and(|(next, _)| next != bad));
        probes.showed(now, bad, false);
        assert_eq!(probe(&mut probes, &mut now, &[]), None, "it is gone");
    }

    /// Answers probes for so long: `busy` says who is. When each of them began to be failing.
    fn run(
        probes: &mut Probes,
        start: Instant,
        long: Duration,
        here: &[PeerId],
        busy: impl Fn(&PeerId, Instant) -> bool,
    ) -> BTreeMap<PeerId, Duration> {
        let (mut now, mut failing) = (start, BTreeMap::new());
        while now < start + long {
            now += PROBE_EVERY;
            let Some((peer, _)) = probes.next_probe(now, here) else { continue };
            let fails =
                if busy(&peer, now) { probes.was_busy(now, peer) } else { probes.showed(now, peer, true) };
            if fails {
                failing.entry(peer).or_insert(now - start);
            }
        }
        failing
    }

    #[test]
    fn one_that_is_never_anything_but_busy_is_failing_in_the_end() {
        let start = Instant::now();
        let here: Vec<PeerId> = (0..40).map(|_| PeerId::random()).collect();
        let bad = here[7];
        let mut probes = Probes::new(start);
        let failing = run(&mut probes, start, BUSY_LONGEST * 3, &here, |peer, _| *peer == bad);
        assert_eq!(failing.keys().collect::<Vec<_>>(), [&bad]);
        assert!(failing[&bad] >= BUSY_LONGEST, "{failing:?}");
        assert!(!probes.showed(start, bad, true), "it delivers");
        assert!(!probes.was_busy(start + BUSY_LONGEST * 4, bad), "it begins anew");
    }

    #[test]
    fn one_that_delivers_now_and_then_never_fails_and_many_busy_ones_keep_nobody_from_their_turn() {
        let start = Instant::now();
        let here: Vec<PeerId> = (0..10).map(|_| PeerId::random()).collect();
        let mut probes = Probes::new(start);
        // Busy for five minutes of ten, all but one at the same time.
        let busy = |peer: &PeerId, now: Instant| *peer != here[0] && (now - start).as_secs() % 600 < 300;
        assert_eq!(run(&mut probes, start, BUSY_LONGEST * 8, &here, busy), BTreeMap::new());
        let mut now = start + BUSY_LONGEST * 9;
        let turns = (0..80).filter(|_| {
            let asked = probe(&mut probes, &mut now, &here).map(|(peer, _)| peer);
            if let Some(peer) = asked.filter(|peer| *peer != here[0]) {
                probes.was_busy(now, peer);
            }
            asked == Some(here[0])
        });
        assert!(turns.count() >= 3);
    }

    #[test]
    fn probes_take_nobody_s_turn_to_be_compared() {
        let start = Instant::now();
        let mut probes = Probes::new(start);
        let here: Vec<PeerId> = (0..21).map(|_| PeerId::random()).collect();
        let mut compared = BTreeSet::new();
        let mut now = start;
        while now < start + RECONCILE_EVERY * 22 {
            now += Duration::from_secs(1);
            probes.next_probe(now, &here);
            compared.extend(probes.next_comparison(now, &here));
        }
        assert_eq!(compared.len(), here.len());
    }
}
