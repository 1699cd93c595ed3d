use proptest::prelude::*;

use super::*;
use crate::types::Epoch;

fn peer(n: u8) -> PeerId {
    let mut multihash = [n; 34];
    multihash[..2].copy_from_slice(&[0x12, 0x20]);
    PeerId::from_bytes(&multihash).expect("a multihash")
}

fn head(epoch: u64, seq: u64) -> CatalogHead {
    CatalogHead { epoch: Epoch(epoch), seq: Seq(seq) }
}

fn up(plan: &mut CatalogPull, now: Instant, n: u8, head: CatalogHead) {
    plan.on_event(now, Event::MemberUp { peer: peer(n), head, known: None, images: 0 });
}

/// A proper member answers, and the index stores: `size` changes further.
fn page(peer: PeerId, head: CatalogHead, known: CatalogHead, size: u64) -> Event {
    let from = if known.epoch == head.epoch && known.seq <= head.seq { known.seq.0 } else { 0 };
    let position = CatalogHead { epoch: head.epoch, seq: Seq(head.seq.0.min(from + size)) };
    Event::Pulled { peer, position, head, rows: position.seq.0 }
}

/// The next action that is not only news.
fn next(plan: &mut CatalogPull, now: Instant) -> Option<Action> {
    std::iter::from_fn(|| plan.next_action(now)).find(|action| !matches!(action, Action::Synced(_)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Members grow, begin anew, fail, go and come back while pages arrive in any order: in
    /// the end everything is known, with never more than the allowed number in flight.
    #[test]
    fn every_catalog_is_known_in_the_end(
        steps in prop::collection::vec((0..8_u8, 0..12_u8, any::<prop::sample::Index>()), 0..150),
    ) {
        let mut now = Instant::now();
        let mut plan = CatalogPull::new(7);
        let mut heads: BTreeMap<PeerId, CatalogHead> = BTreeMap::new();
        let mut flying: Vec<PeerId> = Vec::new();
        let calm = (0..800).map(|i| (7, (i % 12) as u8, None));
        let steps = steps.into_iter().map(|(what, n, pick)| (what, n, Some(pick))).chain(calm);
        for (what, n, pick) in steps {
            let (id, live) = (peer(n), heads.get(&peer(n)).copied());
            match (what, live) {
                (0, None) => {
                    heads.insert(id, head(1, u64::from(n) * 5));
                    up(&mut plan, now, n, head(1, u64::from(n) * 5));
                }
                (0, Some(old)) => {
                    heads.insert(id, head(old.epoch.0, old.seq.0 + 4));
                    plan.on_event(now, Event::Head { peer: id, head: head(old.epoch.0, old.seq.0 + 4) });
                }
                (1, Some(old)) => {
                    heads.insert(id, head(old.epoch.0 + 1, 3));
                    plan.on_event(now, Event::Head { peer: id, head: head(old.epoch.0 + 1, 3) });
                }
                (2, Some(_)) => {
                    heads.remove(&id);
                    flying.retain(|peer| *peer != id);
                    plan.on_event(now, Event::MemberDown(id));
                }
                (3, _) if !flying.is_empty() => {
                    let peer = flying.swap_remove(pick.map_or(0, |p| p.index(flying.len())));
                    plan.on_event(now, Event::PullFailed(peer));
                }
                _ if !flying.is_empty() => {
                    let peer = flying.swap_remove(pick.map_or(0, |p| p.index(flying.len())));
                    let known = plan.progress(&peer).expect("a member").0;
                    plan.on_event(now, page(peer, heads[&peer], known, 6));
                }
                _ => now = plan.next_wakeup().unwrap_or(now).max(now),
            }
            while let Some(action) = next(&mut plan, now) {
                let Action::Pull(peer) = action else { panic!("nothing to announce") };
                prop_assert!(!flying.contains(&peer), "one pull a member");
                flying.push(peer);
            }
            prop_assert!(flying.len() <= MAX_PULLS);
        }
        prop_assert!(plan.is_complete());
        for (peer, head) in &heads {
            prop_assert_eq!(plan.progress(peer), Some((*head, *head)));
        }
    }
}

#[test]
fn a_catalog_of_another_life_is_known_from_its_own_position() {
    let now = Instant::now();
    let mut plan = CatalogPull::new(1);
    let known = Some(head(1, 50));
    plan.on_event(now, Event::MemberUp { peer: peer(1), head: head(2, 4), known, images: 0 });
    assert_eq!(plan.next_action(now), Some(Action::Pull(peer(1))));
    plan.on_event(now, page(peer(1), head(2, 4), head(1, 50), 10));
    assert!(plan.is_complete());
    assert_eq!(plan.next_action(now), Some(Action::Synced(peer(1))));
    assert_eq!(plan.next_action(now), None, "said once");
    plan.on_event(now, page(peer(1), head(9, 9), head(2, 4), 1));
    assert!(plan.is_complete(), "not asked for");
}

#[test]
fn a_pull_that_leads_nowhere_costs_a_pause() {
    let mut now = Instant::now();
    for (position, led) in [(head(1, 5), false), (head(1, 10), true)] {
        let mut plan = CatalogPull::new(1);
        plan.on_event(
            now,
            Event::MemberUp { peer: peer(1), head: head(1, 20), known: Some(head(1, 5)), images: 0 },
        );
        assert!(plan.next_action(now).is_some());
        plan.on_event(now, Event::Pulled { peer: peer(1), position, head: head(1, 20), rows: 1 });
        assert_eq!(plan.next_action(now).is_some(), led, "the next page at once, or a pause");
        if !led {
            now = plan.next_wakeup().expect("a retry");
            assert!(plan.next_action(now).is_some());
        }
    }
}

#[test]
fn a_catalog_that_begins_anew_each_time_is_pulled_slower_and_slower() {
    let mut now = Instant::now();
    let began = now;
    let mut plan = CatalogPull::new(1);
    up(&mut plan, now, 1, head(0, 100));
    for life in 0..12 {
        assert!(plan.next_action(now).is_some());
        plan.on_event(now, page(peer(1), head(life, 100), head(life, 0), 10));
        now = plan.next_wakeup().expect("incomplete").max(now);
    }
    assert!(now - began > Duration::from_secs(180));
}

#[test]
fn a_scan_is_announced_in_steps_and_to_the_end() {
    let mut now = Instant::now();
    let mut plan = CatalogPull::new(1);
    (1..=3).for_each(|n| up(&mut plan, now, n, head(1, 0)));
    let mut announced = 0;
    for step in 0..1000 {
        plan.on_event(now, Event::OwnHead(head(9, step)));
        while let Some(Action::Announce(peer)) = next(&mut plan, now) {
            announced += 1;
            plan.on_event(now, Event::Announced { peer, ok: announced % 5 != 0 });
        }
        now += Duration::from_millis(2);
    }
    assert!((12..=30).contains(&announced), "{announced} in two seconds to three members");
    for _ in 0..100 {
        let Some(at) = plan.next_wakeup() else { break };
        now = now.max(at);
        while let Some(Action::Announce(peer)) = next(&mut plan, now) {
            plan.on_event(now, Event::Announced { peer, ok: true });
        }
    }
    assert_eq!(plan.next_wakeup(), None);
    assert!(plan.members.values().all(|member| member.told == Some(head(9, 999))));
}

/// Members with catalogs of these sizes come up at once, and grow; pages come in turn.
fn filled(limit: u64, sizes: &[(u8, u64)]) -> (CatalogPull, Instant, Vec<PeerId>) {
    let now = Instant::now();
    let mut plan = CatalogPull::new(1).with_limit(limit);
    for (n, size) in sizes {
        up(&mut plan, now, *n, head(1, *size));
    }
    let mut forgotten = Vec::new();
    while let Some(action) = next(&mut plan, now) {
        match action {
            Action::Pull(id) => {
                let (known, at) = plan.progress(&id).expect("a member");
                plan.on_event(now, page(id, at, known, 10));
            }
            Action::Forget(id) => {
                forgotten.push(id);
                plan.on_event(now, Event::Forgot(id));
            }
            other => panic!("{other:?}"),
        }
    }
    (plan, now, forgotten)
}

#[test]
fn a_catalog_without_room_is_removed_and_its_member_asked() {
    let (plan, _, forgotten) = filled(100, &[(1, 60), (2, 30), (3, 60)]);
    assert_eq!(forgotten.len(), 1);
    assert_eq!(plan.asked().copied().collect::<Vec<_>>(), forgotten);
    assert!(!plan.is_complete() && plan.next_wakeup().is_none(), "nothing more is pulled");
}

#[test]
fn whoever_says_that_it_holds_too_much_is_not_pulled_at_all() {
    let (mut plan, now, _) = filled(100, &[(1, 60)]);
    plan.on_event(now, Event::MemberUp { peer: peer(2), head: head(1, 50), known: None, images: 50 });
    assert_eq!(next(&mut plan, now), None);
    assert_eq!(plan.asked().count(), 1);
    plan.on_event(now, Event::MemberDown(peer(2)));
    plan.on_event(now, Event::MemberUp { peer: peer(2), head: head(1, 50), known: None, images: 40 });
    assert_eq!(next(&mut plan, now), Some(Action::Pull(peer(2))));
}

#[test]
fn a_catalog_is_kept_again_when_there_is_ample_room() {
    let (mut plan, now, forgotten) = filled(100, &[(1, 60), (2, 60)]);
    let big = if forgotten[0] == peer(1) { peer(2) } else { peer(1) };
    plan.on_event(now, Event::Cached(BTreeMap::from([(big, 45)])));
    assert_eq!(next(&mut plan, now), None, "45 and at least 50 are too near the limit");
    plan.on_event(now, Event::Cached(BTreeMap::from([(big, 20)])));
    assert_eq!(next(&mut plan, now), Some(Action::Pull(forgotten[0])));
    assert_eq!(plan.asked().count(), 0);
}

#[test]
fn what_is_being_removed_is_not_pulled() {
    let now = Instant::now();
    let mut plan = CatalogPull::new(1).with_limit(5);
    up(&mut plan, now, 1, head(1, 20));
    assert_eq!(next(&mut plan, now), Some(Action::Pull(peer(1))));
    plan.on_event(now, page(peer(1), head(1, 20), head(1, 0), 10));
    assert_eq!(next(&mut plan, now), Some(Action::Forget(peer(1))));
    plan.on_event(now, Event::Cached(BTreeMap::new()));
    assert_eq!(next(&mut plan, now), None, "it is not gone yet");
    plan.on_event(now, Event::TooLong(peer(1)));
    plan.on_event(now, Event::Forgot(peer(1)));
    assert_eq!(plan.asked().count(), 1);
}

#[test]
fn a_member_that_comes_back_is_compared_once() {
    let now = Instant::now();
    let mut plan = CatalogPull::new(1);
    let known = Some(head(1, 5));
    plan.on_event(now, Event::MemberUp { peer: peer(1), head: head(1, 7), known, images: 0 });
    assert_eq!(plan.next_action(now), Some(Action::Pull(peer(1))));
    plan.on_event(now, page(peer(1), head(1, 7), head(1, 5), 10));
    assert_eq!(plan.next_action(now), Some(Action::Synced(peer(1))));
    assert_eq!(plan.next_action(now), Some(Action::Compare(peer(1))));
    assert_eq!(plan.next_action(now), None);
}
