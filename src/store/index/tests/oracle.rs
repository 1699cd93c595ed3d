//! Random histories against the slow and obvious way: each node's folder is a map from path
//! to content, and everything else follows from it.

use std::time::Duration;

use super::*;
use crate::picture::distance;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    /// Changes of node 0, 1 or 2: path and content, or path gone.
    Apply {
        node: usize,
        changes: Vec<(u8, Option<u32>)>,
    },
    /// Node 0 pulls all of another node's catalog.
    Pull {
        node: usize,
    },
    /// A node's index is lost, and a scan makes it anew.
    Rebuild {
        node: usize,
    },
    Forget {
        node: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let change = (0..8u8, prop::option::weighted(0.7, 0..12u32));
    let changes = prop::collection::vec(change, 1..6);
    prop_oneof![
        5 => (0..3usize, changes).prop_map(|(node, changes)| Step::Apply { node, changes }),
        3 => (1..3usize).prop_map(|node| Step::Pull { node }),
        1 => (1..3usize).prop_map(|node| Step::Rebuild { node }),
        1 => (1..3usize).prop_map(|node| Step::Forget { node }),
    ]
}

type Folder = BTreeMap<String, u32>;

fn name(path: u8) -> String {
    ["a.jpg", "B.JPG", "beach/1.jpg", "beach/2.jpg", "c", "d", "e", "f"][usize::from(path)].to_owned()
}

/// What a folder's contents are: number -> (first path, files).
fn contents(folder: &Folder) -> BTreeMap<u32, (String, u32)> {
    let mut contents = BTreeMap::new();
    for (path, number) in folder {
        contents.entry(*number).or_insert((path.clone(), 0)).1 += 1;
    }
    contents
}

/// Nodes 0 and 1 share a folder id, so they are one copy.
const FOLDERS: [FolderId; 3] = [FolderId(7), FolderId(7), FolderId(u128::MAX)];

fn expected(known: &[Folder; 3], standing: [Standing; 3], filter: Option<&str>) -> Vec<ImageRow> {
    type Group = (ImageRow, Vec<String>, BTreeSet<FolderId>);
    let mut rows: BTreeMap<(ImageId, ContentId), Group> = BTreeMap::new();
    for node in (0..3).filter(|node| standing[*node] != Standing::Away) {
        for (number, (at, _)) in contents(&known[node]) {
            let row = ImageRow {
                content: id(number),
                facts: facts(number),
                path: path(&at),
                holders: vec![],
                copies: 0,
                pinned: false,
            };
            let entry = rows.entry((image(number), id(number))).or_insert((row, vec![], BTreeSet::new()));
            entry.0.holders.push(peer(node as u8));
            entry.1.push(at.to_lowercase());
            if standing[node] == Standing::Trusted {
                entry.2.insert(FOLDERS[node]);
            }
        }
    }
    let fits = |paths: &[String]| filter.is_none_or(|f| paths.iter().any(|p| p.contains(&f.to_lowercase())));
    let rows = rows.into_values().filter(|(_, paths, _)| fits(paths));
    rows.map(|(row, _, folders)| ImageRow { copies: folders.len() as u32, ..row }).collect()
}

fn fresh(node: usize, limits: PageLimits) -> Index {
    let mut index = Index::in_memory(peer(node as u8)).unwrap();
    index.set_folder(FOLDERS[node]);
    index.limits = limits;
    index
}

fn change(path: u8, number: Option<u32>) -> Change {
    number.map_or_else(|| gone(&name(path)), |number| seen(&name(path), number))
}

fn check(index: &Index, known: &[Folder; 3]) -> Result<(), TestCaseError> {
    use Standing::{Away, Stranger, Trusted};
    for standing in
        [[Trusted; 3], [Trusted, Away, Trusted], [Trusted, Away, Away], [Trusted, Trusted, Stranger]]
    {
        let of =
            |id: &PeerId| (0..3).find(|node| *id == peer(*node)).map_or(Away, |node| standing[node as usize]);
        for filter in [None, Some("BEACH"), Some("jpg"), Some("nowhere")] {
            prop_assert_eq!(list(index, filter, &of), expected(known, standing, filter));
        }
        let all = expected(known, standing, None);
        for number in 0..12 {
            for prefix in [image(number).to_string(), format!("c:{}", id(number))] {
                for digits in [8, 9, 66] {
                    let typed = &prefix[..digits.min(prefix.len())];
                    let by_content = typed.starts_with("c:");
                    let (rows, more) = index.resolve(&Prefix::parse(typed).unwrap(), &of).unwrap();
                    let fits = |row: &&ImageRow| match (by_content, row.facts.image) {
                        (true, _) => format!("c:{}", row.content).starts_with(typed),
                        (false, image @ ImageId::Hash(_)) => image.to_string().starts_with(typed),
                        (false, ImageId::Content(_)) => false,
                    };
                    prop_assert_eq!(rows, all.iter().filter(fits).cloned().collect::<Vec<_>>());
                    prop_assert!(!more);
                }
            }
            let holders: Vec<_> = (0..3)
                .filter_map(|node| Some((peer(node as u8), path(&contents(&known[node]).get(&number)?.0))))
                .collect();
            prop_assert_eq!(index.holders(&id(number)).unwrap(), holders);
        }
    }
    check_similar(index, known)?;
    let own = contents(&known[0]);
    let totals = index.totals().unwrap();
    prop_assert_eq!((totals.images, totals.bytes), (own.len() as u64, own.len() as u64 * 4));
    let distinct: BTreeSet<u32> = known.iter().flat_map(|folder| folder.values().copied()).collect();
    prop_assert_eq!(index.swarm_images().unwrap(), distinct.len() as u64);
    let files: Vec<_> = index.files(None, 99).unwrap().into_iter().map(|(path, _)| path).collect();
    prop_assert_eq!(files, known[0].keys().map(|at| path(at)).collect::<Vec<_>>());
    Ok(())
}

/// What is listed and near, the nearest first.
fn check_similar(index: &Index, known: &[Folder; 3]) -> Result<(), TestCaseError> {
    let standings = [[Standing::Trusted; 3], [Standing::Trusted, Standing::Away, Standing::Stranger]];
    for (standing, asked) in standings.into_iter().zip([0, 7]) {
        let ImageId::Hash(asked) = image(asked) else { unreachable!("a picture with a hash") };
        let of = |id: &PeerId| {
            (0..3).find(|node| *id == peer(*node)).map_or(Standing::Away, |n| standing[n as usize])
        };
        let near = |row: ImageRow| match row.facts.image {
            ImageId::Hash(hash) => Some((distance(&asked, &hash), row)),
            ImageId::Content(_) => None,
        };
        let all = expected(known, standing, None);
        let mut all: Vec<_> = all.into_iter().filter_map(near).collect();
        all.sort_by_key(|(distance, row)| (*distance, row.facts.image, row.content));
        for (most, limit) in [(256, 20), (256, 2), (120, 20), (0, 1), (0, 0)] {
            let due: Vec<_> = all.iter().filter(|(distance, _)| *distance <= most).cloned().collect();
            let found = index.similar(&asked, most, limit, &of).unwrap();
            prop_assert!(found.more || due.len() <= limit);
            prop_assert!(found.compared >= found.within && found.within >= due.len() as u64);
            prop_assert_eq!(found.rows, due.into_iter().take(limit).collect::<Vec<_>>());
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn behaves_like_the_naive_model(
        steps in prop::collection::vec(step(), 1..24),
        entries in 1..6usize, bytes in 1..3000usize, steps_a_page in 1..12usize,
    ) {
        let limits = PageLimits { entries, bytes, steps: steps_a_page };
        let mut nodes = [0, 1, 2].map(|node| fresh(node, limits));
        // What each folder has, and what node 0 knows of it.
        let mut folders: [Folder; 3] = Default::default();
        let mut known: [Folder; 3] = Default::default();
        for step in steps {
            match step {
                Step::Apply { node, changes } => {
                    let before = contents(&folders[node]);
                    let batch: Vec<_> = changes.iter().map(|(p, n)| change(*p, *n)).collect();
                    let would_edit = nodes[node].would_edit(&batch).unwrap();
                    let applied = nodes[node].apply(batch).unwrap();
                    prop_assert_eq!(&would_edit, &applied.edited);
                    let mut edited = Vec::new();
                    for (at, number) in changes {
                        let old = folders[node].get(&name(at)).copied();
                        edited.extend(old.zip(number).filter(|(a, b)| a != b).map(|(a, b)| (id(a), id(b))));
                        match number {
                            Some(number) => drop(folders[node].insert(name(at), number)),
                            None => drop(folders[node].remove(&name(at))),
                        }
                    }
                    let after = contents(&folders[node]);
                    let only = |a: &BTreeMap<u32, _>, b: &BTreeMap<u32, _>| -> BTreeSet<_> {
                        a.keys().filter(|n| !b.contains_key(n)).map(|n| (image(*n), id(*n))).collect()
                    };
                    prop_assert_eq!(applied.added.into_iter().collect::<BTreeSet<_>>(), only(&after, &before));
                    prop_assert_eq!(applied.removed.into_iter().collect::<BTreeSet<_>>(), only(&before, &after));
                    prop_assert_eq!(applied.head.is_some(), before != after);
                    prop_assert_eq!(applied.edited, edited);
                    for number in 0..12 {
                        let content = nodes[node].content(&id(number)).unwrap();
                        prop_assert_eq!(content.map(|c| c.paths.len() as u32), after.get(&number).map(|c| c.1));
                    }
                    known[0] = folders[0].clone();
                }
                Step::Pull { node } => {
                    pull(&nodes[0], &nodes[node], node as u8, FOLDERS[node]);
                    known[node] = folders[node].clone();
                }
                Step::Rebuild { node } => {
                    nodes[node] = fresh(node, limits);
                    let changes = folders[node].iter().map(|(at, number)| seen(at, *number)).collect();
                    nodes[node].apply(changes).unwrap();
                }
                Step::Forget { node } => {
                    nodes[0].forget_peer(&peer(node as u8)).unwrap();
                    known[node].clear();
                }
            }
            // From the first step on the hashes are in memory; now and then they are let go.
            check_similar(&nodes[0], &known)?;
            if entries == 1 {
                nodes[0].rest(Duration::ZERO);
            }
        }
        check(&nodes[0], &known)?;
    }
}
