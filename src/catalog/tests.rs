use proptest::prelude::*;

use super::*;
use crate::protocol::CatalogEntry;
use crate::types::ContentId;

fn peer(n: u8) -> PeerId {
    let mut multihash = [n; 34];
    multihash[..2].copy_from_slice(&[0x12, 0x20]);
    PeerId::from_bytes(&multihash).expect("a multihash")
}

fn head(epoch: u64, seq: u64) -> CatalogHead {
    CatalogHead { epoch: Epoch(epoch), seq: Seq(seq) }
}

fn up(plan: &mut CatalogPull, now: Instant, n: u8, head: CatalogHead) {
    plan.on_event(now, Event::MemberUp { peer: peer(n), head, known: None });
}

/// What a proper member answers.
fn page(head: CatalogHead, epoch: Epoch, after: Seq, size: u64) -> CatalogPage {
    let from = if epoch == head.epoch && after <= head.seq { after } else { Seq(0) };
    let upto = Seq(head.seq.0.min(from.0 + size));
    let entry = |seq| CatalogEntry { seq: Seq(seq), content: ContentId([0; 32]), held: None };
    CatalogPage { head, upto, from, entries: (from.0 + 1..=upto.0).map(entry).collect() }
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
        let mut flying: Vec<(PeerId, Epoch, Seq)> = Vec::new();
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
                    flying.retain(|(peer, ..)| *peer != id);
                    plan.on_event(now, Event::MemberDown(id));
                }
                (3, _) if !flying.is_empty() => {
                    let (peer, ..) = flying.swap_remove(pick.map_or(0, |p| p.index(flying.len())));
                    plan.on_event(now, Event::PullFailed(peer));
                }
                _ if !flying.is_empty() => {
                    let (peer, epoch, after) = flying.swap_remove(pick.map_or(0, |p| p.index(flying.len())));
                    let verdict = plan.on_page(now, &peer, &page(heads[&peer], epoch, after, 6));
                    prop_assert_ne!(verdict, Verdict::Refuse);
                }
                _ => now = plan.next_wakeup().unwrap_or(now).max(now),
            }
            while let Some(action) = plan.next_action(now) {
                let Action::Pull { peer, epoch, after } = action else { panic!("nothing to announce") };
                prop_assert!(!flying.iter().any(|(other, ..)| *other == peer), "one pull a member");
                flying.push((peer, epoch, after));
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
fn a_catalog_of_another_life_replaces_what_was_known() {
    let now = Instant::now();
    let mut plan = CatalogPull::new(1);
    let known = Some(head(1, 50));
    plan.on_event(now, Event::MemberUp { peer: peer(1), head: head(2, 4), known });
    let pull = Action::Pull { peer: peer(1), epoch: Epoch(1), after: Seq(50) };
    assert_eq!(plan.next_action(now), Some(pull));
    let answer = page(head(2, 4), Epoch(1), Seq(50), 10);
    assert_eq!(plan.on_page(now, &peer(1), &answer), Verdict::Replace);
    assert!(plan.is_complete());
    assert_eq!(plan.on_page(now, &peer(1), &answer), Verdict::Refuse, "not asked for");
}

#[test]
fn pages_whose_numbers_do_not_fit_are_refused_and_cost_a_pause() {
    let good = page(head(1, 20), Epoch(1), Seq(5), 5);
    let entry = |seq| CatalogEntry { seq: Seq(seq), content: ContentId([0; 32]), held: None };
    let bad = [
        CatalogPage { upto: Seq(5), entries: Vec::new(), ..good.clone() },
        CatalogPage { from: Seq(4), ..good.clone() },
        CatalogPage { upto: Seq(21), ..good.clone() },
        CatalogPage { entries: vec![entry(7), entry(7)], ..good.clone() },
        CatalogPage { entries: vec![entry(11)], ..good.clone() },
        CatalogPage { entries: vec![entry(5)], ..good.clone() },
        CatalogPage { head: head(2, 20), ..good.clone() },
    ];
    for page in bad.iter().chain([&good]) {
        let mut now = Instant::now();
        let mut plan = CatalogPull::new(1);
        plan.on_event(now, Event::MemberUp { peer: peer(1), head: head(1, 20), known: Some(head(1, 5)) });
        assert!(plan.next_action(now).is_some());
        let verdict = plan.on_page(now, &peer(1), page);
        if page == &good {
            assert_eq!(verdict, Verdict::Append);
            assert!(plan.next_action(now).is_some(), "the next page at once");
            continue;
        }
        assert_eq!(verdict, Verdict::Refuse, "{page:?}");
        assert_eq!(plan.next_action(now), None);
        now = plan.next_wakeup().expect("a retry");
        assert!(plan.next_action(now).is_some());
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
        let answer = page(head(life, 100), Epoch(life), Seq(0), 10);
        assert_ne!(plan.on_page(now, &peer(1), &answer), Verdict::Refuse);
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
        while let Some(Action::Announce(peer)) = plan.next_action(now) {
            announced += 1;
            plan.on_event(now, Event::Announced { peer, ok: announced % 5 != 0 });
        }
        now += Duration::from_millis(2);
    }
    assert!((12..=30).contains(&announced), "{announced} in two seconds to three members");
    for _ in 0..100 {
        let Some(at) = plan.next_wakeup() else { break };
        now = now.max(at);
        while let Some(Action::Announce(peer)) = plan.next_action(now) {
            plan.on_event(now, Event::Announced { peer, ok: true });
        }
    }
    assert_eq!(plan.next_wakeup(), None);
    assert!(plan.members.values().all(|member| member.told == Some(head(9, 999))));
}
