//! Files that a crash left, files of other versions and other programs, damaged files.

use std::fs;

use super::*;
use redb::{ReadableTable as _, TableDefinition, TableHandle as _};

const FOLDER: FolderId = FolderId(9);

/// The file as a power cut would leave it: a copy taken while it is open.
fn image_of(file: &Path, to: &Path) -> PathBuf {
    let copy = to.join("crashed.redb");
    fs::copy(file, &copy).unwrap();
    copy
}

#[test]
fn committed_changes_survive_and_the_rest_is_consistent() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("index.redb");
    let index = Index::open(&file, peer(1)).unwrap();
    let other = Index::in_memory(peer(2)).unwrap();
    other.apply((0..50).map(|number| seen(&number.to_string(), number)).collect()).unwrap();
    for round in 0..5u32 {
        let changes = (0..20).map(|at| seen(&format!("{at}"), round * 7 + at)).collect();
        index.apply(changes).unwrap();
        pull(&index, &other, 2, FOLDER);
        let crashed = Index::open(&image_of(&file, dir.path()), peer(1)).unwrap();
        let own = |index: &Index| list(index, None, &|_| Standing::Away);
        assert_eq!(own(&crashed), own(&index), "round {round}");
        assert_eq!(crashed.head().unwrap(), index.head().unwrap());
        // The peer's pages may be lost, together with the position they led to.
        let position = crashed.peer_position(&peer(2)).unwrap();
        let rows = list(&crashed, None, &|_| Standing::Trusted)
            .iter()
            .filter(|row| row.holders.contains(&peer(2)))
            .count();
        assert_eq!(rows, position.map_or(0, |head| head.seq.0 as usize));
        pull(&crashed, &other, 2, FOLDER);
        assert_eq!(list(&crashed, None, &|_| Standing::Trusted), list(&index, None, &|_| Standing::Trusted));
    }
    index.flush().unwrap();
    let crashed = Index::open(&image_of(&file, dir.path()), peer(1)).unwrap();
    assert_eq!(crashed.peer_position(&peer(2)).unwrap(), Some(other.head().unwrap()));
}

#[test]
fn everything_is_there_after_reopening_also_for_a_new_identity() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("index.redb");
    let index = Index::open(&file, peer(1)).unwrap();
    index.apply(vec![seen("a", 1)]).unwrap();
    let head = index.head().unwrap();
    assert!(matches!(Index::open(&file, peer(1)), Err(IndexError::InUse { .. })));
    drop(index);
    let index = Index::open(&file, peer(3)).unwrap();
    assert_eq!(index.head().unwrap(), head);
    assert_eq!(list(&index, None, &|_| Standing::Away)[0].holders, [peer(3)]);
}

const MADE_UP: TableDefinition<u64, u64> = TableDefinition::new("made_up");

/// A format 2 that has one more table, and a format 3 that fills it.
const NEXT: [migrate::Migration; 2] = [
    |txn| {
        let _: () = drop(txn.open_table(MADE_UP)?.insert(1, 10)?);
        Ok(())
    },
    |txn| {
        let mut table = txn.open_table(MADE_UP)?;
        let old = table.get(1)?.map_or(0, |old| old.value());
        let _: () = drop(table.insert(1, old + 1)?);
        Ok(())
    },
];

fn open_with(file: &Path, migrations: &[migrate::Migration]) -> Result<Index, IndexError> {
    Index::prepared(builder().create(file).map_err(Fault::from), file, peer(1), migrations)
}

#[test]
fn older_files_are_brought_forward_one_format_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("index.redb");
    let value = |index: &Index| {
        let table = index.db.get().begin_read().unwrap().open_table(MADE_UP).unwrap();
        table.get(1).unwrap().map(|value| value.value())
    };
    open_with(&file, &[]).unwrap().apply(vec![seen("a", 1)]).unwrap();
    assert_eq!(value(&open_with(&file, &NEXT[..1]).unwrap()), Some(10));
    assert_eq!(value(&open_with(&file, &NEXT).unwrap()), Some(11));
    let index = open_with(&file, &NEXT).unwrap();
    assert_eq!(value(&index), Some(11), "once only");
    assert_eq!(list(&index, None, &|_| Standing::Trusted).len(), 1);
}

/// Format 1 as it was: no encodings, two tables less.
fn make_format_1(file: &Path) {
    let index = open_with(file, &[]).unwrap();
    let text = Found::NotPicture { problem: None };
    let text = Change::Seen { path: path("text"), fingerprint: print(9), found: text };
    index.apply(vec![seen("a", 1), seen("b", 1), text]).unwrap();
    let txn = index.db.get().begin_write().unwrap();
    for table in [schema::PINNED.name(), schema::REPLICAS.name()] {
        let found = txn.list_tables().unwrap().find(|found| found.name() == table).unwrap();
        assert!(txn.delete_table(found).unwrap());
    }
    {
        let mut contents = txn.open_table(schema::CONTENTS).unwrap();
        let stored = contents.get(&id(1).0).unwrap().unwrap().value().to_vec();
        let serde_cbor::Value::Map(mut stored) = serde_cbor::from_slice(&stored).unwrap() else { panic!() };
        for new in ["encoding", "pinned"] {
            assert!(stored.remove(&serde_cbor::Value::Text(new.to_owned())).is_some());
        }
        contents.insert(&id(1).0, &*serde_cbor::to_vec(&stored).unwrap()).unwrap();
    }
    txn.commit().unwrap();
}

#[test]
fn format_1_stays_listed_and_is_looked_at_again() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("index.redb");
    make_format_1(&file);
    let index = Index::open(&file, peer(1)).unwrap();
    let head = index.head().unwrap();
    assert_eq!(list(&index, None, &|_| Standing::Away).len(), 1);
    let record = index.content(&id(1)).unwrap().unwrap();
    assert_eq!(record.encoding.fidelity, Fidelity::UNKNOWN);
    assert_eq!(record.signature, None, "it can't be compared until it is known what it has");
    let bytes = |at: &str| index.file(&path(at)).unwrap().unwrap().fingerprint.bytes;
    assert_eq!([bytes("a"), bytes("b"), bytes("text")], [u64::MAX, u64::MAX, 9]);
    assert_eq!(index.file(&path("a")).unwrap().unwrap().fingerprint.device, 1, "tells where a drive is away");
    let applied = index.apply(vec![seen("a", 1)]).unwrap();
    assert_eq!(applied, Applied::default(), "nobody else has to hear of it");
    assert_eq!(index.head().unwrap(), head);
    let record = index.content(&id(1)).unwrap().unwrap();
    assert_eq!((record.encoding, record.signature.is_some()), (encoding(1), true));
    drop(index);
    let index = Index::open(&file, peer(1)).unwrap();
    assert_eq!(index.file(&path("a")).unwrap().unwrap().fingerprint, print(1), "once only");
}

#[test]
fn a_newer_file_is_refused_and_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("index.redb");
    let newer = [NEXT[0], NEXT[1], NEXT[1], NEXT[1]];
    drop(open_with(&file, &newer).unwrap());
    let error = Index::open(&file, peer(1)).unwrap_err();
    assert!(matches!(error, IndexError::Newer { found: 5, known: 4, .. }), "{error}");
    assert!(error.to_string().contains("index.redb"));
    drop(open_with(&file, &newer).unwrap());
}

#[test]
fn a_failed_migration_leaves_the_old_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("index.redb");
    open_with(&file, &[]).unwrap().apply(vec![seen("a", 1)]).unwrap();
    let broken: [migrate::Migration; 2] = [NEXT[0], |_| Err(Fault::Value("made_up"))];
    assert!(matches!(open_with(&file, &broken), Err(IndexError::Damaged { .. })));
    assert_eq!(list(&Index::open(&file, peer(1)).unwrap(), None, &|_| Standing::Trusted).len(), 1);
}

#[test]
fn what_is_no_index_is_named_with_advice() {
    let dir = tempfile::tempdir().unwrap();
    let garbage = dir.path().join("garbage.redb");
    fs::write(&garbage, vec![b'x'; 100_000]).unwrap();
    let foreign = dir.path().join("foreign.redb");
    let db = Database::create(&foreign).unwrap();
    let txn = db.begin_write().unwrap();
    txn.open_table(MADE_UP).unwrap().insert(1, 1).unwrap();
    txn.commit().unwrap();
    drop(db);
    let cut = dir.path().join("cut.redb");
    drop(Index::open(&cut, peer(1)).unwrap());
    fs::OpenOptions::new().write(true).open(&cut).unwrap().set_len(5000).unwrap();
    for file in [garbage, foreign, cut] {
        let before = fs::read(&file).unwrap();
        let error = Index::open(&file, peer(1)).unwrap_err();
        assert!(matches!(error, IndexError::Damaged { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(file.to_str().unwrap()) && text.contains("remove the file"), "{text}");
        assert_eq!(fs::read(&file).unwrap().len(), before.len());
    }
    let error = Index::open(&dir.path().join("no/such/folder"), peer(1)).unwrap_err();
    assert!(matches!(error, IndexError::Storage { .. }), "{error:?}");
}
