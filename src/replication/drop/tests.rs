//! One step at a time; what many steps and faults lead to is `tests/model/`.

use std::collections::BTreeSet;
use std::time::Duration;

use libp2p::multihash::Multihash;

use super::*;
use crate::replication::lease::Denial;

fn peer(n: u8) -> PeerId {
    PeerId::from_multihash(Multihash::wrap(0, &[n]).expect("one byte fits")).expect("an identity")
}

fn content(n: u8) -> ContentId {
    ContentId([n; 32])
}

const L: u8 = 1;
const K: u8 = 2;

/// A node that has been up for a lease time, with two others in folders of their own.
fn node() -> (Drops, BootTime) {
    let mut drops = newborn();
    let now = BootTime(0).after(Terms::default().lease);
    assert_eq!(drops.next_action(now), None);
    (drops, now)
}

fn newborn() -> Drops {
    let me = Me { peer: peer(0), folder: FolderId(0) };
    let mut drops = Drops::new(BootTime(0), me, Terms::default(), Rules::default());
    let others = [(peer(1), FolderId(1)), (peer(2), FolderId(2))];
    drops.on_event(BootTime(0), Event::Members(others.into()));
    drops
}

fn plan(subject: u8, keeper: u8, why: Why) -> Plan {
    Plan {
        subject: content(subject),
        keeper: content(keeper),
        why,
        copies: 2,
        holders: vec![peer(1), peer(2)],
        rank: 5,
        pinned: false,
    }
}

fn seen(matched: &[u8], witnesses: &[u8], committed: bool) -> Event {
    let set = |of: &[u8]| of.iter().map(|n| content(*n)).collect();
    let outcome = Comparison::Seen { matched: set(matched), witnesses: set(witnesses), committed };
    Event::Compared { subject: content(L), outcome }
}

fn actions(drops: &mut Drops, now: BootTime) -> Vec<Action> {
    std::iter::from_fn(|| drops.next_action(now)).collect()
}

/// Tells all, and returns what the last brought about.
fn tell(drops: &mut Drops, now: BootTime, events: impl IntoIterator<Item = Event>) -> Vec<Action> {
    let mut last = Vec::new();
    for event in events {
        drops.on_event(now, event);
        last = actions(drops, now);
    }
    last
}

fn asks(actions: &[Action]) -> Vec<(AskId, PeerId)> {
    let ask = |action: &Action| match action {
        Action::Ask { ask, to, .. } => Some((*ask, *to)),
        _ => None,
    };
    actions.iter().filter_map(ask).collect()
}

fn grant((ask, from): (AskId, PeerId)) -> Event {
    Event::Answered { ask, from, answer: Answer::Granted { proof_matches: true } }
}

/// Grants all that `actions` ask for.
fn grant_all(drops: &mut Drops, now: BootTime, actions: &[Action]) -> Vec<Action> {
    let asks = asks(actions);
    assert!(!asks.is_empty(), "nobody is asked: {actions:?}");
    tell(drops, now, asks.into_iter().map(grant))
}

fn request(asker: u8, of: u8, subject: u8) -> Request {
    Request {
        asker: peer(asker),
        ask: AskId(7),
        content: content(of),
        subject: content(subject),
        asker_keeps: false,
        witnesses: BTreeSet::new(),
        witnesses_after: 0,
        held: true,
        view: View { without_asker: 2, copies: 2 },
        asker_rank: 1,
    }
}

fn denial(drops: &mut Drops, now: BootTime, request: Request) -> Option<Denial> {
    drops.on_event(now, Event::Asked(request));
    match actions(drops, now).pop() {
        Some(Action::Deny { why, .. }) => Some(why),
        Some(Action::Grant { .. }) => None,
        other => panic!("neither granted nor denied: {other:?}"),
    }
}

fn asking() -> (Drops, BootTime, Vec<Action>) {
    let (mut drops, now) = node();
    let compare = tell(&mut drops, now, [Event::Begin(plan(L, K, Why::Superseded))]);
    assert_eq!(compare, [Action::Compare { subject: content(L), keeper: content(K) }]);
    let asked = tell(&mut drops, now, [seen(&[L], &[], false)]);
    (drops, now, asked)
}

const SUBJECT: ContentId = ContentId([L; 32]);

fn renaming() -> (Drops, BootTime) {
    let (mut drops, now, asked) = asking();
    let intent = grant_all(&mut drops, now, &asked);
    assert_eq!(intent, [Action::Journal { subject: SUBJECT, entry: Entry::Intent }]);
    let journaled = Event::Journaled { subject: SUBJECT, entry: Entry::Intent, ok: true };
    assert_eq!(tell(&mut drops, now, [journaled]), [Action::Recheck { subject: SUBJECT }]);
    let rename = tell(&mut drops, now, [Event::Rechecked { subject: SUBJECT, ok: true }]);
    assert_eq!(rename, [Action::Rename { subject: SUBJECT }]);
    (drops, now)
}

#[test]
fn a_drop_asks_before_and_after_the_rename_and_ends() {
    let (mut drops, now) = renaming();
    let renamed = Event::Renamed { subject: SUBJECT, outcome: Renamed::Intact };
    let again = tell(&mut drops, now, [renamed]);
    assert_eq!(asks(&again).len(), 2);
    let end = grant_all(&mut drops, now, &again);
    assert_eq!(end, [Action::Journal { subject: SUBJECT, entry: Entry::Final }]);
    let journaled = Event::Journaled { subject: SUBJECT, entry: Entry::Final, ok: true };
    assert_eq!(tell(&mut drops, now, [journaled]), [Action::Withdraw { subject: SUBJECT }]);
    let ended = tell(&mut drops, now, [Event::Withdrawn(SUBJECT)]);
    assert_eq!(ended.last(), Some(&Action::Ended { subject: SUBJECT, how: End::Removed }));
    assert!(!drops.is_dropping(SUBJECT) && drops.next_wakeup().is_none());
}

#[test]
fn silence_before_the_rename_keeps_the_file_and_after_it_brings_it_back() {
    let (mut drops, now, _) = asking();
    let deadline = drops.next_wakeup().expect("an answer is waited for");
    assert_eq!(deadline, now.after(Terms::default().answer));
    assert_eq!(actions(&mut drops, deadline), []);
    let retry = drops.next_wakeup().expect("it is tried again");
    assert_eq!(retry, deadline.after(Terms::default().pause_first));

    let (mut drops, now) = renaming();
    tell(&mut drops, now, [Event::Renamed { subject: SUBJECT, outcome: Renamed::Intact }]);
    let deadline = drops.next_wakeup().expect("an answer is waited for");
    assert_eq!(actions(&mut drops, deadline), [Action::PutBack { subject: SUBJECT }]);
}

#[test]
fn a_wrong_proof_an_old_answer_and_a_late_one_are_no_grants() {
    let (mut drops, now, asked) = asking();
    let (ask, from) = asks(&asked)[0];
    let wrong = Answer::Granted { proof_matches: false };
    assert_eq!(tell(&mut drops, now, [Event::Answered { ask, from, answer: wrong }]), []);
    let (second, retry) = (asks(&asked)[1], drops.next_wakeup().expect("a pause"));
    assert_eq!(tell(&mut drops, now, [grant(second)]), [], "the round is over");
    assert_eq!(actions(&mut drops, retry), [Action::Compare { subject: SUBJECT, keeper: content(K) }]);
    let commit = tell(&mut drops, retry, [seen(&[L], &[], false)]);
    assert_eq!(commit, [Action::Commit { subject: SUBJECT, keeper: content(K) }], "a holder was none");
    let again = tell(&mut drops, retry, [Event::Committed { subject: SUBJECT, ok: true }]);
    assert_eq!(
        tell(&mut drops, retry, asks(&asked).into_iter().map(grant)),
        [],
        "answers to the first round"
    );
    let late = Terms::default().relied_on_until(retry);
    assert_eq!(tell(&mut drops, late, asks(&again).into_iter().map(grant)), [], "as old as a lease");
}

#[test]
fn the_keeper_must_match_the_subject_and_all_that_it_carries() {
    let not_same = Action::Ended { subject: SUBJECT, how: End::NotSame };
    let compare = |matched: &[u8], witnesses: &[u8]| {
        let (mut drops, now) = node();
        tell(&mut drops, now, [Event::Begin(plan(L, K, Why::Superseded)), seen(matched, witnesses, false)])
    };
    assert_eq!(compare(&[], &[]).last(), Some(&not_same));
    assert_eq!(compare(&[L], &[9]).last(), Some(&not_same));
    assert_eq!(asks(&compare(&[L, 9], &[9])).len(), 2);
    let many: Vec<u8> = (10..10 + MAX_WITNESSES as u8).collect();
    let matched: Vec<u8> = many.iter().copied().chain([L]).collect();
    assert_eq!(compare(&matched, &many).last(), Some(&not_same), "too many to carry on");
    let Some(Action::Ask { witnesses, .. }) = compare(&[L, 9], &[9]).pop() else { panic!("no request") };
    assert_eq!(witnesses, BTreeSet::from([content(L), content(9)]), "the keeper carries them on");
}

#[test]
fn two_nodes_on_one_folder_are_one_copy_and_drop_nothing_themselves() {
    let (mut drops, now) = node();
    drops.on_event(now, Event::Members([(peer(1), FolderId(1)), (peer(2), FolderId(1))].into()));
    let commit = tell(&mut drops, now, [Event::Begin(plan(L, K, Why::Superseded)), seen(&[L], &[], false)]);
    assert_eq!(
        commit,
        [Action::Commit { subject: SUBJECT, keeper: content(K) }],
        "one copy, so make another"
    );
    let asked = tell(&mut drops, now, [Event::Committed { subject: SUBJECT, ok: true }]);
    let peers: Vec<_> = asks(&asked).into_iter().map(|(_, to)| to).collect();
    assert_eq!(peers, [peer(0), peer(1)]);

    let (mut drops, now) = node();
    drops.on_event(now, Event::Members([(peer(1), FolderId(0)), (peer(2), FolderId(2))].into()));
    let refused = tell(&mut drops, now, [Event::Begin(plan(L, K, Why::Superseded))]);
    assert_eq!(refused, [Action::Ended { subject: SUBJECT, how: End::Refused }]);
    assert_eq!(denial(&mut drops, now, request(2, K, L)), Some(Denial::SharedFolder));
}

#[test]
fn a_holder_denies_what_it_cannot_promise() {
    let (mut drops, now) = node();
    assert_eq!(denial(&mut drops, now, request(9, K, L)), Some(Denial::NotTrusted));
    assert_eq!(denial(&mut drops, now, Request { held: false, ..request(1, K, L) }), Some(Denial::NotHeld));
    let alone = View { without_asker: 1, copies: 2 };
    let trim = Request { view: alone, ..request(1, K, K) };
    assert_eq!(denial(&mut drops, now, trim.clone()), Some(Denial::BelowCopies));
    assert_eq!(denial(&mut drops, now, Request { asker_keeps: true, ..trim }), None);
    let many = Request { witnesses_after: MAX_WITNESSES + 1, ..request(1, K, L) };
    assert_eq!(denial(&mut drops, now, many), Some(Denial::TooManyWitnesses));
}

#[test]
fn a_lease_blocks_a_drop_until_it_is_over_and_intent_blocks_leases() {
    let (mut drops, now) = node();
    assert_eq!(denial(&mut drops, now, request(1, L, 7)), None);
    assert_eq!(tell(&mut drops, now, [Event::Begin(plan(L, K, Why::Superseded))]), []);
    assert_eq!(drops.next_wakeup(), Some(now.after(Terms::default().lease)));

    let (mut drops, now, _) = asking();
    assert_eq!(denial(&mut drops, now, request(1, L, 7)), Some(Denial::Intends));
    assert_eq!(denial(&mut drops, now, request(1, K, L)), None, "the keeper is another content");
}

#[test]
fn of_two_that_block_each_other_the_lower_rank_yields() {
    let trimming = || {
        let (mut drops, now) = node();
        let mut excess = plan(L, L, Why::Excess);
        excess.rank = 5;
        let asked = tell(&mut drops, now, [Event::Begin(excess), seen(&[L], &[], true)]);
        assert_eq!(asks(&asked).len(), 2);
        (drops, now, asked)
    };
    let (mut drops, now, asked) = trimming();
    let lower = Request { asker_rank: 4, ..request(1, L, L) };
    assert_eq!(denial(&mut drops, now, lower), Some(Denial::Intends));
    let higher = Request { asker_rank: 6, ..request(1, L, L) };
    assert_eq!(denial(&mut drops, now, higher.clone()), None);
    assert_eq!(tell(&mut drops, now, asks(&asked).into_iter().map(grant)), [], "it gave up");

    let (mut drops, now, asked) = trimming();
    grant_all(&mut drops, now, &asked);
    assert_eq!(denial(&mut drops, now, higher), Some(Denial::Intends), "too late: it is written");
}

#[test]
fn a_started_and_a_resumed_node_remove_nothing_for_a_lease_time() {
    let mut drops = newborn();
    assert_eq!(tell(&mut drops, BootTime(5), [Event::Begin(plan(L, K, Why::Superseded))]), []);
    assert_eq!(drops.next_wakeup(), Some(BootTime(0).after(Terms::default().lease)));

    let (mut drops, now) = renaming();
    assert_eq!(tell(&mut drops, now, [Event::Resumed]), [], "the rename is waited for");
    let renamed = Event::Renamed { subject: SUBJECT, outcome: Renamed::Intact };
    assert_eq!(tell(&mut drops, now, [renamed]), [Action::PutBack { subject: SUBJECT }]);
    tell(&mut drops, now, [Event::PutBack { subject: SUBJECT, ok: true }]);
    let retry = drops.next_wakeup().expect("a pause");
    assert_eq!(actions(&mut drops, retry), [], "still quiet");
    assert_eq!(drops.next_wakeup(), Some(now.after(Terms::default().lease)));
}

#[test]
fn a_pin_stops_a_drop_for_good() {
    let (mut drops, now) = node();
    let pinned = Plan { pinned: true, ..plan(L, K, Why::Superseded) };
    let refused = tell(&mut drops, now, [Event::Begin(pinned)]);
    assert_eq!(refused, [Action::Ended { subject: SUBJECT, how: End::Refused }]);

    let (mut drops, now) = renaming();
    let renamed = Event::Renamed { subject: SUBJECT, outcome: Renamed::Intact };
    let back = tell(&mut drops, now, [Event::Pinned(SUBJECT), renamed]);
    assert_eq!(back, [Action::PutBack { subject: SUBJECT }]);
    let ended = tell(&mut drops, now, [Event::PutBack { subject: SUBJECT, ok: true }]);
    assert_eq!(ended.last(), Some(&Action::Ended { subject: SUBJECT, how: End::Pinned }));
}

#[test]
fn what_is_called_off_while_it_waits_ends_at_once() {
    let ended = Action::Ended { subject: SUBJECT, how: End::Cancelled };
    let discard = Action::Discard { subject: SUBJECT, keeper: content(K) };
    // Before the first attempt: the node has just started.
    let mut drops = newborn();
    tell(&mut drops, BootTime(5), [Event::Begin(plan(L, K, Why::Superseded))]);
    let off = tell(&mut drops, BootTime(6), [Event::Cancel(SUBJECT)]);
    assert_eq!(off, [discard.clone(), ended.clone()]);
    assert!(!drops.is_dropping(SUBJECT) && drops.next_wakeup().is_none());
    // Between two attempts.
    let (mut drops, now, asked) = asking();
    let (ask, from) = asks(&asked)[0];
    tell(&mut drops, now, [Event::Answered { ask, from, answer: Answer::Denied }]);
    assert_eq!(tell(&mut drops, now, [Event::Cancel(SUBJECT)]), [discard, ended]);
    assert_eq!(tell(&mut drops, now, [grant(asks(&asked)[1])]), [], "too late");
    // What is not there can't be called off.
    assert_eq!(tell(&mut drops, now, [Event::Cancel(SUBJECT), Event::Cancel(content(9))]), []);
}

#[test]
fn what_is_called_off_at_work_ends_after_the_attempt_unless_that_succeeds() {
    let ended = |how| Some(Action::Ended { subject: SUBJECT, how });
    // It fails before the rename.
    let (mut drops, now, asked) = asking();
    assert_eq!(tell(&mut drops, now, [Event::Cancel(SUBJECT)]), [], "it is not interrupted");
    let (ask, from) = asks(&asked)[0];
    let failed = tell(&mut drops, now, [Event::Answered { ask, from, answer: Answer::Denied }]);
    assert_eq!(failed.last().cloned(), ended(End::Cancelled));
    // It fails after the rename, and can't be put back at once.
    let (mut drops, now) = renaming();
    let renamed = Event::Renamed { subject: SUBJECT, outcome: Renamed::Changed };
    let back = tell(&mut drops, now, [Event::Cancel(SUBJECT), renamed]);
    assert_eq!(back, [Action::PutBack { subject: SUBJECT }]);
    assert_eq!(tell(&mut drops, now, [Event::PutBack { subject: SUBJECT, ok: false }]), []);
    assert_eq!(tell(&mut drops, now, [Event::Cancel(SUBJECT)]), [], "not before it is back");
    let retry = drops.next_wakeup().expect("a pause");
    assert_eq!(actions(&mut drops, retry), [Action::PutBack { subject: SUBJECT }]);
    let put_back = tell(&mut drops, retry, [Event::PutBack { subject: SUBJECT, ok: true }]);
    assert_eq!(put_back.last().cloned(), ended(End::Cancelled));
    // It succeeds.
    let (mut drops, now) = renaming();
    let renamed = Event::Renamed { subject: SUBJECT, outcome: Renamed::Intact };
    let again = tell(&mut drops, now, [Event::Cancel(SUBJECT), renamed]);
    grant_all(&mut drops, now, &again);
    let journaled = Event::Journaled { subject: SUBJECT, entry: Entry::Final, ok: true };
    assert_eq!(tell(&mut drops, now, [journaled]), [Action::Withdraw { subject: SUBJECT }]);
    let withdrawn = tell(&mut drops, now, [Event::Withdrawn(SUBJECT)]);
    assert_eq!(withdrawn.last().cloned(), ended(End::Removed));
}

#[test]
fn a_pin_outweighs_that_it_was_called_off() {
    for events in
        [[Event::Cancel(SUBJECT), Event::Pinned(SUBJECT)], [Event::Pinned(SUBJECT), Event::Cancel(SUBJECT)]]
    {
        let (mut drops, now) = renaming();
        tell(&mut drops, now, events);
        tell(&mut drops, now, [Event::Renamed { subject: SUBJECT, outcome: Renamed::Intact }]);
        let ended = tell(&mut drops, now, [Event::PutBack { subject: SUBJECT, ok: true }]);
        assert_eq!(ended.last(), Some(&Action::Ended { subject: SUBJECT, how: End::Pinned }));
    }
}

#[test]
fn a_restart_rolls_back_what_is_not_final_and_keeps_trying() {
    let mut drops = newborn();
    let found = |entry| Event::Recovered { subject: SUBJECT, entry };
    let back = tell(&mut drops, BootTime(0), [found(Entry::Intent)]);
    assert_eq!(back, [Action::PutBack { subject: SUBJECT }]);
    assert_eq!(denial(&mut drops, BootTime(0), request(1, L, 7)), Some(Denial::Intends));
    tell(&mut drops, BootTime(0), [Event::PutBack { subject: SUBJECT, ok: false }]);
    let retry = drops.next_wakeup().expect("a pause");
    assert_eq!(actions(&mut drops, retry), [Action::PutBack { subject: SUBJECT }]);
    tell(&mut drops, retry, [Event::PutBack { subject: SUBJECT, ok: true }]);
    assert!(!drops.is_dropping(SUBJECT));

    let withdraw = tell(&mut drops, retry, [found(Entry::Final)]);
    assert_eq!(withdraw, [Action::Withdraw { subject: SUBJECT }]);
}

#[test]
fn a_trashed_file_whose_keeper_is_not_proved_comes_back() {
    let (mut drops, mut now) = node();
    let failed = || Event::Compared { subject: SUBJECT, outcome: Comparison::Failed };
    let mut last = tell(&mut drops, now, [Event::Begin(plan(L, K, Why::Purge))]);
    for _ in 0..MAX_PURGE_ATTEMPTS {
        assert_eq!(last, [Action::Compare { subject: SUBJECT, keeper: content(K) }]);
        last = tell(&mut drops, now, [failed()]);
        if last.is_empty() {
            now = drops.next_wakeup().expect("a pause");
            last = actions(&mut drops, now);
        }
    }
    assert_eq!(last, [Action::PutBack { subject: SUBJECT }]);
    let ended = tell(&mut drops, now, [Event::PutBack { subject: SUBJECT, ok: true }]);
    assert_eq!(ended.last(), Some(&Action::Ended { subject: SUBJECT, how: End::CameBack }));
}

/// It stayed in the trash for good, and was looked at again at each end of its time.
#[test]
fn a_trashed_file_that_is_another_picture_than_its_keeper_comes_back_at_once() {
    let (mut drops, now) = node();
    tell(&mut drops, now, [Event::Begin(plan(L, K, Why::Purge))]);
    let (matched, witnesses) = (BTreeSet::new(), BTreeSet::new());
    let outcome = Comparison::Seen { matched, witnesses, committed: false };
    let put_back = [Action::PutBack { subject: SUBJECT }];
    assert_eq!(tell(&mut drops, now, [Event::Compared { subject: SUBJECT, outcome }]), put_back);
    // A disk that fails now is asked again.
    tell(&mut drops, now, [Event::PutBack { subject: SUBJECT, ok: false }]);
    let later = drops.next_wakeup().expect("another try");
    assert_eq!(actions(&mut drops, later), put_back);
    let ended = tell(&mut drops, later, [Event::PutBack { subject: SUBJECT, ok: true }]);
    assert_eq!(ended.last(), Some(&Action::Ended { subject: SUBJECT, how: End::CameBack }));
}

#[test]
fn pauses_double_up_to_the_longest() {
    let (mut drops, mut now) = node();
    let mut pauses = Vec::new();
    tell(&mut drops, now, [Event::Begin(plan(L, K, Why::Superseded))]);
    for _ in 0..12 {
        tell(&mut drops, now, [Event::Compared { subject: SUBJECT, outcome: Comparison::Failed }]);
        let next = drops.next_wakeup().expect("a pause");
        pauses.push(Duration::from_millis(next.0 - now.0));
        now = next;
        actions(&mut drops, now);
    }
    let terms = Terms::default();
    assert_eq!(pauses[..3], [terms.pause_first, terms.pause_first * 2, terms.pause_first * 4]);
    assert_eq!(pauses.last(), Some(&terms.pause_longest));
}

#[test]
fn no_more_leases_and_drops_than_the_limits() {
    let mut leases = Leases::new(BootTime(0), Duration::from_secs(1));
    for n in 0..=MAX_LEASES_U32 {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        let granted = leases.grant(BootTime(0), ContentId(bytes), peer(1));
        assert_eq!(granted.is_ok(), n < MAX_LEASES_U32);
    }
    assert!(leases.grant(BootTime(1001), content(1), peer(1)).is_ok(), "the old ones are over");

    let (mut drops, now) = node();
    for n in 0..=MAX_DROPS as u8 {
        let begun = tell(&mut drops, now, [Event::Begin(plan(100 + n, K, Why::Superseded))]);
        let refused = matches!(begun[..], [Action::Ended { how: End::Refused, .. }]);
        assert_eq!(refused, usize::from(n) == MAX_DROPS);
    }
}

const MAX_LEASES_U32: u32 = crate::limits::MAX_LEASES as u32;

/// A holder was destroyed while it was being asked again. Who has the content instead was told
/// meanwhile, and only then: the excess copy stayed for ever.
#[test]
fn what_is_told_while_it_is_at_work_is_taken_up_at_the_next_attempt() {
    let (mut drops, now) = node();
    let others = (1..4).map(|n| (peer(n), FolderId(n.into()))).collect();
    let excess = plan(L, L, Why::Excess);
    let begun = [Event::Members(others), Event::Begin(excess.clone()), seen(&[L], &[], true)];
    let asked = asks(&tell(&mut drops, now, begun));
    let newer = Plan { holders: vec![peer(2), peer(3)], ..excess };
    tell(&mut drops, now, [Event::Replan(newer)]);
    let (ask, from) = asked[0];
    tell(&mut drops, now, [Event::Answered { ask, from, answer: Answer::Denied }]);
    let later = drops.next_wakeup().expect("another attempt");
    assert_eq!(actions(&mut drops, later).len(), 1, "it compares");
    let asked = asks(&tell(&mut drops, later, [seen(&[L], &[], true)]));
    assert_eq!(asked.into_iter().map(|(_, to)| to).collect::<Vec<_>>(), [peer(3), peer(2)]);
}
