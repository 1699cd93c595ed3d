use libp2p::multihash::Multihash;
use proptest::prelude::*;

use super::*;
use crate::limits::{MAX_PATIENCE, MAX_STAYS, REPAIR_AFTER, STAY_HALVES};

const HOUR: u64 = 3600;

fn peer(number: u16) -> PeerId {
    let [high, low] = number.to_be_bytes();
    let mut key = [7; 32];
    key[..2].copy_from_slice(&[high, low]);
    PeerId::from_multihash(Multihash::wrap(0, &key).unwrap()).unwrap()
}

/// An absence and a clock; times are seconds since the start.
struct Watch {
    start: Instant,
    now: u64,
    absence: Absence,
}

impl Watch {
    fn new(members: u16) -> Self {
        let mut watch = Self { start: Instant::now(), now: 0, absence: Absence::new(REPAIR_AFTER) };
        (0..members).for_each(|number| watch.on(Event::Up(peer(number))));
        watch
    }

    fn at(&self, second: u64) -> Instant {
        self.start + Duration::from_secs(second)
    }

    fn on(&mut self, event: Event) {
        self.absence.on_event(self.at(self.now), event);
    }

    fn wait(&mut self, seconds: u64) -> &mut Self {
        self.now += seconds;
        self
    }

    fn state(&self, number: u16) -> State {
        self.absence.state(self.at(self.now), &peer(number))
    }

    fn cut_off(&self) -> bool {
        self.absence.cut_off(self.at(self.now))
    }

    /// Away for `seconds`, then back for a minute.
    fn away(&mut self, number: u16, seconds: u64) {
        self.on(Event::Down(peer(number)));
        self.wait(seconds).on(Event::Up(peer(number)));
        self.wait(60);
    }

    /// How long it is given when it goes now: until it is down, by the wakeups alone.
    fn given(&self, number: u16) -> u64 {
        let (from, mut absence) = (self.at(self.now), self.absence.clone());
        absence.on_event(from, Event::Down(peer(number)));
        let mut now = from;
        while absence.state(now, &peer(number)) != State::Down {
            now = absence.next_wakeup(now).expect("its time ends");
        }
        (now - from).as_secs()
    }
}

#[test]
fn one_never_seen_to_come_back_is_suspect_then_away_then_down() {
    let mut watch = Watch::new(1);
    assert_eq!(watch.state(0), State::Live);
    assert_eq!(watch.state(1), State::Down, "nobody knows it");
    assert_eq!(watch.absence.next_wakeup(watch.at(0)), None);
    watch.on(Event::Down(peer(0)));
    for (second, state, then) in [
        (0, State::Suspect, Some(15)),
        (14, State::Suspect, Some(15)),
        (15, State::Away, Some(60)),
        (59, State::Away, Some(60)),
        (60, State::Down, None),
    ] {
        watch.now = second;
        assert_eq!(watch.state(0), state, "after {second} s");
        assert_eq!(watch.absence.next_wakeup(watch.at(second)), then.map(|then| watch.at(then)));
    }
    watch.on(Event::Down(peer(0)));
    assert_eq!(watch.state(0), State::Down, "told twice");
    watch.on(Event::Up(peer(0)));
    assert_eq!(watch.state(0), State::Live);
}

#[test]
fn one_that_came_back_is_given_half_as_long_again_as_it_usually_stays_away() {
    let mut watch = Watch::new(1);
    watch.away(0, 10 * HOUR);
    assert_eq!(watch.given(0), 15 * HOUR);
    watch.away(0, 2 * HOUR);
    assert_eq!(watch.given(0), 3 * HOUR, "two of them: the shorter is usual");
    watch.away(0, 8 * HOUR);
    assert_eq!(watch.given(0), 12 * HOUR);
    watch.away(0, 14 * 24 * HOUR);
    assert_eq!(watch.given(0), 15 * HOUR, "a journey is not usual");
    watch.away(0, 14 * 24 * HOUR);
    assert_eq!(watch.given(0), MAX_PATIENCE.as_secs());
    for _ in 0..100 {
        watch.away(0, 5);
    }
    assert_eq!(watch.given(0), MAX_PATIENCE.as_secs(), "a broken connection is no absence");
    for _ in 0..MAX_STAYS {
        watch.away(0, 50);
    }
    assert_eq!(watch.given(0), 75);
}

#[test]
fn one_that_stays_for_weeks_loses_its_long_time() {
    let mut watch = Watch::new(1);
    watch.away(0, 8 * HOUR);
    watch.wait(STAY_HALVES.as_secs());
    assert_eq!(watch.given(0), 6 * HOUR);
    watch.wait(2 * STAY_HALVES.as_secs());
    assert_eq!(watch.given(0), 3 * HOUR / 2);
    watch.wait(1000 * STAY_HALVES.as_secs());
    assert_eq!(watch.given(0), REPAIR_AFTER.as_secs());
}

/// Each time it is away as short as a restart: its copies count all the time.
#[test]
fn a_flapping_member_always_counts() {
    let mut watch = Watch::new(1);
    for round in 0..1000 {
        watch.on(Event::Down(peer(0)));
        assert_eq!(watch.state(0), State::Suspect, "round {round}");
        watch.wait(round % 15);
        assert_eq!(watch.state(0), State::Suspect, "round {round}");
        watch.on(Event::Up(peer(0)));
        assert_eq!(watch.state(0), State::Live);
        watch.wait(3);
    }
    assert_eq!(watch.absence.history(), []);
}

#[test]
fn one_that_fails_does_not_count_until_it_works_or_is_forgiven() {
    let mut watch = Watch::new(2);
    watch.on(Event::Failing(peer(0)));
    assert_eq!(watch.state(0), State::Failing);
    assert!(!watch.state(0).counts() && watch.state(1).counts());
    watch.on(Event::Working(peer(0)));
    assert_eq!(watch.state(0), State::Live);
    watch.on(Event::Failing(peer(0)));
    let forgiven = FAILING_FORGIVEN.as_secs();
    assert_eq!(watch.absence.next_wakeup(watch.at(0)), Some(watch.at(forgiven)));
    watch.wait(forgiven - 1).away(0, 2);
    assert_eq!(watch.state(0), State::Live, "it was long enough");
    watch.on(Event::Failing(peer(0)));
    watch.on(Event::Down(peer(0)));
    watch.wait(1).on(Event::Up(peer(0)));
    assert_eq!(watch.state(0), State::Failing, "a new connection proves nothing");
    watch.on(Event::Failing(peer(7)));
    assert_eq!(watch.state(7), State::Down, "nobody knows it");
}

#[test]
fn one_that_leaves_is_not_waited_for() {
    let mut watch = Watch::new(1);
    watch.away(0, 10 * HOUR);
    watch.on(Event::Draining(peer(0)));
    assert_eq!(watch.state(0), State::Draining);
    watch.on(Event::Staying(peer(0)));
    assert_eq!(watch.state(0), State::Live);
    watch.on(Event::Draining(peer(0)));
    watch.on(Event::Down(peer(0)));
    assert_eq!(watch.state(0), State::Down);
    watch.on(Event::Up(peer(0)));
    assert_eq!(watch.state(0), State::Live, "it would say so again");
    watch.on(Event::Forgotten(peer(0)));
    assert_eq!((watch.state(0), watch.absence.history()), (State::Down, vec![]));
}

#[test]
fn a_node_that_loses_most_of_the_others_waits_longer() {
    let mut watch = Watch::new(10);
    for number in 0..5 {
        watch.on(Event::Down(peer(number)));
        watch.wait(5);
    }
    assert!(!watch.cut_off(), "half may be gone");
    watch.on(Event::Down(peer(5)));
    assert!(watch.cut_off());
    watch.now = 299;
    assert!((0..6).all(|number| watch.state(number) == State::Away) && watch.cut_off());
    watch.now = 300;
    assert_eq!((watch.state(0), watch.state(1)), (State::Down, State::Away), "five times its time");
    watch.now = 325;
    assert!(!watch.cut_off());
    assert!((0..6).all(|number| watch.state(number) == State::Down), "they are really gone");
}

#[test]
fn when_half_are_back_the_others_are_given_the_usual_time() {
    let mut watch = Watch::new(4);
    (0..4).for_each(|number| watch.on(Event::Down(peer(number))));
    watch.wait(200).on(Event::Up(peer(0)));
    assert!(watch.cut_off());
    watch.on(Event::Up(peer(1)));
    assert!(!watch.cut_off());
    watch.wait(59);
    assert_eq!((watch.state(2), watch.state(3)), (State::Away, State::Away));
    watch.on(Event::Up(peer(2)));
    watch.wait(1);
    assert_eq!(watch.state(3), State::Down);
    assert_eq!(watch.absence.history(), [], "the absence was this node's own");
}

#[test]
fn few_slow_or_announced_losses_are_no_cut() {
    let mut watch = Watch::new(2);
    (0..2).for_each(|number| watch.on(Event::Down(peer(number))));
    assert!(!watch.cut_off(), "two are too few");
    let mut watch = Watch::new(10);
    for number in 0..10 {
        watch.on(Event::Down(peer(number)));
        assert!(!watch.cut_off(), "one after the other, until {number}");
        watch.wait(if number < 7 { CUT_OFF_WINDOW.as_secs() } else { 100 });
    }
    let mut watch = Watch::new(10);
    for number in 0..7 {
        watch.on(Event::Draining(peer(number)));
        watch.on(Event::Down(peer(number)));
    }
    assert!(!watch.cut_off(), "they said so");
}

/// Three that come and go for ever look like a bad network; the fourth is gone.
#[test]
fn others_that_flap_do_not_hide_one_that_is_gone() {
    let mut watch = Watch::new(4);
    watch.on(Event::Down(peer(3)));
    while watch.now < 299 {
        (0..3).for_each(|number| watch.on(Event::Down(peer(number))));
        watch.wait(5);
        (0..3).for_each(|number| watch.on(Event::Up(peer(number))));
        watch.wait(5);
    }
    assert_eq!((watch.now, watch.state(3)), (300, State::Down));
}

#[test]
fn nobody_is_judged_by_the_time_this_node_slept() {
    let mut watch = Watch::new(3);
    watch.on(Event::Down(peer(0)));
    watch.wait(40).on(Event::Down(peer(1)));
    watch.wait(30);
    assert_eq!((watch.state(0), watch.state(1)), (State::Down, State::Away));
    watch.absence.awake(watch.at(watch.now));
    watch.wait(10 * HOUR);
    watch.absence.slept(watch.at(watch.now));
    assert_eq!((watch.state(0), watch.state(1)), (State::Down, State::Away));
    // The connections are noticed to be gone only now.
    watch.on(Event::Down(peer(2)));
    watch.wait(59);
    assert!(watch.state(1).counts() && watch.state(2).counts());
    watch.on(Event::Up(peer(1)));
    watch.wait(1);
    assert_eq!(watch.state(2), State::Down);
    assert_eq!(watch.absence.history(), [(peer(1), Duration::from_secs(89))], "without the sleep");
}

/// A laptop that is closed every evening must judge the others at last.
#[test]
fn sleep_does_not_make_a_lost_member_immortal() {
    let mut watch = Watch::new(1);
    watch.away(0, 10 * HOUR);
    watch.on(Event::Down(peer(0)));
    let mut evenings = 0;
    while watch.state(0) != State::Down {
        watch.wait(4 * HOUR);
        watch.absence.awake(watch.at(watch.now));
        if watch.state(0) != State::Down {
            watch.wait(20 * HOUR);
            watch.absence.slept(watch.at(watch.now));
            evenings += 1;
        }
    }
    assert_eq!(evenings, 3, "15 hours awake");
}

#[test]
fn the_history_outlives_a_restart() {
    let mut watch = Watch::new(2);
    (1..20).for_each(|hours| watch.away(0, hours * HOUR));
    watch.away(1, 2 * HOUR);
    let history = watch.absence.history();
    assert_eq!(history.len(), MAX_STAYS + 1);
    let mut after = Watch::new(0);
    for (peer, away) in &history {
        after.absence.remember(*peer, *away);
    }
    assert_eq!(after.absence.history(), history);
    assert_eq!(after.state(0), State::Down, "not here, and nobody waits for it");
    // Known from before the restart: from now on it is waited for.
    assert_eq!((after.given(1), after.given(0), after.given(7)), (3 * HOUR, 24 * HOUR, 60));
    after.away(1, 6 * HOUR);
    assert_eq!(after.absence.history(), history, "nobody knows when it went");
}

#[test]
fn the_longest_gone_make_room_and_nobody_else() {
    let mut watch = Watch::new(0);
    watch.absence.remember(peer(0), Duration::from_secs(HOUR));
    let most = MAX_KNOWN_PEERS as u16;
    for number in 1..most {
        watch.on(Event::Up(peer(number)));
    }
    watch.on(Event::Down(peer(5)));
    watch.wait(1).on(Event::Down(peer(4)));
    watch.absence.remember(peer(most), Duration::from_secs(HOUR));
    assert_eq!(watch.absence.history().len(), 1, "full");
    for number in most..most + 3 {
        watch.on(Event::Up(peer(number)));
        assert_eq!(watch.absence.states(watch.at(1)).count(), MAX_KNOWN_PEERS);
        assert_eq!(watch.state(number), State::Live);
    }
    watch.on(Event::Up(peer(most + 3)));
    assert_eq!(watch.state(most + 3), State::Down, "all are here");
    assert_eq!(watch.absence.states(watch.at(1)).filter(|(_, state)| *state == State::Live).count(), 1024);
}

#[test]
fn any_time_to_repair_is_taken() {
    for (asked, given) in [(0, 0), (1, 1), (40 * 24 * HOUR, 30 * 24 * HOUR), (u64::MAX, 30 * 24 * HOUR)] {
        let mut watch = Watch::new(0);
        watch.absence = Absence::new(Duration::from_secs(asked));
        watch.on(Event::Up(peer(0)));
        assert_eq!(watch.given(0), given);
        watch.away(0, 100);
        assert!(watch.given(0) >= given);
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Tell(Event),
    Sleep,
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let event = (0..8_u16, 0..12_u8).prop_map(|(number, kind)| {
        let peer = peer(number);
        Step::Tell(match kind {
            0..4 => Event::Up(peer),
            4..8 => Event::Down(peer),
            8 => Event::Failing(peer),
            9 => Event::Working(peer),
            10 => Event::Draining(peer),
            _ => Event::Forgotten(peer),
        })
    });
    let wait = prop_oneof![4 => 0..30_u64, 2 => 30..400_u64, 1 => 400..100_000_u64].prop_map(Step::Wait);
    prop::collection::vec(prop_oneof![6 => event, 3 => wait, 1 => Just(Step::Sleep)], 0..80)
}

impl Watch {
    fn all(&self, at: Instant) -> (Vec<State>, bool) {
        let states = (0..8).map(|number| self.absence.state(at, &peer(number)));
        (states.collect(), self.absence.cut_off(at))
    }

    /// Lets time pass, and looks at each wakeup: something changes then and nothing before, and
    /// nobody who is down comes back.
    fn pass(&mut self, seconds: u64) {
        let (mut now, end) = (self.at(self.now), self.at(self.now + seconds));
        while let Some(then) = self.absence.next_wakeup(now).filter(|then| *then <= end) {
            assert!(then > now);
            let (before, after) = (self.all(now), self.all(then));
            assert_eq!(self.all(then.checked_sub(Duration::from_nanos(1)).unwrap()), before);
            assert_ne!(before, after);
            for (was, is) in before.0.iter().zip(after.0) {
                assert!(*was != State::Down || is == State::Down, "{was:?} to {is:?}");
            }
            now = then;
        }
        assert_eq!(self.all(now), self.all(end));
        self.now += seconds;
    }
}

proptest! {
    #[test]
    fn time_and_others_bring_nobody_back_and_take_nobody_early(steps in steps()) {
        let mut watch = Watch::new(5);
        // Since when each is away as far as this node was awake.
        let mut away: BTreeMap<u16, u64> = BTreeMap::new();
        let mut draining = BTreeSet::new();
        for step in steps {
            let before = watch.all(watch.at(watch.now)).0;
            let mut about = None;
            match step {
                Step::Wait(seconds) => {
                    watch.pass(seconds);
                    for time in away.values_mut() {
                        *time += seconds;
                    }
                }
                Step::Sleep => {
                    watch.absence.awake(watch.at(watch.now));
                    watch.wait(20_000);
                    watch.absence.slept(watch.at(watch.now));
                    let after = watch.all(watch.at(watch.now)).0;
                    for (was, is) in before.iter().zip(&after) {
                        prop_assert!(was == is || *was == State::Failing, "{:?} to {:?}", was, is);
                    }
                    let later = watch.all(watch.at(watch.now + 59)).0;
                    for (number, (was, is)) in after.iter().zip(later).enumerate() {
                        // Five times its time is the most, sleep or not.
                        let long = away.get(&(number as u16)).is_some_and(|time| *time > 240);
                        prop_assert!(!was.counts() || is.counts() || long, "judged by the sleep");
                    }
                }
                Step::Tell(event) => {
                    watch.on(event);
                    let number = |who| (0..8).find(|number| peer(*number) == who);
                    match event {
                        Event::Up(who) | Event::Forgotten(who) => {
                            about = number(who);
                            let was_away = away.remove(&about.unwrap()).is_some();
                            if was_away || matches!(event, Event::Forgotten(_)) {
                                draining.remove(&about.unwrap());
                            }
                        }
                        Event::Down(who) => {
                            about = number(who);
                            away.entry(about.unwrap()).or_insert(0);
                        }
                        Event::Draining(who) if watch.absence.members.contains_key(&who) => {
                            about = number(who);
                            draining.insert(about.unwrap());
                        }
                        Event::Failing(who) | Event::Working(who) | Event::Draining(who)
                            | Event::Staying(who) => about = number(who),
                    }
                }
            }
            let after = watch.all(watch.at(watch.now)).0;
            for number in 0..8_u16 {
                let (was, is) = (before[usize::from(number)], after[usize::from(number)]);
                prop_assert!(was != State::Down || is == State::Down || about == Some(number));
                prop_assert!(matches!(step, Step::Wait(_)) || was == State::Down || is != State::Down
                    || about == Some(number), "an event took another one");
                match away.get(&number) {
                    Some(time) if !draining.contains(&number) => {
                        prop_assert!(is != State::Down || *time >= REPAIR_AFTER.as_secs());
                        let most = (MAX_PATIENCE * CUT_OFF_FACTOR).as_secs();
                        prop_assert!(is == State::Down || *time < most);
                        prop_assert!(is != State::Live && is != State::Draining);
                    }
                    _ => prop_assert!(is != State::Suspect && is != State::Away),
                }
            }
            prop_assert!(watch.absence.history().len() <= 8 * MAX_STAYS);
        }
    }
}
