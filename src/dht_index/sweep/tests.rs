//! The plan, with made-up nodes that store what is delivered to them.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::dht_index::simulated::{Net, crowded, even, peer};
use crate::limits::{RECORD_HOLDERS, RECORD_TTL, REPUBLISH_EVERY};
use crate::types::ImageId;

mod growth;

fn key(n: u32) -> OwnKey {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    OwnKey::of(&ImageId::Hash(bytes))
}

struct World {
    plan: Sweep,
    now: Instant,
    own: BTreeSet<OwnKey>,
    nodes: BTreeSet<PeerId>,
    /// What each node holds, and since when.
    stores: BTreeMap<PeerId, HashMap<OwnKey, Instant>>,
    /// They take nothing.
    dead: BTreeSet<PeerId>,
    under_way: Vec<Delivery>,
    /// Records sent, and deliveries.
    records: usize,
    deliveries: usize,
    /// Keys of one delivery.
    most: usize,
}

impl World {
    fn new(keys: u32) -> Self {
        let now = Instant::now();
        Self {
            plan: Sweep::new(now, 1, keys.into(), &Remembered::default()),
            now,
            own: (0..keys).map(key).collect(),
            nodes: BTreeSet::new(),
            stores: BTreeMap::new(),
            dead: BTreeSet::new(),
            under_way: Vec::new(),
            records: 0,
            deliveries: 0,
            most: usize::MAX,
        }
    }

    fn event(&mut self, event: Event) {
        self.plan.on_event(self.now, event);
    }

    fn meets(&mut self, nodes: impl IntoIterator<Item = PeerId>) {
        self.nodes = nodes.into_iter().collect();
        let space = Arc::new(Keyspace::new(self.nodes.iter().copied()));
        self.event(Event::Keyspace(space));
    }

    fn add(&mut self, n: u32) {
        if self.own.insert(key(n)) {
            self.event(Event::Added(key(n)));
        }
    }

    fn remove(&mut self, n: u32) {
        if self.own.remove(&key(n)) {
            self.event(Event::Removed(key(n)));
        }
    }

    fn start(&mut self) {
        while let Some(Action::Deliver(delivery)) = self.plan.next_action(self.now) {
            assert!(delivery.keys.is_empty() != delivery.spans.is_empty(), "{delivery:?}");
            assert!(self.under_way.iter().all(|other| other.peer != delivery.peer), "one at a time");
            assert!(delivery.keys.iter().all(|key| self.own.contains(key)), "removed and sent");
            self.deliveries += 1;
            self.under_way.push(delivery);
        }
        assert!(self.under_way.len() <= MAX_SENDING);
    }

    /// A delivery ends; after so many records if it fails.
    fn finish(&mut self, at: usize, fails_after: Option<usize>) {
        let delivery = self.under_way.swap_remove(at);
        let (peer, keys, spans) = (delivery.peer, delivery.keys.clone(), &delivery.spans);
        let dead = self.dead.contains(&peer) || !self.nodes.contains(&peer);
        let fails_after = if dead { Some(0) } else { fails_after };
        let of_spans = keys.is_empty();
        let all: Vec<OwnKey> = if of_spans {
            let keys = self.own.iter().filter(|key| spans.contains(key.place) && delivery.concerns(key));
            keys.take(self.most).copied().collect()
        } else {
            keys
        };
        let arrived = fails_after.unwrap_or(usize::MAX).min(all.len());
        self.records += arrived;
        let store = self.stores.entry(peer).or_default();
        store.extend(all[..arrived].iter().map(|key| (*key, self.now)));
        let done = arrived == all.len() && fails_after.is_none();
        let reached = if done && all.len() < self.most {
            Some(u64::MAX)
        } else {
            arrived.checked_sub(1).and_then(|last| all[last].place.checked_sub(1))
        };
        let keys = if of_spans { 0 } else { arrived };
        self.event(Event::Sent(Sent { peer, keys, reached: reached.filter(|_| of_spans), ok: done }));
    }

    /// Until nothing is to do at this moment.
    fn work(&mut self) {
        self.start();
        while !self.under_way.is_empty() {
            self.finish(0, None);
            self.start();
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        self.work();
        while let Some(at) = self.plan.next_wakeup().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.work();
        }
        self.now = end;
        self.work();
    }

    fn holders(&self, key: &OwnKey) -> BTreeSet<PeerId> {
        let holds = |peer: &&PeerId| self.stores.get(*peer).is_some_and(|store| store.contains_key(key));
        self.nodes.iter().filter(holds).copied().collect()
    }

    fn closest(&self, key: &OwnKey) -> BTreeSet<PeerId> {
        // Not by the plan's own means.
        let target = libp2p::kad::KBucketKey::new(key.bytes().to_vec());
        let mut nodes: Vec<PeerId> = self.nodes.iter().copied().collect();
        nodes.sort_by_cached_key(|peer| target.distance(&libp2p::kad::KBucketKey::from(*peer)));
        nodes.truncate(holders_of_each(nodes.len()));
        nodes.into_iter().collect()
    }

    /// For every key the holders are the closest nodes, and they only.
    fn check_exact(&self) {
        for key in &self.own {
            assert_eq!(self.holders(key), self.closest(key));
        }
        assert_eq!((self.plan.published(), self.plan.to_publish()), (self.own.len() as u64, 0));
    }

    /// The closest nodes at least, all but the dead ones.
    fn check_held(&self) {
        for key in &self.own {
            let lacking: Vec<_> = self.closest(key).difference(&self.holders(key)).copied().collect();
            assert!(lacking.iter().all(|peer| self.dead.contains(peer)), "{key:?} is not at {lacking:?}");
        }
    }

    fn sent_by(&mut self, work: impl FnOnce(&mut Self)) -> usize {
        let before = self.records;
        work(self);
        self.records - before
    }
}

/// The guarantee, for known and for new keys, in swarms on either side of the border between
/// the two numbers of holders.
#[test]
fn every_key_is_with_the_closest_nodes_and_no_others() {
    for nodes in [1, 2, 10, 20, 21, 50, 200] {
        let mut world = World::new(200);
        world.meets(even(nodes));
        world.work();
        world.check_exact();
        (200..250).for_each(|n| world.add(n));
        world.work();
        world.check_exact();
        assert_eq!(world.records, 250 * holders_of_each(nodes).min(nodes), "nothing twice, {nodes} nodes");
    }
}

/// The same from end to end: what the node knows is what exploring a simulated DHT tells it.
#[test]
fn what_was_explored_is_enough_to_be_exact() {
    let crowds = crowded(&[(0x5a, 40), (0x5b, 3), (0xa5, 1)]);
    for peers in [even(11), even(51), even(201), crowds] {
        let me = peers[peers.len() / 3];
        let explored = Net::new(&peers).explore(&me, 0);
        let mut world = World::new(300);
        world.meets(explored.found().map(|(peer, _)| *peer));
        assert_eq!(world.nodes.len(), peers.len() - 1);
        world.work();
        world.check_exact();
    }
}

#[test]
fn a_new_key_goes_first_and_a_removed_one_never() {
    let mut world = World::new(1000);
    world.meets(even(10));
    world.start();
    assert_eq!(world.under_way.len(), MAX_SENDING);
    (1000..1003).for_each(|n| world.add(n));
    world.remove(1002);
    let begun: Vec<PeerId> = world.under_way.iter().map(|delivery| delivery.peer).collect();
    for peer in &begun {
        let at = world.under_way.iter().position(|delivery| delivery.peer == *peer).unwrap();
        world.finish(at, None);
        world.start();
    }
    let next: BTreeSet<PeerId> = world.under_way.iter().map(|delivery| delivery.peer).collect();
    assert!(world.under_way.iter().all(|delivery| delivery.keys == [key(1000), key(1001)]));
    assert!(begun.iter().any(|peer| next.contains(peer)), "again, for the new keys");
    world.work();
    world.check_exact();
}

#[test]
fn without_nodes_nothing_is_done_and_nothing_counts_as_published() {
    let mut world = World::new(10);
    (10..20).for_each(|n| world.add(n));
    assert_eq!((world.plan.next_action(world.now), world.plan.next_wakeup()), (None, None));
    assert_eq!((world.plan.published(), world.plan.to_publish()), (0, 20));
    world.meets(even(2));
    world.work();
    world.check_exact();
}

/// Who joins gets the records of the keys that it is near to, and nobody else gets anything.
#[test]
fn who_joins_gets_what_is_near_and_nobody_else_anything() {
    for nodes in [3, 19, 50, 120] {
        let mut world = World::new(600);
        world.meets(even(nodes));
        world.work();
        let newcomer = peer(nodes as u64);
        let sent = world.sent_by(|world| {
            world.meets(even(nodes + 1));
            world.work();
        });
        world.check_held();
        let near = world.own.iter().filter(|key| world.closest(key).contains(&newcomer)).count();
        assert_eq!((sent, world.stores[&newcomer].len()), (near, near), "{nodes} nodes");
    }
}

/// A node that restarts changes nothing. One that stays away is replaced, for the keys that it
/// held only.
#[test]
fn who_leaves_is_replaced_after_a_while() {
    let mut world = World::new(600);
    world.meets(even(60));
    world.work();
    let gone = peer(7);
    let held = world.stores[&gone].len();
    let without = || (0..60).map(peer).filter(|other| *other != gone).collect::<Vec<_>>();
    let sent = world.sent_by(|world| {
        world.meets(without());
        world.pass(GONE_AFTER / 2);
        world.meets(even(60));
        world.work();
        world.check_exact();
        world.meets(without());
        world.pass(GONE_AFTER.saturating_sub(Duration::from_secs(1)));
    });
    assert_eq!(sent, 0, "it may come back");
    let sent = world.sent_by(|world| world.pass(Duration::from_secs(2)));
    world.check_held();
    assert_eq!(sent, held);
    // What was new meanwhile is all that it lacks.
    (600..640).for_each(|n| world.add(n));
    world.work();
    let sent = world.sent_by(|world| {
        world.meets(even(60));
        world.work();
    });
    world.check_held();
    let lacked = (600..640).filter(|n| world.closest(&key(*n)).contains(&gone)).count();
    assert_eq!(sent, lacked);
}

#[test]
fn a_restart_goes_on_where_it_stopped() {
    let mut world = World::new(500);
    world.meets(even(30));
    world.work();
    world.pass(Duration::from_secs(3600));
    let remembered = world.plan.remember(world.now);
    // Added when the plan had been written down already: the catalog tells.
    world.own.insert(key(777));
    world.now += Duration::from_secs(60);
    world.plan = Sweep::new(world.now, 2, 501, &remembered);
    world.event(Event::Again(key(777)));
    let sent = world.sent_by(|world| {
        // They are known one after the other.
        for nodes in [1, 4, 29, 30] {
            world.meets(even(nodes));
            world.work();
        }
    });
    world.check_exact();
    // The new one; and of the 4,000 records of before those few for which it is not sure, from the
    // ranges that are remembered, that their node has them.
    let unsure = 500 * RECORD_HOLDERS / 100;
    assert!((RECORD_HOLDERS..=RECORD_HOLDERS + unsure).contains(&sent), "{sent}");
    let sent = world.sent_by(|world| world.pass(Duration::from_secs(2 * 3600)));
    assert_eq!(sent, 0);
    // After days nothing of it is true any more.
    let mut old = remembered;
    old.sections.iter_mut().flatten().for_each(|age| *age += RECORD_TTL);
    world.plan = Sweep::new(world.now, 3, 501, &old);
    let sent = world.sent_by(|world| {
        world.meets(even(30));
        world.work();
    });
    assert_eq!(sent, 501 * RECORD_HOLDERS);
}

/// A restart in the middle of a large first publication does not begin again.
#[test]
fn half_of_it_is_remembered_too() {
    let mut world = World::new(3000);
    world.most = 50;
    world.meets(even(5));
    world.start();
    for _ in 0..100 {
        world.finish(0, None);
        world.start();
    }
    world.under_way.clear();
    let done = world.records;
    let remembered = world.plan.remember(world.now);
    world.plan = Sweep::new(world.now, 2, 3000, &remembered);
    world.meets(even(5));
    world.work();
    world.check_exact();
    // At the border of each of some 300 deliveries one key goes twice.
    assert!(done > 3000 && world.records < 5 * 3000 + 350, "{done}, {}", world.records);
}

/// A frozen node holds up nobody, and gets everything when it is back.
#[test]
fn failures_wait_longer_each_time_and_hold_up_nobody() {
    let mut world = World::new(200);
    world.dead.insert(peer(3));
    world.meets(even(12));
    world.work();
    world.check_held();
    assert_eq!(world.plan.to_publish(), 0);
    world.add(200);
    world.work();
    world.check_held();
    let mut last = Duration::ZERO;
    for round in 0..12 {
        let at = world.plan.next_wakeup().expect("to be tried again");
        let wait = at - world.now;
        assert!(wait >= last / 2 && wait <= PUBLISH_RETRY_LONGEST, "{round}: {wait:?}");
        (last, world.now) = (wait, at);
        world.work();
    }
    assert!(last >= PUBLISH_RETRY_LONGEST * 3 / 5);
    world.dead.clear();
    world.pass(PUBLISH_RETRY_LONGEST);
    world.check_exact();
}

/// Renewals are spread over the interval, section by section.
#[test]
fn renewing_many_keys_is_spread() {
    let mut world = World::new(4000);
    // As if each key stood for 250.
    world.plan = Sweep::new(world.now, 1, 1_000_000, &Remembered::default());
    world.meets(even(5));
    world.work();
    world.now += REPUBLISH_EVERY / 2;
    let minute = Duration::from_secs(60);
    let (mut total, mut most) = (0, 0);
    for _ in 0..(REPUBLISH_EVERY / 2).as_secs() / 60 {
        let sent = world.sent_by(|world| world.pass(minute));
        total += sent;
        most = most.max(sent);
    }
    assert!((5 * 4000..=5 * 4000 + 400).contains(&total), "{total} renewed");
    assert!(most < 5 * 4000 / 16, "{most} in a minute");
}

#[test]
fn more_new_keys_than_are_remembered_are_published_all_the_same() {
    let mut world = World::new(0);
    world.meets(even(3));
    world.work();
    let keys = MAX_NEW_KEYS as u32 + 500;
    (0..keys).for_each(|n| world.add(n));
    assert!(world.plan.new.len() <= MAX_NEW_KEYS);
    assert_eq!(world.plan.to_publish().max(MAX_NEW_KEYS as u64), world.plan.to_publish());
    world.work();
    world.check_exact();
    assert!(
        world.plan.numbers.is_empty() && world.plan.holders.values().all(|holder| holder.queue.is_empty())
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever happens, in the end the closest nodes have everything, nothing is left over, and
    /// no record that could be renewed gets old.
    #[test]
    fn it_comes_right_in_the_end(
        most in 1..40_usize,
        steps in prop::collection::vec((0..12_u8, any::<u32>(), any::<prop::sample::Index>()), 1..120),
    ) {
        let mut world = World::new(60);
        world.most = most + 1;
        world.meets(even(12));
        for (what, n, pick) in steps {
            match what {
                0 | 1 => world.add(n % 100),
                2 => world.remove(n % 100),
                3 => {
                    let nodes = 1 + u64::from(n % 28);
                    world.meets((0..nodes).map(|at| peer(u64::from(n % 5) + at)));
                }
                4 => { world.dead.insert(peer(u64::from(n % 30))); }
                5 => { world.dead.remove(&peer(u64::from(n % 30))); }
                6 => world.now += GONE_AFTER / 3,
                7 => world.now += REPUBLISH_EVERY / 5,
                8 => {
                    let remembered = world.plan.remember(world.now);
                    if world.plan.is_settled() && world.under_way.is_empty() {
                        world.plan = Sweep::new(world.now, n.into(), world.own.len() as u64, &remembered);
                        world.meets(world.nodes.clone());
                    }
                }
                _ if world.under_way.is_empty() => world.now += Duration::from_secs(1),
                9 => world.finish(pick.index(world.under_way.len()), Some((n % 9) as usize)),
                _ => world.finish(pick.index(world.under_way.len()), None),
            }
            world.start();
        }
        world.dead.clear();
        world.pass(PUBLISH_RETRY_LONGEST + GONE_AFTER);
        world.check_held();
        prop_assert_eq!(world.plan.to_publish(), 0);
        prop_assert!(world.plan.new.is_empty() && world.plan.numbers.is_empty());
        prop_assert!(world.plan.sending == 0 && world.plan.with_keys.is_empty() && world.plan.with_spans.is_empty());
        for round in 0..4 {
            world.pass(REPUBLISH_EVERY);
            let oldest = world.own.iter().flat_map(|key| {
                let closest = world.closest(key);
                closest.into_iter().map(|peer| world.now - world.stores[&peer][key]).collect::<Vec<_>>()
            });
            let oldest = oldest.max().unwrap_or_default();
            // A world that stood still while time passed may be late, once.
            prop_assert!(oldest <= REPUBLISH_EVERY || round == 0, "a record is {:?} old", oldest);
        }
    }
}
