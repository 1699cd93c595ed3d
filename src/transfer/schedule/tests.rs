use proptest::prelude::*;

use super::*;
use crate::limits::CHUNK_WINDOW;

fn sources(n: u32) -> Vec<Source> {
    (0..n).map(Source).collect()
}

fn drain(schedule: &mut Schedule, now: Instant) -> Vec<Fetch> {
    std::iter::from_fn(|| schedule.next_action(now)).collect()
}

fn fail(schedule: &mut Schedule, now: Instant, fetch: Fetch, kind: Failure) {
    schedule.on_event(now, Event::Failed { chunk: fetch.chunk, source: fetch.source, kind });
}

proptest! {
    /// Whatever arrives or fails in whatever order: never over the window, never the same
    /// chunk twice at a time or after its arrival, nobody asked after a ban, and an end.
    #[test]
    fn any_history_ends_with_every_chunk_or_a_reason(
        chunks in 0..60_u32,
        window in 1..20_usize,
        holders in 0..5_u32,
        ordered: bool,
        fates in prop::collection::vec((any::<prop::sample::Index>(), 0..14_u8), 1..80),
    ) {
        let mut now = Instant::now();
        let mut schedule = Schedule::new(chunks, window, sources(holders));
        if ordered {
            schedule = schedule.in_order();
        }
        let mut flying: Vec<Fetch> = Vec::new();
        let mut here = BTreeSet::new();
        let mut fates = fates.into_iter().cycle();
        for _ in 0..20_000 {
            for fetch in drain(&mut schedule, now) {
                prop_assert!(!here.contains(&fetch.chunk) && !flying.iter().any(|f| f.chunk == fetch.chunk));
                prop_assert!(!schedule.banned().any(|(source, _)| source == fetch.source));
                let lowest = (0..=chunks).find(|c| !here.contains(c)).unwrap();
                prop_assert!(!ordered || (fetch.chunk as usize) < lowest as usize + window);
                flying.push(fetch);
            }
            prop_assert!(flying.len() <= window);
            if schedule.outcome().is_some() {
                break;
            }
            let Some((pick, fate)) = fates.next().filter(|_| !flying.is_empty()) else {
                now = schedule.next_wakeup().expect("something is waited for");
                continue;
            };
            let fetch = flying.swap_remove(pick.index(flying.len()));
            now += Duration::from_millis(3);
            match fate {
                0 => fail(&mut schedule, now, fetch, Failure::Busy),
                1 => fail(&mut schedule, now, fetch, Failure::Timeout),
                2 => fail(&mut schedule, now, fetch, Failure::Gone),
                3 => fail(&mut schedule, now, fetch, Failure::Corrupt),
                _ => {
                    schedule.on_event(now, Event::Arrived { chunk: fetch.chunk });
                    prop_assert!(here.insert(fetch.chunk), "each arrives once");
                    schedule.on_event(now, Event::Arrived { chunk: fetch.chunk });
                    prop_assert_eq!(schedule.arrived() as usize, here.len());
                }
            }
        }
        match schedule.outcome() {
            Some(Outcome::Complete) => prop_assert_eq!(here.len(), chunks as usize),
            Some(Outcome::Failed(why)) => {
                prop_assert_eq!(schedule.banned().count(), holders as usize);
                let worst = schedule.banned().map(|(_, why)| why).max().unwrap_or(Failure::Gone);
                prop_assert_eq!(why, worst);
            }
            None => prop_assert!(false, "no end"),
        }
    }
}

#[test]
fn one_source_gets_the_whole_window_in_order() {
    let now = Instant::now();
    let mut schedule = Schedule::new(100, CHUNK_WINDOW, sources(1));
    let chunks: Vec<u32> = drain(&mut schedule, now).iter().map(|f| f.chunk).collect();
    assert_eq!(chunks, (0..CHUNK_WINDOW as u32).collect::<Vec<_>>());
}

/// A source that needs 10 ms a chunk beside one that needs 40: the fast one does most.
#[test]
fn the_faster_source_does_more_of_the_work() {
    let costs = [10_u64, 40];
    let mut now = Instant::now();
    let mut schedule = Schedule::new(1000, 8, sources(2));
    let mut free = [now; 2];
    let mut queue: BTreeSet<(Instant, u32, u32)> = BTreeSet::new();
    let mut done = [0_u32; 2];
    while schedule.outcome().is_none() {
        for fetch in drain(&mut schedule, now) {
            let who = fetch.source.0 as usize;
            free[who] = free[who].max(now) + Duration::from_millis(costs[who]);
            queue.insert((free[who], fetch.chunk, fetch.source.0));
        }
        let (at, chunk, who) = queue.pop_first().expect("in flight");
        now = at;
        done[who as usize] += 1;
        schedule.on_event(now, Event::Arrived { chunk });
    }
    assert_eq!(schedule.outcome(), Some(Outcome::Complete));
    assert!((150..=250).contains(&done[1]), "a fifth for the slow one: {done:?}");
}

#[test]
fn a_window_refused_together_is_one_round_of_busy() {
    let mut now = Instant::now();
    let mut schedule = Schedule::new(50, CHUNK_WINDOW, sources(1));
    for round in 0..=MAX_BUSY_RETRIES {
        assert_eq!(schedule.outcome(), None, "round {round}");
        let fetches = drain(&mut schedule, now);
        assert_eq!(fetches.len(), CHUNK_WINDOW);
        for fetch in fetches {
            fail(&mut schedule, now, fetch, Failure::Busy);
        }
        assert!(drain(&mut schedule, now).is_empty(), "it rests");
        if let Some(wakeup) = schedule.next_wakeup() {
            assert!(wakeup > now && wakeup <= now + BUSY_PAUSE_LONGEST);
            now = wakeup;
        }
    }
    assert_eq!(schedule.outcome(), Some(Outcome::Failed(Failure::Busy)));
}

#[test]
fn a_holder_found_late_saves_the_transfer() {
    let now = Instant::now();
    let mut schedule = Schedule::new(3, 1, sources(1));
    let fetch = schedule.next_action(now).unwrap();
    schedule.on_event(now, Event::Found(Source(9)));
    fail(&mut schedule, now, fetch, Failure::Corrupt);
    assert_eq!(schedule.outcome(), None);
    let again = schedule.next_action(now).unwrap();
    assert_eq!(again, Fetch { chunk: 0, source: Source(9) });
    assert!(schedule.awaits(again) && !schedule.awaits(fetch));
    schedule.on_event(now, Event::Found(Source(0)));
    fail(&mut schedule, now, again, Failure::Gone);
    assert_eq!(schedule.outcome(), Some(Outcome::Failed(Failure::Corrupt)), "banned stays banned");
}

#[test]
fn one_timeout_is_forgiven_after_an_arrival() {
    let now = Instant::now();
    let mut schedule = Schedule::new(10, 1, sources(1));
    for _ in 0..3 {
        let fetch = schedule.next_action(now).unwrap();
        fail(&mut schedule, now, fetch, Failure::Timeout);
        let fetch = schedule.next_action(now).expect("asked once more");
        schedule.on_event(now, Event::Arrived { chunk: fetch.chunk });
    }
    for _ in 0..MAX_TIMEOUTS {
        let fetch = schedule.next_action(now).unwrap();
        fail(&mut schedule, now, fetch, Failure::Timeout);
    }
    assert_eq!(schedule.outcome(), Some(Outcome::Failed(Failure::Timeout)));
}
