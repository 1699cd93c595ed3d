//! The protocol broken on purpose, one rule at a time. That the checker finds what then goes
//! wrong shows that the rule is needed, and that the property can fail.

use p2pimg::replication::drop::Rules;
use stateright::{Checker, HasDiscoveries, Model};

use crate::scenarios;
use crate::world::{Fault, Scenario};
use crate::{
    BYTES, CARRIED, COPIES_AT_FINAL, COPIES_AT_PURGE, DROPPED_LIVE_ON, OUTSIDERS, PINS, PROMISES, TRANSFERS,
    Walker,
};

const NEAR: usize = 50_000;
const FAR: usize = 1_000_000;

fn finds(expected: &'static str, scenario: Scenario) {
    let name = scenario.name;
    let began = std::time::Instant::now();
    let builder = scenario.clone().checker().threads(2).target_state_count(NEAR);
    let near = builder.finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    if let Some(path) = near.discovery(expected) {
        let (steps, states) = (path.into_actions().len(), near.state_count());
        println!("{name}: {expected}: found {steps} steps deep, {states} states, {:.1?}", began.elapsed());
        return;
    }
    let builder = scenario.checker().threads(1).target_state_count(FAR);
    let far = builder.finish_when(HasDiscoveries::AnyFailures).spawn_simulation(1, Walker).join();
    let others: Vec<_> = near.discoveries().into_keys().chain(far.discoveries().into_keys()).collect();
    let steps = far.discoveries().remove(expected).map(|path| path.into_actions().len());
    assert!(steps.is_some(), "{name}: '{expected}' is not found broken; found: {others:?}");
    println!("{name}: {expected}: met {steps:?} steps deep, {:.1?}", began.elapsed());
}

fn only(scenario: Scenario, faults: &[Fault], rules: Rules) -> Scenario {
    let budget = faults.iter().map(|fault| (*fault, 1)).collect();
    Scenario { budget, faults: faults.len() as u8, rules, ..scenario }
}

fn coarse(scenario: Scenario) -> Scenario {
    Scenario { coarse: true, slow: false, ..scenario }
}

#[test]
fn counting_strangers() {
    let rules = Rules { trusted_only: false, ..Rules::default() };
    finds(OUTSIDERS, only(scenarios::outsider(), &[], rules));
    let silent = Scenario { talks: false, ..coarse(scenarios::outsider()) };
    finds(COPIES_AT_FINAL, only(silent, &[], rules));
}

#[test]
fn counting_old_answers() {
    let rules = Rules { fresh_answers: false, ..Rules::default() };
    let scenario = Scenario { horizon: 1, ..coarse(scenarios::superseded()) };
    finds(COPIES_AT_FINAL, only(scenario, &[Fault::Delete, Fault::Repeat], rules));
}

#[test]
fn counting_grants_without_proof() {
    let rules = Rules { proof: false, ..Rules::default() };
    finds(COPIES_AT_FINAL, only(coarse(scenarios::superseded()), &[Fault::Edit], rules));
}

#[test]
fn not_asking_again() {
    let rules = Rules { ask_again: false, ..Rules::default() };
    finds(COPIES_AT_FINAL, only(coarse(scenarios::superseded()), &[Fault::Delete], rules));
}

#[test]
fn leasing_what_is_about_to_go() {
    let rules = Rules { intent_denies: false, ..Rules::default() };
    finds(PROMISES, only(scenarios::trim_and_drop(), &[], rules));
}

#[test]
fn removing_what_is_leased() {
    let rules = Rules { leases_block: false, ..Rules::default() };
    finds(PROMISES, only(scenarios::trim_and_drop(), &[], rules));
}

#[test]
fn forgetting_leases_with_a_restart() {
    let rules = Rules { quiet_start: false, ..Rules::default() };
    finds(PROMISES, only(scenarios::trim_and_drop(), &[Fault::Crash], rules));
}

#[test]
fn leaving_no_margin_for_clocks() {
    let rules = Rules { margin: false, ..Rules::default() };
    finds(PROMISES, only(scenarios::trim_and_drop(), &[Fault::Drift], rules));
}

#[test]
fn not_looking_at_the_file_again() {
    let rules = Rules { recheck: false, ..Rules::default() };
    finds(BYTES, only(coarse(scenarios::superseded()), &[Fault::Edit], rules));
}

#[test]
fn comparing_without_witnesses() {
    let rules = Rules { witnesses: false, ..Rules::default() };
    let scenario = only(coarse(scenarios::drift_of_looks()), &[], rules);
    finds(CARRIED, scenario.clone());
    finds(DROPPED_LIVE_ON, Scenario { blind: true, ..scenario });
}

#[test]
fn overlooking_what_a_grant_brought_meanwhile() {
    let rules = Rules { recompare: false, ..Rules::default() };
    finds(CARRIED, only(scenarios::race(), &[], rules));
}

#[test]
fn rolling_forward_at_a_restart() {
    let rules = Rules { roll_back: false, ..Rules::default() };
    finds(BYTES, only(coarse(scenarios::superseded()), &[Fault::Crash], rules));
}

#[test]
fn purging_by_the_calendar() {
    let rules = Rules { purge_proof: false, ..Rules::default() };
    finds(COPIES_AT_PURGE, only(scenarios::purge(), &[Fault::Delete], rules));
}

#[test]
fn dropping_what_is_pinned() {
    let rules = Rules { pins: false, ..Rules::default() };
    finds(PINS, only(coarse(scenarios::superseded()), &[Fault::Pin], rules));
}

#[test]
fn fetching_anew_for_every_attempt() {
    let rules = Rules { keep_bytes: false, ..Rules::default() };
    finds(TRANSFERS, only(coarse(scenarios::superseded()), &[], rules));
}
