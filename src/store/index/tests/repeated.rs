//! Contents in several files.

use super::*;

fn all(index: &Index, steps: usize) -> Vec<ContentId> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let (page, next) = index.repeated(after.as_ref(), steps).unwrap();
        found.extend(page);
        match next {
            Some(next) => after = Some(next),
            None => return found,
        }
    }
}

#[test]
fn contents_in_several_files_are_found_whatever_the_pages() {
    let index = Index::in_memory(peer(1)).unwrap();
    assert_eq!(all(&index, 5), []);
    let files = [("a", 1), ("b", 1), ("c", 2), ("d", 3), ("e", 3), ("f", 3), ("g", 4)];
    index.apply(files.map(|(at, number)| seen(at, number)).into()).unwrap();
    let mut expected = vec![id(1), id(3)];
    expected.sort_unstable();
    for steps in 0..10 {
        assert_eq!(all(&index, steps), expected, "{steps} steps");
    }
    index.apply(vec![gone("b")]).unwrap();
    assert_eq!(all(&index, 3), [id(3)]);
}
