//! The drop protocol, model-checked: states that a few faults can lead to, on the very
//! planner that the node is to run (`docs/drop-protocol.md`).
//!
//! `cargo test --test model` looks at a fixed number of states of each scenario, or at all where
//! there are few; `cargo test --release --test model -- --ignored` at all of them, which takes long.

use std::time::Instant;

use stateright::{Checker, Chooser, HasDiscoveries, Model, Property};

mod broken;
mod scenarios;
mod step;
mod work;
mod world;

use step::Step;
use world::{Broken, Scenario, World};

const COPIES_AT_FINAL: &str = "at final, the keeper is on enough nodes";
const COPIES_AT_PURGE: &str = "at a purge, the keeper is on enough nodes";
const PROMISES: &str = "nothing is removed that is promised to somebody";
const DROPPED_LIVE_ON: &str = "what was dropped is matched by a living keeper";
const CARRIED: &str = "a keeper goes only for what matches all it carries";
const BYTES: &str = "what is in the trash is what was to be dropped";
const PINS: &str = "nothing pinned is dropped";
const OUTSIDERS: &str = "an outsider moves nothing";
const TRANSFERS: &str = "transfers are bounded by the faults";
const HAPPENS: &str = "a drop ends well";

impl Model for Scenario {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![self.start()]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        self.steps(world, steps);
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        self.apply(world, step)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        fn fine(world: &World, what: Broken) -> bool {
            world.broken & what as u8 == 0
        }
        vec![
            Property::always(COPIES_AT_FINAL, |_, world: &World| fine(world, Broken::FinalWithoutCopies)),
            Property::always(COPIES_AT_PURGE, |_, world: &World| fine(world, Broken::PurgeWithoutCopies)),
            Property::always(CARRIED, |_, world: &World| fine(world, Broken::Witness)),
            Property::always(BYTES, |_, world: &World| fine(world, Broken::WrongBytes)),
            Property::always(PINS, |_, world: &World| fine(world, Broken::Pinned)),
            Property::always(OUTSIDERS, |_, world: &World| fine(world, Broken::Outsider)),
            Property::always(PROMISES, |_, world: &World| world.promises_hold()),
            Property::always(DROPPED_LIVE_ON, |_, world: &World| world.dropped_live_on()),
            Property::always(TRANSFERS, |_, world: &World| {
                let most = world.nodes.iter().flat_map(|node| node.transfers).max();
                most.unwrap_or(0) <= 1 + world.fault_count()
            }),
            Property::sometimes(HAPPENS, |_, world: &World| world.finals + world.purges > 0),
        ]
    }
}

/// Every scenario, whether a drop can end well in it, and how many states the normal test
/// run looks at (0: all).
fn scenarios() -> Vec<(Scenario, bool, usize)> {
    vec![
        (scenarios::superseded(), true, 0),
        (scenarios::second_copy(), true, 0),
        (scenarios::race(), true, 200_000),
        (scenarios::drift_of_looks(), false, 150_000),
        (scenarios::excess(), true, 200_000),
        (scenarios::trim_and_drop(), true, 200_000),
        (scenarios::purge(), true, 150_000),
        (scenarios::local(), true, 0),
        (scenarios::outsider(), true, 0),
        (scenarios::called_off(), true, 0),
        (scenarios::trim_called_off(), true, 100_000),
    ]
}

fn assert_safe(name: &str, checker: &impl Checker<Scenario>) {
    for (property, path) in checker.discoveries() {
        let world = path.last_state().clone();
        let steps = path.into_actions();
        assert!(property == HAPPENS, "{name}: broken: {property}\n{steps:#?}\n{world:#?}");
    }
}

/// Looks at the scenario's states, nearest first, `most` at most (0: all). Whether a drop
/// ended well in any.
fn search(scenario: Scenario, most: usize) -> bool {
    let (name, began) = (scenario.name, Instant::now());
    let builder = scenario.checker().threads(2).target_state_count(most);
    let checker = builder.finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let (states, unique, depth) = (checker.state_count(), checker.unique_state_count(), checker.max_depth());
    let all = if most == 0 || states < most { "all" } else { "cut off" };
    println!("{name}: {states} states, {unique} different, {depth} deep ({all}), {:.1?}", began.elapsed());
    assert_safe(name, &checker);
    checker.discovery(HAPPENS).is_some()
}

/// Walks at random, with faults and the passing of time rarer than work: as deep as it gets.
fn walk(scenario: Scenario, most: usize, seed: u64) -> bool {
    let (name, began) = (scenario.name, Instant::now());
    let builder = scenario.checker().threads(1).target_state_count(most);
    let checker = builder.finish_when(HasDiscoveries::AnyFailures).spawn_simulation(seed, Walker).join();
    let (states, depth) = (checker.state_count(), checker.max_depth());
    println!("{name}: walked through {states} states, {depth} deep, seed {seed}, {:.1?}", began.elapsed());
    assert_safe(name, &checker);
    checker.discovery(HAPPENS).is_some()
}

#[derive(Clone)]
struct Walker;

impl Walker {
    /// `SplitMix64`.
    fn draw(state: &mut u64, below: usize) -> usize {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % below as u64) as usize
    }
}

impl Chooser<Scenario> for Walker {
    type State = u64;

    fn new_state(&self, seed: u64) -> u64 {
        seed
    }

    fn choose_initial_state(&self, state: &mut u64, initial: &[World]) -> usize {
        Self::draw(state, initial.len())
    }

    fn choose_action(&self, state: &mut u64, _: &World, steps: &[Step]) -> usize {
        let usual = |step: &Step| {
            matches!(
                step,
                Step::Begin(..) | Step::Work(..) | Step::Deliver(_) | Step::Restart(_) | Step::Resume(_)
            )
        };
        let drawn = Self::draw(state, steps.len());
        // Another draw or two for what is not the usual.
        let again = (0..2).map(|_| Self::draw(state, steps.len())).find(|other| usual(&steps[*other]));
        if usual(&steps[drawn]) { drawn } else { again.unwrap_or(drawn) }
    }
}

#[test]
fn no_state_nearby_breaks_a_promise() {
    for (scenario, ends, most) in scenarios() {
        let name = scenario.name;
        let ended = search(scenario.clone(), most);
        // What was seen whole needs no walk.
        let ended = (most > 0 && walk(scenario, most / 4, 1)) || ended;
        assert_eq!(ended, ends, "{name}: whether a drop ends well");
    }
}

/// `P2PIMG_MODEL_FAULTS` (2), `P2PIMG_MODEL_STATES` (0: all) and `P2PIMG_MODEL_SCENARIO`
/// (part of a name) say how far to go.
#[test]
#[ignore = "takes hours and gigabytes; for changes of the protocol"]
fn no_state_at_all_breaks_a_promise() {
    let number = |name: &str, usual| std::env::var(name).map_or(usual, |v| v.parse().expect("a number"));
    let wanted = std::env::var("P2PIMG_MODEL_SCENARIO").unwrap_or_default();
    for (scenario, _, _) in scenarios().into_iter().filter(|(s, ..)| s.name.contains(&wanted)) {
        let faults = number("P2PIMG_MODEL_FAULTS", 2) as u8;
        let states = number("P2PIMG_MODEL_STATES", 0);
        search(Scenario { faults, ..scenario.clone() }, states);
        walk(Scenario { faults, ..scenario }, states.max(1_000_000), 2);
    }
}
