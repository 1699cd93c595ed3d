use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

fn image(n: u32) -> ImageId {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    ImageId::Hash(bytes)
}

/// Plays the network: what is in flight ends in any order, well or badly.
struct World {
    plan: Republish,
    now: Instant,
    flying: Vec<ImageId>,
    held: BTreeSet<ImageId>,
    /// The last time each was published with success, or added.
    last: HashMap<ImageId, Instant>,
}

impl World {
    fn new(seed: u64) -> Self {
        let now = Instant::now();
        let mut plan = Republish::new(now, seed);
        plan.on_event(now, Event::PeersAvailable(true));
        Self { plan, now, flying: Vec::new(), held: BTreeSet::new(), last: HashMap::new() }
    }

    fn event(&mut self, event: Event) {
        self.plan.on_event(self.now, event);
    }

    fn add(&mut self, image: ImageId) {
        self.held.insert(image);
        self.last.entry(image).or_insert(self.now);
        self.event(Event::Add(image));
    }

    fn remove(&mut self, image: ImageId) {
        self.held.remove(&image);
        self.last.remove(&image);
        self.event(Event::Remove(image));
    }

    fn drain(&mut self) {
        while let Some(action) = self.plan.next_action(self.now) {
            match action {
                Action::Publish(image) => {
                    assert!(self.held.contains(&image), "removed and published");
                    assert!(!self.flying.contains(&image), "twice at once");
                    self.flying.push(image);
                }
                Action::Withdraw(image) => assert!(!self.held.contains(&image), "held and withdrawn"),
            }
        }
        assert!(self.flying.len() <= MAX_PUBLISHING);
    }

    fn finish(&mut self, at: usize, ok: bool) {
        let image = self.flying.swap_remove(at);
        if ok && self.held.contains(&image) {
            self.last.insert(image, self.now);
        }
        self.event(Event::Done { image, ok });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// With some failures, in any order: no key is older than an interval (and what its own
    /// failures cost), and the counters add up.
    #[test]
    fn every_image_is_renewed_within_the_interval(
        seed: u64,
        images in 1..60_u32,
        picks in prop::collection::vec((any::<prop::sample::Index>(), 0..10_u8), 1..50),
    ) {
        let mut world = World::new(seed);
        (0..images).for_each(|n| world.add(image(n)));
        let end = world.now + REPUBLISH_EVERY * 4;
        let mut picks = picks.into_iter().cycle();
        let mut failed_in_row = HashMap::<ImageId, u32>::new();
        while world.now < end {
            world.drain();
            if world.flying.is_empty() {
                world.now = world.plan.next_wakeup().expect("a renewal is due some time").max(world.now);
                world.now += Duration::from_millis(100);
            } else {
                world.now += Duration::from_millis(70);
                let (pick, luck) = picks.next().unwrap();
                let at = pick.index(world.flying.len());
                let failures = failed_in_row.entry(world.flying[at]).or_default();
                let ok = luck > 2 || *failures >= 3;
                *failures = if ok { 0 } else { *failures + 1 };
                world.finish(at, ok);
            }
            for (image, last) in &world.last {
                let age = world.now - *last;
                prop_assert!(age <= REPUBLISH_EVERY, "{image:?} is {age:?} old");
            }
            let published = world.plan.published();
            prop_assert_eq!(published + world.plan.to_publish(), u64::from(images));
        }
        prop_assert_eq!(world.plan.to_publish(), 0);
    }

    /// Adding and removing at any time, while in flight too.
    #[test]
    fn removed_images_are_never_published(
        steps in prop::collection::vec((0..5_u8, 0..6_u32, any::<prop::sample::Index>()), 1..200),
    ) {
        let mut world = World::new(1);
        for (what, n, pick) in steps {
            match what {
                0 | 1 => world.add(image(n)),
                2 => world.remove(image(n)),
                _ if world.flying.is_empty() => world.now += REPUBLISH_EVERY / 3,
                _ => world.finish(pick.index(world.flying.len()), what == 3),
            }
            world.drain();
            world.now += Duration::from_secs(1);
        }
        while !world.flying.is_empty() {
            world.finish(0, true);
            world.drain();
        }
        world.now += PUBLISH_RETRY_LONGEST;
        world.drain();
        while !world.flying.is_empty() {
            world.finish(0, true);
        }
        prop_assert_eq!(world.plan.published(), world.held.len() as u64);
        prop_assert_eq!(world.plan.keys.len(), world.held.len());
        prop_assert_eq!(world.plan.renewals.len() + world.plan.fresh.len(), world.held.len());
    }
}

#[test]
fn new_images_go_before_renewals() {
    let mut world = World::new(3);
    (0..40).for_each(|n| world.add(image(n)));
    while world.plan.to_publish() > 0 {
        world.drain();
        world.finish(0, true);
    }
    world.now += REPUBLISH_EVERY;
    world.add(image(99));
    assert_eq!(world.plan.next_action(world.now), Some(Action::Publish(image(99))));
}

#[test]
fn nothing_is_published_without_peers_and_all_is_after_a_long_absence() {
    let mut world = World::new(4);
    (0..10).for_each(|n| world.add(image(n)));
    while world.plan.to_publish() > 0 {
        world.drain();
        world.finish(0, true);
    }
    let soon = |world: &World| world.plan.next_wakeup().is_some_and(|at| at <= world.now + SHORT_ABSENCE);
    assert!(!soon(&world));
    world.event(Event::PeersAvailable(false));
    assert_eq!(world.plan.next_wakeup(), None);
    world.event(Event::PeersAvailable(true));
    assert!(!soon(&world), "a link that flaps");
    world.event(Event::PeersAvailable(false));
    world.now += SHORT_ABSENCE;
    world.add(image(77));
    assert_eq!(world.plan.next_action(world.now), None);
    world.event(Event::PeersAvailable(true));
    assert!(soon(&world));
}

/// A swarm that doubles makes all due, at the pace of `MIN_RENEWALS_PER_SECOND`.
#[test]
fn a_swarm_that_doubles_makes_all_due_at_a_pace() {
    let mut world = World::new(5);
    world.event(Event::SwarmSize(3));
    (0..500).for_each(|n| world.add(image(n)));
    while world.plan.to_publish() > 0 {
        world.drain();
        world.finish(0, true);
    }
    world.event(Event::SwarmSize(5));
    assert_eq!(world.plan.next_action(world.now), None);
    world.event(Event::SwarmSize(6));
    let began = world.now;
    let mut renewed = 0;
    let mut took = 0.0;
    while renewed < 500 {
        world.drain();
        while !world.flying.is_empty() {
            world.finish(0, true);
            renewed += 1;
            took = (world.now - began).as_secs_f64();
        }
        world.now = world.plan.next_wakeup().expect("due").max(world.now);
    }
    assert!((9.0..11.0).contains(&took), "500 at 50 a second took {took} s");
}

/// A pair of nodes alone: failures don't spin.
#[test]
fn failures_wait_longer_each_time() {
    let mut world = World::new(6);
    world.add(image(1));
    let mut last = Duration::ZERO;
    for round in 0..12 {
        world.drain();
        world.finish(0, false);
        let at = world.plan.next_wakeup().expect("to be tried again");
        let wait = at - world.now;
        assert!(wait >= last / 2 && wait <= PUBLISH_RETRY_LONGEST, "{round}: {wait:?}");
        (last, world.now) = (wait, at);
    }
    assert!(last >= PUBLISH_RETRY_LONGEST * 3 / 5);
}
