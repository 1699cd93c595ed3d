use std::time::Duration;

use super::*;
use crate::replication::drop::Why;

fn content(n: u8) -> ContentId {
    ContentId([n; 32])
}

fn wish(n: u8, files: u64) -> Wish {
    let (subject, keeper) = (content(n), content(200));
    let plan =
        Plan { subject, keeper, why: Why::Superseded, copies: 2, holders: vec![], rank: 0, pinned: false };
    Wish { plan, files }
}

fn drain(wishes: &mut Wishes, now: BootTime) -> Vec<Action> {
    std::iter::from_fn(|| wishes.next_action(now)).collect()
}

fn begun(actions: &[Action]) -> Vec<ContentId> {
    let begun = |action: &Action| if let Action::Begin(plan) = action { Some(plan.subject) } else { None };
    actions.iter().filter_map(begun).collect()
}

fn found(numbers: impl IntoIterator<Item = u8>, files: u64) -> Event {
    Event::Found { wishes: numbers.into_iter().map(|n| wish(n, 1)).collect(), files }
}

const NOW: BootTime = BootTime(1_000_000);

#[test]
fn a_few_at_a_time_in_their_order() {
    let mut wishes = Wishes::new(Brake::default());
    wishes.on_event(NOW, found(1..=18, 100));
    let first = begun(&drain(&mut wishes, NOW));
    assert_eq!(first, (1..=MAX_WISHED_DROPS as u8).map(content).collect::<Vec<_>>());
    wishes.on_event(NOW, Event::Ended { subject: content(3), how: End::Removed });
    assert_eq!(begun(&drain(&mut wishes, NOW)), [content(MAX_WISHED_DROPS as u8 + 1)]);
    assert_eq!(wishes.dropped(), 1);
}

/// A survey that had begun before the drop ended still named the copy. It was fetched once more, to
/// be compared with itself.
#[test]
fn what_has_just_gone_is_not_begun_again_by_an_older_finding() {
    let mut wishes = Wishes::new(Brake::default());
    wishes.on_event(NOW, found([1], 100));
    assert_eq!(begun(&drain(&mut wishes, NOW)), [content(1)]);
    wishes.on_event(NOW, Event::Ended { subject: content(1), how: End::Removed });
    wishes.on_event(NOW, found([1], 100));
    assert_eq!(drain(&mut wishes, NOW), []);
    // If it is here again, it is found again.
    let later = wishes.next_wakeup().unwrap();
    assert_eq!((later, begun(&drain(&mut wishes, later))), (NOW.after(DROP_PAUSE_FIRST), vec![content(1)]));
}

#[test]
fn too_many_wait_for_a_person_and_an_approval_is_for_that_many() {
    let mut wishes = Wishes::new(Brake::default());
    wishes.on_event(NOW, found(1..=40, 100));
    let braked = Action::Braked { would_take: 40, allowed: 30, files: 100 };
    assert_eq!(drain(&mut wishes, NOW), [braked], "told once, nothing begins");
    wishes.on_event(NOW, found(1..=40, 100));
    assert_eq!(drain(&mut wishes, NOW), []);
    wishes.on_event(NOW, Event::Approved);
    assert_eq!(begun(&drain(&mut wishes, NOW)).len(), MAX_WISHED_DROPS);
    // One more than was approved.
    wishes.on_event(NOW, found(1..=41, 100));
    assert!(wishes.held().is_some());
}

#[test]
fn what_went_before_the_start_counts_and_is_forgotten_after_a_while() {
    let mut wishes = Wishes::new(Brake::default());
    wishes.on_event(NOW, Event::Past(25));
    wishes.on_event(NOW, found(1..=20, 75));
    assert!(wishes.held().is_some(), "45 of 100");
    let later = NOW.after(BRAKE_WINDOW);
    wishes.on_event(later, found(1..=20, 75));
    assert!(wishes.held().is_none());
}

#[test]
fn what_is_not_found_any_more_is_called_off() {
    let mut wishes = Wishes::new(Brake::default());
    wishes.on_event(NOW, found([1, 2], 100));
    assert_eq!(begun(&drain(&mut wishes, NOW)), [content(1), content(2)]);
    wishes.on_event(NOW, found([2], 100));
    let again = Action::Replan(wish(2, 1).plan);
    assert_eq!(drain(&mut wishes, NOW), [Action::Cancel(content(1)), again]);
    wishes.on_event(NOW, Event::Ended { subject: content(1), how: End::Cancelled });
    assert_eq!(drain(&mut wishes, NOW), []);
}

#[test]
fn a_pair_that_is_not_the_same_is_not_tried_again() {
    let mut wishes = Wishes::new(Brake::default());
    wishes.on_event(NOW, found([1], 100));
    drain(&mut wishes, NOW);
    wishes.on_event(NOW, Event::Ended { subject: content(1), how: End::NotSame });
    wishes.on_event(NOW, found([1], 100));
    assert_eq!(drain(&mut wishes, NOW), []);
    assert!(wishes.refused().contains(&(content(1), content(200))));
}

#[test]
fn drops_that_get_nowhere_make_room_and_come_back() {
    let mut wishes = Wishes::new(Brake::default());
    let all = 1..=MAX_WISHED_DROPS as u8 + 1;
    wishes.on_event(NOW, found(all.clone(), 100));
    drain(&mut wishes, NOW);
    assert_eq!(wishes.next_wakeup(), Some(NOW.after(DROP_TURN)));
    let later = NOW.after(DROP_TURN);
    let cancelled = drain(&mut wishes, later);
    assert_eq!(cancelled.len(), MAX_WISHED_DROPS);
    wishes.on_event(later, Event::Ended { subject: content(1), how: End::Cancelled });
    assert_eq!(begun(&drain(&mut wishes, later)), [content(MAX_WISHED_DROPS as u8 + 1)]);
    wishes.on_event(later, found(all, 100));
    assert_eq!(begun(&drain(&mut wishes, later)), [], "1 rests");
    wishes.on_event(later, Event::Ended { subject: content(2), how: End::Removed });
    let rested = later.after(DROP_PAUSE_LONGEST + Duration::from_millis(1));
    assert_eq!(begun(&drain(&mut wishes, rested)), [content(1)]);
}

/// A drop that had been tried for longer than a turn, beside a wish that rested, made every
/// wakeup one in the past: the loop that waits for it took a whole core, for up to an hour.
#[test]
fn it_never_wants_to_be_woken_for_nothing() {
    let mut wishes = Wishes::new(Brake::default());
    wishes.on_event(NOW, found([1, 2], 100));
    drain(&mut wishes, NOW);
    wishes.on_event(NOW, Event::Ended { subject: content(2), how: End::Refused });
    wishes.on_event(NOW, found([1, 2], 100));
    let later = NOW.after(DROP_TURN + Duration::from_secs(1));
    assert_eq!(begun(&drain(&mut wishes, later)), []);
    assert_eq!(wishes.next_wakeup(), Some(NOW.after(DROP_PAUSE_LONGEST)), "2 has rested then");

    // 13 has rested, and there is no room for it yet.
    let mut wishes = Wishes::new(Brake::default());
    let all = 1..=MAX_WISHED_DROPS as u8 + 1;
    let last = content(MAX_WISHED_DROPS as u8 + 1);
    wishes.on_event(NOW, found([MAX_WISHED_DROPS as u8 + 1], 100));
    drain(&mut wishes, NOW);
    wishes.on_event(NOW, Event::Ended { subject: last, how: End::Refused });
    let rested = NOW.after(DROP_PAUSE_LONGEST);
    let before = BootTime(rested.0 - 1);
    wishes.on_event(before, found(all, 100));
    assert_eq!(begun(&drain(&mut wishes, before)).len(), MAX_WISHED_DROPS);
    assert_eq!(drain(&mut wishes, rested), []);
    assert_eq!(wishes.next_wakeup(), Some(before.after(DROP_TURN)));
}

/// While a file was on its way to the trash a look missed it, the drop was called off and then
/// failed, and the file that was back rested for an hour.
#[test]
fn what_a_look_missed_for_a_moment_is_wished_for_again_soon() {
    let mut wishes = Wishes::new(Brake::default());
    wishes.on_event(NOW, found([1], 100));
    drain(&mut wishes, NOW);
    wishes.on_event(NOW, found([], 100));
    assert_eq!(drain(&mut wishes, NOW), [Action::Cancel(content(1))]);
    wishes.on_event(NOW, Event::Ended { subject: content(1), how: End::Cancelled });
    wishes.on_event(NOW, found([1], 100));
    assert_eq!(begun(&drain(&mut wishes, NOW)), [], "not at once");
    let soon = NOW.after(crate::limits::DROP_PAUSE_FIRST);
    assert_eq!(begun(&drain(&mut wishes, soon)), [content(1)]);
}

#[test]
fn what_a_person_removes_counts_like_all_else_and_an_approval_lets_it_go() {
    let mut wishes = Wishes::new(Brake::default());
    assert_eq!(wishes.judge_removal(NOW, 5, 10), Verdict::Go, "a few always may");
    wishes.on_event(NOW, Event::Past(18));
    let wait = Verdict::Wait { would_take: 21, allowed: 20, files: 28 };
    assert_eq!(wishes.judge_removal(NOW, 3, 10), wait);
    assert_eq!(wishes.refused_removal(), Some(wait));
    wishes.on_event(NOW, Event::Approved);
    assert_eq!(wishes.refused_removal(), None);
    assert_eq!(wishes.judge_removal(NOW, 3, 10), Verdict::Go);
    assert!(wishes.judge_removal(NOW, 4, 10) != Verdict::Go, "approved for that many");
    // The next day all of it is forgotten.
    let later = NOW.after(BRAKE_WINDOW);
    assert_eq!(wishes.judge_removal(later, 20, 10), Verdict::Go);
    assert!(wishes.judge_removal(later, 21, 10) != Verdict::Go);
}

/// Nothing is under way when a person approves a removal that was refused: the approval was taken
/// back at once.
#[test]
fn an_approved_removal_may_be_said_again_later() {
    let mut wishes = Wishes::new(Brake::default());
    assert!(wishes.judge_removal(NOW, 30, 30) != Verdict::Go);
    wishes.on_event(NOW, Event::Approved);
    assert_eq!(wishes.approved(), 30);
    let later = NOW.after(BRAKE_WINDOW / 2);
    wishes.on_event(later, found([], 30));
    assert_eq!(wishes.judge_removal(later, 30, 30), Verdict::Go);
}
