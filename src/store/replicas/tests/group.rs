//! Replicas that are committed together.

use super::*;

fn group(replicas: &Replicas, all: &[&[u8]]) -> Vec<(Received, RelPath)> {
    all.iter().map(|data| (received(replicas, data), rel(b"a.jpg"))).collect()
}

#[test]
fn each_of_a_group_gets_its_name_and_what_is_wrong_with_one_costs_only_that() {
    let state = tempfile::tempdir().unwrap();
    let replicas = open(state.path());
    let there = put(&replicas, b"there");
    let busy = put(&replicas, b"busy");
    let aside = replicas.set_aside(busy).unwrap();
    let all = group(&replicas, &[b"one", b"busy", b"two", b"there", b"two"]);
    let contents: Vec<ContentId> = all.iter().map(|(received, _)| received.content()).collect();
    let committed = replicas.commit_all(all);
    let went: Vec<bool> = committed.iter().map(Result::is_ok).collect();
    assert_eq!(went, [true, false, true, true, false]);
    for (done, content) in committed.iter().zip(&contents) {
        match done {
            Ok(done) => assert_eq!(done.path(), replicas.path(content)),
            Err(error) => assert!(matches!(error, ReplicaError::Busy { .. }), "{error}"),
        }
    }
    // Until the index knows.
    assert!(matches!(replicas.set_aside(contents[0]), Err(ReplicaError::Busy { .. })));
    drop(committed);
    drop(aside);
    assert!(replicas.inner.book().claimed.is_empty());
    let mut all = vec![contents[0], busy, contents[2], there];
    all.sort_unstable();
    assert_eq!(replicas.list().unwrap(), all);
    assert_eq!(replicas.inner.book().held, 4);
    assert_eq!(files(state.path()).len(), 8, "nothing unfinished is left");
    assert!(replicas.commit_all(Vec::new()).is_empty());
}

#[test]
fn a_group_whose_folders_cannot_be_made_leaves_nothing() {
    let state = tempfile::tempdir().unwrap();
    let replicas = open(state.path());
    let all = group(&replicas, &[b"one", b"two"]);
    let content = all[0].0.content();
    // A file where the first one's folder would be.
    fs::write(shard_of(&replicas.path(&content)), "").unwrap();
    let committed = replicas.commit_all(all);
    assert!(committed[0].is_err() && committed[1].is_ok());
    fs::remove_file(shard_of(&replicas.path(&content))).unwrap();
    assert_eq!(files(state.path()).len(), 2);
}

/// Where a kill may come while a group is committed: its descriptions are there, some of its files have
/// their names, the others are unfinished.
#[test]
fn a_kill_within_a_group_leaves_whole_replicas_and_nothing_else() {
    let all: Vec<Vec<u8>> = (0..4u8).map(|number| vec![number; 3000]).collect();
    for described in 0..=all.len() {
        for named in 0..=described {
            let state = tempfile::tempdir().unwrap();
            let replicas = open(state.path());
            let mut left = Vec::new();
            for (number, data) in all.iter().enumerate() {
                let received = received(&replicas, data);
                let path = replicas.path(&received.content());
                if number < described {
                    make_private(shard_of(&path)).unwrap();
                    sidecar::write(&beside(&path, SIDECAR), &rel(b"a.jpg")).unwrap();
                }
                if number < named && described == all.len() {
                    fs::rename(received.path(), &path).unwrap();
                    left.push(received.content());
                }
                // Nobody is there any more who would remove it.
                received.moved();
            }
            left.sort_unstable();
            drop(replicas);
            let replicas = open(state.path());
            assert_eq!(replicas.list().unwrap(), left, "{described} described, {named} named");
            assert_eq!(files(state.path()).len(), 2 * left.len(), "no half file, no description alone");
            let again = all.iter().map(|data| (received(&replicas, data), rel(b"a.jpg"))).collect();
            assert!(replicas.commit_all(again).iter().all(Result::is_ok));
            assert_eq!(replicas.list().unwrap().len(), all.len());
        }
    }
}

#[test]
fn what_comes_whole_is_checked_before_it_is_written() {
    let state = tempfile::tempdir().unwrap();
    let replicas = open(state.path());
    for len in [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 4 * CHUNK_BYTES] {
        let (data, outline) = photo(len);
        let received = replicas.receive_whole(outline.content(), &data).unwrap();
        assert_eq!(received.outline(), &outline);
        assert_eq!(fs::read(received.path()).unwrap(), data);
        assert_eq!(fs::read(replicas.commit(received, &rel(b"a.jpg")).unwrap()).unwrap(), data);
    }
    let wrong = replicas.receive_whole(ContentId([1; 32]), b"something");
    assert!(matches!(wrong, Err(ReplicaError::Wrong { .. })));
    assert_eq!(files(state.path()).len(), 10);
    assert_eq!(replicas.inner.book().promised, 0);
}

/// A power cut may leave a description empty: it was not synced by itself.
#[test]
fn a_description_that_a_power_cut_took_is_as_good_as_missing() {
    let state = tempfile::tempdir().unwrap();
    let replicas = open(state.path());
    let content = put(&replicas, b"picture");
    fs::write(beside(&replicas.path(&content), SIDECAR), "").unwrap();
    let replicas = open(state.path());
    assert_eq!((replicas.once_at(&content), replicas.list().unwrap()), (None, vec![content]));
    replicas.commit(received(&replicas, b"picture"), &rel(b"b.jpg")).unwrap();
    assert_eq!(replicas.once_at(&content), Some(rel(b"b.jpg")), "written anew");
}
