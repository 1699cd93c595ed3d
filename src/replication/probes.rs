//! Which member is asked next whether it delivers, and which whether its catalog is known right.
//!
//! A member that answers pings and can't deliver holds nothing. So each is asked now and then for
//! something that its catalog names (a *probe*), each in turn, and one that has just failed before all
//! others: by turns alone one of a hundred would count for hours.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use libp2p::PeerId;

use crate::limits::{MAX_PROBE_FAILURES, PROBE_AGAIN, PROBE_EVERY, RECONCILE_EVERY};

/// Whom to ask. Bounded by the members, whose names the caller hands in.
#[derive(Debug)]
pub struct Probes {
    /// Probes in a row that failed.
    failures: BTreeMap<PeerId, u32>,
    /// Something has failed with them.
    doubtful: BTreeSet<PeerId>,
    next: Instant,
    number: u64,
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
            next: now + PROBE_EVERY,
            number: 0,
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
        // Out of the set with the question: one that is too busy to answer keeps nobody else waiting.
        while let Some(peer) = self.doubtful.pop_first() {
            if here.contains(&peer) {
                return Some((peer, self.number));
            }
        }
        in_turn(here, self.number).map(|peer| (peer, self.number))
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

    /// A member is gone, or works.
    pub fn forget(&mut self, peer: &PeerId) {
        self.failures.remove(peer);
        self.doubtful.remove(peer);
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
