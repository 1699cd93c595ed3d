use super::*;

const DAY: Duration = Duration::from_secs(86_400);

fn id(number: u8) -> ContentId {
    ContentId([number; 32])
}

/// A node with some contents, and a clock that goes on only when the planner waits.
struct World {
    start: Instant,
    now: Now,
    contents: Vec<(ContentId, u64)>,
    page: usize,
    reads: Vec<(u64, ContentId, bool)>,
    saved: Option<Position>,
    largest_page: usize,
}

impl World {
    fn new(sizes: &[u64]) -> Self {
        let start = Instant::now();
        let contents = sizes.iter().enumerate().map(|(at, bytes)| (id(at as u8 + 1), *bytes)).collect();
        let now = Now { steady: start, wall_ms: 1_000_000_000_000 };
        Self { start, now, contents, page: 3, reads: Vec::new(), saved: None, largest_page: 0 }
    }

    fn pass(&mut self, time: Duration) {
        self.now.steady += time;
        self.now.wall_ms += millis(time);
    }

    fn total(&self) -> u64 {
        self.contents.iter().map(|(_, bytes)| bytes).sum()
    }

    /// One action, or the wait for it; whether there was either.
    fn step(&mut self, scrub: &mut Scrub) -> bool {
        let Some(action) = scrub.next_action(self.now) else {
            let Some(wakeup) = scrub.next_wakeup() else { return false };
            assert!(wakeup > self.now.steady, "a planner that is woken up for nothing is a busy loop");
            let wait = wakeup - self.now.steady;
            self.pass(wait);
            return true;
        };
        let event = match action {
            Action::Page { after } => {
                let rest = self.contents.iter().filter(|(c, _)| after.is_none_or(|after| *c > after));
                let contents: Vec<_> = rest.take(self.page).copied().collect();
                self.largest_page = self.largest_page.max(contents.len());
                Event::Found { contents, total: self.total() }
            }
            Action::Read { content, gently } => {
                let at = (self.now.steady - self.start).as_secs();
                self.reads.push((at, content, gently));
                Event::Read
            }
            Action::Save(position) => {
                self.saved = Some(position);
                Event::Saved
            }
        };
        scrub.on_event(self.now, event);
        true
    }

    fn run_until(&mut self, scrub: &mut Scrub, reads: usize) {
        let mut steps = 0;
        while self.reads.len() < reads {
            assert!(self.step(scrub), "it stopped after {} reads", self.reads.len());
            steps += 1;
            assert!(steps < 1_000_000, "no end");
        }
    }

    fn order(&self) -> Vec<ContentId> {
        self.reads.iter().map(|(_, content, _)| *content).collect()
    }
}

#[test]
fn a_pass_takes_the_whole_period_and_gives_each_its_share() {
    let mut world = World::new(&[10, 10, 40, 20, 20]);
    let mut scrub = Scrub::new(world.now, 10 * DAY, None);
    world.run_until(&mut scrub, 5);
    assert_eq!(world.order(), [1, 2, 3, 4, 5].map(id));
    let days: Vec<u64> = world.reads.iter().map(|(at, ..)| (at + 600) / 86_400).collect();
    assert_eq!(days, [1, 2, 6, 8, 10], "by their bytes");
    assert!(world.reads.iter().all(|(.., gently)| *gently));
    world.run_until(&mut scrub, 6);
    assert_eq!(world.reads[5].1, id(1), "and again from the beginning");
    let full = scrub.position().last_full_ms.unwrap();
    assert!(full.abs_diff(1_000_000_000_000 + 10 * 86_400_000) < 1_000_000, "{full}");
    assert!(world.largest_page <= 3);
}

#[test]
fn a_pass_that_is_asked_for_begins_anew_and_does_not_rest() {
    let mut world = World::new(&[10; 9]);
    let mut scrub = Scrub::new(world.now, 30 * DAY, None);
    world.run_until(&mut scrub, 4);
    world.reads.clear();
    let before = world.now;
    scrub.on_event(world.now, Event::Asked);
    world.run_until(&mut scrub, 9);
    assert_eq!(world.order(), (1..=9).map(id).collect::<Vec<_>>());
    assert_eq!(world.now, before, "no rest");
    assert!(world.reads.iter().all(|(.., gently)| !gently));
    while scrub.position().asked {
        assert!(world.step(&mut scrub));
    }
    assert_eq!(scrub.position().last_full_ms, Some(before.wall_ms));
    world.run_until(&mut scrub, 10);
    assert!(world.now.steady > before.steady + DAY, "then paced again");
}

/// A pass that was asked for while another one read: the answer of that read moved the place, and
/// the beginning was left out.
#[test]
fn a_read_of_the_pass_before_does_not_move_the_place() {
    let mut world = World::new(&[10; 5]);
    let mut scrub = Scrub::new(world.now, DAY, None);
    world.run_until(&mut scrub, 3);
    world.reads.clear();
    let under_way = loop {
        match scrub.next_action(world.now) {
            Some(Action::Read { content, .. }) => break content,
            Some(Action::Save(_)) => scrub.on_event(world.now, Event::Saved),
            Some(Action::Page { after }) => {
                let contents = world.contents.iter().filter(|(c, _)| Some(*c) > after).copied().collect();
                scrub.on_event(world.now, Event::Found { contents, total: 50 });
            }
            None => world.pass(Duration::from_secs(60)),
        }
    };
    assert_eq!(under_way, id(4));
    scrub.on_event(world.now, Event::Asked);
    assert_eq!(scrub.next_action(world.now), Some(Action::Save(*scrub.position())));
    scrub.on_event(world.now, Event::Saved);
    assert_eq!(scrub.next_action(world.now), None, "one read at a time");
    scrub.on_event(world.now, Event::Read);
    world.run_until(&mut scrub, 5);
    assert_eq!(world.order(), (1..=5).map(id).collect::<Vec<_>>());
    // One that is under way goes on.
    scrub.on_event(world.now, Event::Asked);
    assert_eq!(scrub.position().after, Some(id(5)));
}

#[test]
fn a_restart_goes_on_where_it_was() {
    let mut world = World::new(&[10; 10]);
    let mut scrub = Scrub::new(world.now, 10 * DAY, None);
    world.run_until(&mut scrub, 4);
    world.pass(SCRUB_SAVE);
    while scrub.position().after != world.saved.and_then(|saved| saved.after) {
        assert!(world.step(&mut scrub));
    }
    // Off for two of the ten days: what is left is spread over the rest.
    world.reads.clear();
    world.pass(2 * DAY);
    let mut scrub = Scrub::new(world.now, 10 * DAY, world.saved);
    world.run_until(&mut scrub, 6);
    assert_eq!(world.order()[..2], [5, 6].map(id));
    assert_eq!(world.reads[5].1, id(10));
    assert!(world.reads[5].0 <= 10 * 86_400 + 600, "in time: {}", world.reads[5].0);
}

/// A laptop that is on for an hour a day reads too: its turn is reckoned from the last read.
#[test]
fn short_days_are_enough() {
    let mut world = World::new(&[10; 10]);
    let mut saved = None;
    for _ in 0..12 {
        let mut scrub = Scrub::new(world.now, 10 * DAY, saved);
        let end = world.now.steady + Duration::from_secs(3600);
        while world.now.steady < end && world.step(&mut scrub) {}
        saved = Some(*scrub.position());
        world.pass(DAY);
    }
    assert!(world.reads.len() >= 9, "{:?}", world.reads);
}

#[test]
fn without_a_period_it_reads_only_when_asked() {
    let mut world = World::new(&[10; 4]);
    let mut scrub = Scrub::new(world.now, Duration::ZERO, None);
    while world.step(&mut scrub) {}
    assert!(world.reads.is_empty());
    scrub.on_event(world.now, Event::Asked);
    while world.step(&mut scrub) {}
    assert_eq!(world.order(), [1, 2, 3, 4].map(id));
    assert!(scrub.position().last_full_ms.is_some());
}

#[test]
fn an_empty_folder_and_a_failing_index_are_no_busy_loop() {
    let mut world = World::new(&[]);
    let mut scrub = Scrub::new(world.now, DAY, None);
    for _ in 0..20 {
        world.step(&mut scrub);
    }
    assert!(world.now.steady - world.start >= SCRUB_IDLE);
    let mut scrub = Scrub::new(world.now, DAY, world.saved);
    while !matches!(scrub.next_action(world.now), Some(Action::Page { .. })) {
        world.pass(SCRUB_IDLE);
    }
    scrub.on_event(world.now, Event::Failed);
    assert_eq!(scrub.next_action(world.now), None);
    assert_eq!(scrub.next_wakeup(), Some(world.now.steady + SCRUB_IDLE));
}

#[test]
fn a_clock_that_jumps_neither_stops_it_nor_makes_it_race() {
    let mut world = World::new(&[10; 10]);
    let known = Position { began_ms: u64::MAX, read_ms: u64::MAX, ..Position::begin(world.now, false, None) };
    let mut scrub = Scrub::new(world.now, 10 * DAY, Some(known));
    world.run_until(&mut scrub, 2);
    assert!(world.now.steady - world.start <= 3 * DAY);
    // A year ahead: late, but one after the other.
    world.now.wall_ms += 365 * 86_400_000;
    let before = world.now.steady;
    world.run_until(&mut scrub, 8);
    assert!(world.now.steady - before >= 5 * SCRUB_REST);
}
