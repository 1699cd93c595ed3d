use super::*;
use crate::limits::{BUSY_LONGEST, MAX_PROBE_FAILURES, PROBE_EVERY};
use crate::replication::drop::{Plan, Why};

const SECOND: Duration = Duration::from_secs(1);

fn planner(now: Instant) -> Stabilize {
    let settings = Settings {
        me: PeerId::random(),
        folder: FolderId(0),
        keeps: Keeps { takes: true, ..Keeps::default() },
        copies: 2,
        repair_after: 60 * SECOND,
        trim_after: 60 * SECOND,
        known: Vec::new(),
        absences: Vec::new(),
    };
    Stabilize::new(now, settings)
}

fn hear(planner: &mut Stabilize, now: Instant, peer: PeerId) {
    let keeps = Keeps { takes: true, weight: Weight::default().0, ..Keeps::default() };
    planner.on_event(now, Event::Heard { peer, folder: FolderId(1), copies: 2, keeps });
}

fn all(planner: &mut Stabilize, now: Instant) -> Vec<Action> {
    std::iter::from_fn(|| planner.next_action(now)).collect()
}

fn survey(now: Instant, leaving: bool) -> Surveyed {
    let census = Census { contents: 3, two: 3, ..Census::default() };
    Surveyed { shorts: vec![], short: 0, sole: 0, excess: vec![], census, began: now, leaving }
}

fn tell(planner: &mut Stabilize, now: Instant, surveyed: Surveyed) -> Vec<Action> {
    planner.on_event(now, Event::Surveyed(Some(Box::new(surveyed))));
    all(planner, now)
}

fn has_drained(actions: &[Action]) -> bool {
    actions.iter().any(|action| matches!(action, Action::Drained))
}

#[test]
fn a_survey_of_the_time_before_does_not_say_that_all_is_handed_over() {
    let now = Instant::now();
    let mut planner = planner(now);
    planner.on_event(now, Event::FolderKnown);
    // Its view was taken before the node was told to leave, and it began after.
    let actions = all(&mut planner, now);
    assert!(matches!(&actions[..], [Action::Survey(view)] if view.me.state == State::Live));
    planner.on_event(now, Event::Drain { cancel: false });
    assert!(!has_drained(&tell(&mut planner, now + SECOND, survey(now + SECOND, false))));
    assert!(!planner.drain_status().surveyed);
    let now = now + 60 * SECOND;
    let actions = all(&mut planner, now);
    let leaving = |action: &Action| matches!(action, Action::Survey(v) if v.me.state == State::Draining);
    assert!(actions.iter().any(leaving), "{actions:?}");
    assert!(has_drained(&tell(&mut planner, now, survey(now, true))));
}

#[test]
fn who_does_not_know_its_folder_has_not_handed_it_over() {
    let now = Instant::now();
    let mut planner = planner(now);
    planner.on_event(now, Event::Drain { cancel: false });
    all(&mut planner, now);
    assert!(!has_drained(&tell(&mut planner, now, survey(now, true))));
    let later = now + SECOND;
    planner.on_event(later, Event::FolderKnown);
    assert!(!planner.drain_status().surveyed, "it saw less");
    planner.on_event(later, Event::Changed);
    all(&mut planner, later);
    assert!(has_drained(&tell(&mut planner, later, survey(later, true))));
}

#[test]
fn a_member_that_does_not_deliver_is_failing_until_it_does() {
    let mut now = Instant::now();
    let mut planner = planner(now);
    let peer = PeerId::random();
    hear(&mut planner, now, peer);
    all(&mut planner, now);
    for _ in 0..MAX_PROBE_FAILURES {
        assert_eq!(planner.state(&peer), Some(State::Live));
        now += PROBE_EVERY;
        let actions = all(&mut planner, now);
        assert!(actions.iter().any(|a| matches!(a, Action::Probe { peer: asked, .. } if *asked == peer)));
        planner.on_event(now, Event::Probed { peer, ok: false });
        all(&mut planner, now);
    }
    assert_eq!(planner.state(&peer), Some(State::Failing));
    planner.on_event(now, Event::Probed { peer, ok: true });
    all(&mut planner, now);
    assert_eq!(planner.state(&peer), Some(State::Live));
}

#[test]
fn a_member_that_is_never_anything_but_busy_is_failing_after_a_quarter_of_an_hour() {
    let start = Instant::now();
    let mut planner = planner(start);
    let peer = PeerId::random();
    hear(&mut planner, start, peer);
    let mut now = start;
    while planner.state(&peer) != Some(State::Failing) {
        now += PROBE_EVERY;
        assert!(now < start + BUSY_LONGEST * 2, "it still counts");
        for action in all(&mut planner, now) {
            if let Action::Probe { peer, .. } = action {
                planner.on_event(now, Event::Busy(peer));
            }
        }
        all(&mut planner, now);
    }
    assert!(now >= start + BUSY_LONGEST);
    planner.on_event(now, Event::Probed { peer, ok: true });
    all(&mut planner, now);
    assert_eq!(planner.state(&peer), Some(State::Live));
}

#[test]
fn members_are_remembered_but_not_without_end() {
    let now = Instant::now();
    let mut planner = planner(now);
    let first = PeerId::random();
    hear(&mut planner, now, first);
    for _ in 1..MAX_KNOWN_PEERS {
        hear(&mut planner, now, PeerId::random());
    }
    let one_more = PeerId::random();
    hear(&mut planner, now, one_more);
    all(&mut planner, now);
    assert_eq!(planner.state(&one_more), None, "nobody is given up for it who is there");
    planner.on_event(now, Event::Gone(first));
    let later = now + 2 * 3600 * SECOND;
    hear(&mut planner, later, one_more);
    all(&mut planner, later);
    assert_eq!((planner.state(&first), planner.state(&one_more)), (None, Some(State::Live)));
}

fn excess(name: u8, files: u64) -> Excess {
    let content = ContentId([name; 32]);
    let (copies, rank) = (2, 0);
    let plan = Plan {
        subject: content,
        keeper: content,
        why: Why::Excess,
        copies,
        holders: vec![],
        rank,
        pinned: false,
    };
    Excess { wish: Wish { plan, files }, hidden: files == 0 }
}

#[test]
fn replicas_go_at_once_and_originals_after_a_while() {
    let now = Instant::now();
    let mut planner = planner(now);
    all(&mut planner, now);
    let found = |began| Surveyed { excess: vec![excess(1, 1), excess(2, 0)], ..survey(began, false) };
    let subjects =
        |planner: &Stabilize| planner.excess().iter().map(|wish| wish.plan.subject.0[0]).collect::<Vec<u8>>();
    tell(&mut planner, now, found(now));
    assert_eq!(subjects(&planner), [2]);
    assert!(planner.next_wakeup().is_some_and(|at| at <= now + 60 * SECOND), "looked at again by then");
    let later = now + 60 * SECOND;
    all(&mut planner, later);
    tell(&mut planner, later, found(later));
    assert_eq!(subjects(&planner), [1, 2]);
    // Not excess any more, and again: the time counts anew.
    all(&mut planner, later + 60 * SECOND);
    tell(&mut planner, later, survey(later, false));
    tell(&mut planner, later, found(later));
    assert_eq!(subjects(&planner), [2]);
}

#[test]
fn it_sleeps_when_there_is_nothing_to_do() {
    let now = Instant::now();
    let mut planner = planner(now);
    for _ in 0..3 {
        hear(&mut planner, now, PeerId::random());
    }
    let actions = all(&mut planner, now);
    assert!(matches!(&actions[..], [Action::Survey(_)]), "{actions:?}");
    let actions = tell(&mut planner, now, survey(now, false));
    assert!(matches!(&actions[..], [Action::Settled { contents: 3, copies: 2 }]), "{actions:?}");
    assert!(planner.next_wakeup().is_some_and(|at| at > now));
}
