//! Random histories against the slow and obvious way, with the file closed and opened again
//! in between.

use std::collections::BTreeMap;

use super::*;
use proptest::prelude::*;

#[derive(Debug, Clone)]
pub(super) enum Step {
    Witnesses { keeper: u8, of: Vec<u8> },
    Edits(Vec<(u8, u8)>),
    Drop { loser: u8, keeper: u8, at: u64 },
    Reopen,
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let pair = (0..24u8, 0..24u8);
    prop_oneof![
        4 => (0..3u8, prop::collection::vec(0..24u8, 0..8)).prop_map(|(keeper, of)| Step::Witnesses { keeper, of }),
        4 => prop::collection::vec(pair, 0..4).prop_map(Step::Edits),
        4 => (0..4u8, 0..4u8, 0..20u64).prop_map(|(loser, keeper, at)| Step::Drop { loser, keeper, at }),
        1 => Just(Step::Reopen),
    ]
}

pub(super) const LIMITS: Limits = Limits { edits: 12, history: 5 };

/// What a ledger knows, as the words say it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Model {
    carried: BTreeMap<u8, BTreeSet<u8>>,
    /// The oldest first.
    edits: Vec<(u8, u8)>,
    /// The oldest first.
    drops: Vec<DropRecord>,
}

impl Model {
    pub(super) fn take(&mut self, step: &Step) {
        match step {
            Step::Witnesses { keeper, of } => {
                let mut all = self.carried.get(keeper).cloned().unwrap_or_default();
                all.extend(of.iter().filter(|witness| *witness != keeper));
                if all.len() <= MAX_WITNESSES {
                    self.carried.insert(*keeper, all);
                }
            }
            Step::Edits(edits) => {
                for (a, b) in edits {
                    let known = self.edits.contains(&(*a, *b)) || self.edits.contains(&(*b, *a));
                    if a != b && !known {
                        self.edits.push((*a, *b));
                    }
                }
                self.edits.drain(..self.edits.len().saturating_sub(LIMITS.edits as usize));
            }
            Step::Drop { loser, keeper, at } => {
                let drop = drop_of(*loser, *keeper, *at);
                // The same name in the trash of the same content, or of its keeper.
                let touches = |known: &DropRecord| [known.loser, known.keeper].contains(&drop.loser);
                if !self.drops.iter().any(|known| touches(known) && known.trash == drop.trash) {
                    self.drops.push(drop);
                }
                self.drops.drain(..self.drops.len().saturating_sub(LIMITS.history as usize));
            }
            Step::Reopen => {}
        }
    }

    fn edits_of(&self, number: u8) -> BTreeSet<u8> {
        let mut all = BTreeSet::from([number]);
        while let Some((a, b)) = self.edits.iter().find(|(a, b)| all.contains(a) != all.contains(b)) {
            all.extend([*a, *b]);
        }
        all.remove(&number);
        all
    }

    /// Whether `ledger` says the same, `planes` included (which takes long).
    pub(super) fn is_told_by(&self, ledger: &Ledger, planes: bool) -> bool {
        let carried = (0..3).all(|keeper| {
            let expected = self.carried.get(&keeper).cloned().unwrap_or_default();
            ledger.witness_ids(id(keeper)).unwrap() == ids(expected.iter().copied())
                && (!planes || ledger.witnesses(id(keeper)).unwrap() == witnesses(expected))
        });
        let edits = (0..24).all(|number| {
            let (all, found) = (self.edits_of(number), ledger.edits_of(id(number)).unwrap());
            let all = ids(all);
            if found.more {
                all.len() > MAX_EDITS && found.contents.is_subset(&all)
            } else {
                found.contents == all
            }
        });
        let drops = (0..4).all(|number| {
            let named = |drop: &&DropRecord| drop.loser == id(number) || drop.keeper == id(number);
            let expected: Vec<_> = self.drops.iter().filter(named).rev().cloned().collect();
            ledger.drops_of(&prefix(&format!("c:{}", id(number))), 99).unwrap() == expected
        });
        carried && edits && drops
    }
}

pub(super) fn apply(ledger: &Ledger, step: &Step) -> Result<(), LedgerError> {
    match step {
        Step::Witnesses { keeper, of } => {
            match ledger.add_witnesses(id(*keeper), &witnesses(of.iter().copied()), now()) {
                Ok(_) | Err(LedgerError::TooMany { .. }) => Ok(()),
                Err(error) => Err(error),
            }
        }
        Step::Edits(edits) => {
            let edits: Vec<_> = edits.iter().map(|(a, b)| (id(*a), id(*b))).collect();
            ledger.record_edits(&edits)
        }
        Step::Drop { loser, keeper, at } => ledger.record_drop(&drop_of(*loser, *keeper, *at)),
        Step::Reopen => Ok(()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn behaves_like_the_naive_model(steps in prop::collection::vec(step(), 1..40)) {
        let short = steps.len() < 16;
        let dir = tempfile::tempdir().unwrap();
        let open = || Ledger { limits: LIMITS, ..Ledger::open(&dir.path().join("ledger.redb")).unwrap() };
        let (mut ledger, mut model) = (open(), Model::default());
        for step in steps {
            if matches!(step, Step::Reopen) {
                drop(ledger);
                ledger = open();
            }
            apply(&ledger, &step).unwrap();
            model.take(&step);
        }
        prop_assert!(model.is_told_by(&ledger, short), "{model:?}");
    }
}
