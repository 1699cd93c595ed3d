//! All pictures of the folders against each other.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use p2pimg::picture::distance;
use p2pimg::picture::same::{self, Verdict};
use p2pimg::store::compare::Version;
use p2pimg::types::ImageId;

use crate::report::{describe, doubt_name};
use crate::visible::Visible;
use crate::{Bench, Picture, each_thread, judge};

/// Which hashes are near enough for a closer look.
fn near(all: &[Picture]) -> Vec<(usize, usize)> {
    let mut near = Vec::new();
    for (i, a) in all.iter().enumerate() {
        let ImageId::Hash(a) = a.known.facts.image else { continue };
        for (j, b) in all.iter().enumerate().skip(i + 1) {
            let ImageId::Hash(b) = b.known.facts.image else { continue };
            if distance(&a, &b) <= same::DECISION.max_distance {
                near.push((i, j));
            }
        }
    }
    near
}

/// Compares all pictures with each other, and prints every pair that was taken for the same.
pub(crate) fn pairs(bench: &Bench, all: &[Picture]) {
    let total = all.len() as u64 * (all.len() as u64).saturating_sub(1) / 2;
    let near = near(all);
    println!("\n{} contents, {total} pairs, {} of them near by their hashes", all.len(), near.len());
    let next = AtomicUsize::new(0);
    let results = Mutex::new((BTreeMap::<&str, u32>::new(), Vec::new()));
    each_thread(|| {
        while let Some((i, j)) = near.get(next.fetch_add(1, Relaxed)) {
            let [a, b] = [*i, *j].map(|at| Version { known: &all[at].known, path: &all[at].path });
            let (verdict, keeper, loser) = judge(&bench.inspector, a, b);
            let names = format!("{} = {}", keeper.path.display(), loser.path.display());
            bench.dump("pair", &names, keeper, loser, verdict);
            match verdict {
                Verdict::Same(evidence) => {
                    let pictures = image::open(keeper.path).ok().zip(image::open(loser.path).ok());
                    let seen = pictures.and_then(|(a, b)| Visible::of(&a.to_rgb8(), &b.to_rgb8()));
                    let line = format!("{names}: {evidence}; {}", describe(seen));
                    results.lock().expect("no panic").1.push(line);
                }
                Verdict::Probable(doubt) | Verdict::Different(doubt) => {
                    *results.lock().expect("no panic").0.entry(doubt_name(&doubt)).or_default() += 1;
                }
            }
        }
    });
    let (doubts, mut lines) = results.into_inner().expect("no panic");
    println!("  taken for the same: {}; refused: {doubts:?}", lines.len());
    lines.sort();
    for line in &lines {
        println!("  {line}");
    }
}
