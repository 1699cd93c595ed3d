use std::os::unix::fs::PermissionsExt as _;

use proptest::prelude::*;

use super::*;
use crate::limits::CHUNK_BYTES;
use crate::store::files::read_verified;
use crate::transfer::outline::{Outline, OutlineBuilder};

mod group;
mod settle;

const NO_RESERVE: Reserve = Reserve { bytes: 0, percent: 0 };

fn open(state: &Path) -> Replicas {
    let (replicas, warnings) = Replicas::open_in(state, NO_RESERVE).unwrap();
    assert_eq!(warnings, [] as [String; 0]);
    replicas
}

fn photo(len: usize) -> (Vec<u8>, Outline) {
    let data: Vec<u8> = (0..len).map(|i| (i / 7 + i) as u8).collect();
    let mut builder = OutlineBuilder::new();
    builder.update(&data);
    (data, builder.finish())
}

fn rel(path: &[u8]) -> RelPath {
    RelPath::from_bytes(path.to_vec()).unwrap()
}

fn received(replicas: &Replicas, data: &[u8]) -> Received {
    let content = ContentId(*blake3::hash(data).as_bytes());
    let receiving = replicas.receive(content, data.len() as u64).unwrap();
    receiving.write_at(0, data).unwrap();
    receiving.verify().unwrap()
}

fn put(replicas: &Replicas, data: &[u8]) -> ContentId {
    let received = received(replicas, data);
    let content = received.content();
    replicas.commit(received, &rel(b"a.jpg")).unwrap();
    content
}

/// The names of all files, without the folder's.
fn files(state: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for folder in fs::read_dir(state.join(REPLICAS_NAME)).unwrap() {
        for entry in fs::read_dir(folder.unwrap().path()).unwrap() {
            names.push(entry.unwrap().file_name().into_string().unwrap());
        }
    }
    names.sort();
    names
}

#[test]
fn a_replica_of_any_length_is_received_out_of_order_and_read_in_chunks() {
    let state = tempfile::tempdir().unwrap();
    let replicas = open(state.path());
    let mut all = Vec::new();
    // No byte, one, a chunk, and the first byte of another.
    for len in [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES] {
        let (data, outline) = photo(len);
        let content = outline.content();
        let receiving = replicas.receive(content, len as u64).unwrap();
        for (index, chunk) in data.chunks(CHUNK_BYTES).enumerate().collect::<Vec<_>>().into_iter().rev() {
            receiving.write_at((index * CHUNK_BYTES) as u64, chunk).unwrap();
        }
        let received = receiving.verify().unwrap();
        assert_eq!((received.content(), received.bytes()), (content, len as u64));
        assert_eq!(fs::read(received.path()).unwrap(), data);
        let path = replicas.commit(received, &rel(b"x/y.jpg")).unwrap();
        assert_eq!(path, replicas.path(&content));
        let chunks =
            (0..outline.chunks()).map(|index| read_verified(&path, &outline, index).unwrap().unwrap());
        assert_eq!(chunks.collect::<Vec<_>>().concat(), data);
        assert_eq!(read_verified(&path, &outline, outline.chunks()).unwrap(), None);
        all.push(content);
    }
    all.sort_unstable();
    assert_eq!(replicas.list().unwrap(), all);
    assert_eq!(open(state.path()).list().unwrap(), all);
}

#[test]
fn paths_of_any_bytes_are_remembered() {
    let state = tempfile::tempdir().unwrap();
    let replicas = open(state.path());
    for (number, path) in
        [&b"caf\xe9/\xff.jpg"[..], "Стамбул/\u{202e}.jpg".as_bytes()].into_iter().enumerate()
    {
        let received = received(&replicas, &[number as u8]);
        let content = received.content();
        replicas.commit(received, &rel(path)).unwrap();
        assert_eq!(open(state.path()).once_at(&content), Some(rel(path)));
    }
    let long = rel(&[&[0xff; RelPath::MAX_BYTES - 2][..], b"/a"].concat());
    let received = received(&replicas, b"long");
    let content = received.content();
    replicas.commit(received, &long).unwrap();
    assert_eq!(replicas.once_at(&content), Some(long));
    fs::write(beside(&replicas.path(&content), SIDECAR), "{}").unwrap();
    assert_eq!(replicas.once_at(&content), None, "what can't be read is as good as missing");
}

#[test]
fn wrong_bytes_are_refused_and_leave_nothing() {
    let state = tempfile::tempdir().unwrap();
    let replicas = open(state.path());
    let (data, outline) = photo(1000);
    let receiving = replicas.receive(outline.content(), 1000).unwrap();
    assert!(matches!(receiving.write_at(999, &data[..2]), Err(ReplicaError::Outside { end: 1001, .. })));
    assert!(matches!(receiving.write_at(u64::MAX, &data), Err(ReplicaError::Outside { .. })));
    receiving.write_at(0, &data[..999]).unwrap();
    assert!(matches!(receiving.verify(), Err(ReplicaError::Wrong { .. })), "a byte is missing");
    let receiving = replicas.receive(outline.content(), 1001).unwrap();
    receiving.write_at(0, &data).unwrap();
    assert!(matches!(receiving.verify(), Err(ReplicaError::Wrong { .. })), "not as long as was said");
    drop(replicas.receive(outline.content(), 1000).unwrap());
    drop(received(&replicas, &data));
    assert_eq!(files(state.path()), [] as [&str; 0]);
    assert_eq!(replicas.inner.book().promised, 0);
    let huge = crate::limits::MAX_CONTENT_BYTES + 1;
    assert!(matches!(replicas.receive(outline.content(), huge), Err(ReplicaError::TooLong { .. })));
}

#[test]
fn the_reserve_is_never_promised() {
    let state = tempfile::tempdir().unwrap();
    let full = Reserve { bytes: u64::MAX, percent: 0 };
    let (replicas, _) = Replicas::open_in(state.path(), full).unwrap();
    assert_eq!(replicas.room().unwrap(), 0);
    assert!(matches!(
        replicas.receive(ContentId([1; 32]), 1),
        Err(ReplicaError::NoRoom { bytes: 1, room: 0 })
    ));
    let (replicas, _) = Replicas::open_in(state.path(), Reserve { bytes: 0, percent: 100 }).unwrap();
    assert_eq!(replicas.room().unwrap(), 0);

    // Two that fit alone don't fit together, however little is written yet.
    let replicas = open(state.path());
    let most = replicas.room().unwrap().min(crate::limits::MAX_CONTENT_BYTES);
    let keep = Reserve { bytes: replicas.free().unwrap() - most / 2, percent: 0 };
    let (replicas, _) = Replicas::open_in(state.path(), keep).unwrap();
    let first = replicas.receive(ContentId([1; 32]), most / 4).unwrap();
    assert!(matches!(replicas.receive(ContentId([2; 32]), most / 2), Err(ReplicaError::NoRoom { .. })));
    drop(first);
    assert!(replicas.room().unwrap() > most / 4);
}

#[test]
fn committing_twice_keeps_the_first_and_replaces_a_damaged_one() {
    let state = tempfile::tempdir().unwrap();
    let replicas = open(state.path());
    let content = put(&replicas, b"picture");
    let path = replicas.path(&content);
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    let again = received(&replicas, b"picture");
    assert_eq!(replicas.commit(again, &rel(b"other.jpg")).unwrap(), path);
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), before);
    assert_eq!(replicas.once_at(&content), Some(rel(b"a.jpg")));
    assert_eq!(files(state.path()).len(), 2);

    fs::write(&path, b"pictuRe").unwrap();
    let again = received(&replicas, b"picture");
    replicas.commit(again, &rel(b"other.jpg")).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"picture");
    assert_eq!(fs::read(beside(&path, DAMAGED)).unwrap(), b"pictuRe", "what was there is never removed");
    assert_eq!((replicas.inner.book().held, replicas.list().unwrap().len()), (1, 1));
    let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
}

#[test]
fn what_is_set_aside_goes_back_or_is_removed() {
    let state = tempfile::tempdir().unwrap();
    let replicas = open(state.path());
    let content = put(&replicas, b"picture");
    let aside = replicas.set_aside(content).unwrap();
    assert!(aside.is_intact() && aside.content() == content);
    assert_eq!(replicas.list().unwrap(), []);
    assert!(matches!(replicas.set_aside(content), Err(ReplicaError::Busy { .. })));
    let again = received(&replicas, b"picture");
    assert!(matches!(replicas.commit(again, &rel(b"a.jpg")), Err(ReplicaError::Busy { .. })));
    aside.put_back().unwrap();
    drop(replicas.set_aside(content).unwrap());
    assert_eq!(replicas.list().unwrap(), [content], "put back by whoever forgot it");
    replicas.set_aside(content).unwrap().remove().unwrap();
    assert_eq!(files(state.path()), [] as [&str; 0]);
    assert_eq!(replicas.inner.book().held, 0);
    assert!(matches!(replicas.set_aside(content), Err(ReplicaError::Missing { .. })));
    assert!(replicas.inner.book().claimed.is_empty());
}

#[test]
fn what_is_given_away_is_a_file_of_the_folder_and_replaces_none() {
    let state = tempfile::tempdir().unwrap();
    let replicas = open(state.path());
    let content = put(&replicas, b"a picture");
    let (taken, free) = (state.path().join("taken.jpg"), state.path().join("free.jpg"));
    fs::write(&taken, "somebody else's").unwrap();
    assert!(!replicas.give_away(content, &taken).unwrap());
    assert_eq!(fs::read(&taken).unwrap(), b"somebody else's");
    assert!(replicas.path(&content).exists());
    assert!(replicas.give_away(content, &free).unwrap());
    assert_eq!(fs::read(&free).unwrap(), b"a picture");
    assert_eq!(files(state.path()), [""; 0], "nothing is left of the replica");
    assert!(matches!(replicas.give_away(content, &free), Err(ReplicaError::Missing { .. })));
    assert!(free.exists());
}

#[test]
fn a_damaged_replica_is_not_removed() {
    let state = tempfile::tempdir().unwrap();
    let replicas = open(state.path());
    let content = put(&replicas, b"picture");
    let examine = || replicas.examine(&replicas.claim(content).unwrap()).unwrap();
    assert_eq!(examine(), Health::Intact);
    fs::write(replicas.path(&content), b"pictuRe").unwrap();
    let aside = replicas.set_aside(content).unwrap();
    assert!(!aside.is_intact());
    assert!(matches!(aside.remove(), Err(ReplicaError::Damaged { .. })));
    assert_eq!(replicas.list().unwrap(), [content]);
    assert_eq!(examine(), Health::Damaged);
    assert_eq!(replicas.list().unwrap(), []);
    assert_eq!(examine(), Health::Missing);
    let (replicas, warnings) = Replicas::open_in(state.path(), NO_RESERVE).unwrap();
    assert!(warnings.len() == 1 && warnings[0].contains("damaged"), "{warnings:?}");
    assert_eq!(replicas.once_at(&content), Some(rel(b"a.jpg")), "kept as long as the damaged one");
}

#[test]
fn opening_finishes_what_a_crash_left() {
    let state = tempfile::tempdir().unwrap();
    let replicas = open(state.path());
    let [kept, aside, gone] = [&b"kept"[..], b"aside", b"gone"].map(|data| put(&replicas, data));
    let stale = replicas.path(&kept).with_file_name(format!("{TEMP_PREFIX}abc.tmp"));
    let unfinished = replicas.inner.dir.join(INCOMING).join(format!("{TEMP_PREFIX}xyz"));
    for file in [&stale, &unfinished] {
        fs::write(file, "half").unwrap();
    }
    fs::rename(replicas.path(&aside), beside(&replicas.path(&aside), ASIDE)).unwrap();
    fs::remove_file(replicas.path(&gone)).unwrap();
    let foreign = replicas.path(&kept).with_file_name("notes.txt");
    fs::write(&foreign, "mine").unwrap();
    drop(replicas);

    let replicas = open(state.path());
    let mut left = vec![kept, aside];
    left.sort_unstable();
    assert_eq!(replicas.list().unwrap(), left);
    assert_eq!(replicas.inner.book().held, 2);
    assert_eq!(fs::read(replicas.path(&aside)).unwrap(), b"aside");
    assert!(replicas.once_at(&aside).is_some() && replicas.once_at(&gone).is_none());
    assert!(!stale.exists() && !unfinished.exists() && foreign.exists());
}

#[test]
fn something_else_in_the_place_of_what_comes_back_is_set_apart() {
    let state = tempfile::tempdir().unwrap();
    let replicas = open(state.path());
    let content = put(&replicas, b"picture");
    let path = replicas.path(&content);
    fs::rename(&path, beside(&path, ASIDE)).unwrap();
    fs::write(&path, b"something").unwrap();
    drop(replicas);
    let (replicas, _) = Replicas::open_in(state.path(), NO_RESERVE).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"picture");
    assert_eq!(fs::read(beside(&path, DAMAGED)).unwrap(), b"something");
    assert_eq!(replicas.list().unwrap(), [content]);
}

#[test]
fn names_that_are_not_quite_a_content_are_nobodys() {
    let shard = Path::new("/x/ab");
    let digits = format!("ab{}", "0".repeat(62));
    assert_eq!(parse(shard, &digits).unwrap().1, None);
    assert_eq!(parse(shard, &format!("{digits}.json")).unwrap().1, Some("json"));
    for wrong in [digits.to_uppercase(), format!("c:{digits}"), digits[1..].to_owned(), format!(".{digits}")]
    {
        assert_eq!(parse(shard, &wrong), None, "{wrong}");
    }
    assert_eq!(parse(Path::new("/x/ac"), &digits), None, "in another's folder");
}

/// Where a kill may come while a replica is removed: the disk as it is after each step.
#[test]
fn a_kill_at_any_step_loses_nothing_that_was_not_to_go() {
    let data = b"picture";
    for step in 0..4 {
        let state = tempfile::tempdir().unwrap();
        let replicas = open(state.path());
        let content = put(&replicas, data);
        let path = replicas.path(&content);
        if step > 0 {
            fs::rename(&path, beside(&path, ASIDE)).unwrap();
        }
        if step > 1 {
            fs::remove_file(beside(&path, ASIDE)).unwrap();
        }
        if step > 2 {
            fs::remove_file(beside(&path, SIDECAR)).unwrap();
        }
        drop(replicas);
        let replicas = open(state.path());
        let there = if step < 2 { vec![content] } else { vec![] };
        assert_eq!(replicas.list().unwrap(), there, "step {step}");
        assert_eq!(files(state.path()).len(), 2 * there.len(), "step {step}");
        put(&replicas, data);
        assert_eq!(replicas.list().unwrap(), [content]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn behaves_like_a_set(steps in prop::collection::vec((0..4u8, 0..6u8), 1..30)) {
        let state = tempfile::tempdir().unwrap();
        let mut replicas = open(state.path());
        let mut model = BTreeSet::new();
        for (step, number) in steps {
            let content = ContentId(*blake3::hash(&[number]).as_bytes());
            match step {
                0 => {
                    put(&replicas, &[number]);
                    model.insert(content);
                }
                1 => match replicas.set_aside(content) {
                    Ok(aside) => {
                        prop_assert!(model.remove(&content));
                        aside.remove().unwrap();
                    }
                    Err(_) => prop_assert!(!model.contains(&content)),
                },
                2 => drop(replicas.set_aside(content)),
                _ => replicas = open(state.path()),
            }
            prop_assert_eq!(replicas.list().unwrap(), model.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(replicas.inner.book().held, model.len());
        }
    }
}
