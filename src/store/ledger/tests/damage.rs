//! Files of other versions and other programs, damaged files, files in the making.

use std::fs;

use redb::TableDefinition;

use super::*;

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("ledger.redb")
    }

    fn open(&self) -> Result<Ledger, LedgerError> {
        Ledger::open(&self.file())
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

#[test]
fn a_new_ledger_appears_whole_and_is_there_again() {
    let place = Place::new();
    let ledger = place.open().unwrap();
    assert_eq!(place.names(), ["ledger.redb"], "nothing else is left");
    ledger.add_witnesses(id(1), &witnesses([2]), now()).unwrap();
    assert!(matches!(place.open(), Err(LedgerError::InUse { .. })));
    drop(ledger);
    let ledger = place.open().unwrap();
    assert_eq!(ledger.witnesses(id(1)).unwrap(), witnesses([2]));
    // Killed: what is on the disk while it is open.
    let killed = place.0.path().join("killed.redb");
    fs::copy(place.file(), &killed).unwrap();
    assert_eq!(Ledger::open(&killed).unwrap().witnesses(id(1)).unwrap(), witnesses([2]));
}

#[test]
fn what_is_no_ledger_is_named_and_not_touched() {
    let place = Place::new();
    let made_up: TableDefinition<u64, u64> = TableDefinition::new("made_up");
    let foreign = || {
        let db = Database::create(place.file()).unwrap();
        let txn = db.begin_write().unwrap();
        txn.open_table(made_up).unwrap().insert(1, 1).unwrap();
        txn.commit().unwrap();
    };
    let cut = || {
        drop(place.open().unwrap());
        fs::OpenOptions::new().write(true).open(place.file()).unwrap().set_len(5000).unwrap();
    };
    let garbage = || fs::write(place.file(), vec![b'x'; 100_000]).unwrap();
    let empty = || fs::write(place.file(), "").unwrap();
    for make in [&foreign as &dyn Fn(), &cut, &garbage, &empty] {
        make();
        let before = fs::read(place.file()).unwrap().len();
        let error = place.open().unwrap_err();
        assert!(matches!(error, LedgerError::Damaged { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("ledger.redb") && text.contains("move it away"), "{text}");
        assert_eq!(fs::read(place.file()).unwrap().len(), before);
        fs::remove_file(place.file()).unwrap();
    }
    let error = Ledger::open(&place.0.path().join("no/such/folder")).unwrap_err();
    assert!(matches!(error, LedgerError::Storage { .. }), "{error:?}");
}

const EXTRA: TableDefinition<u64, u64> = TableDefinition::new("extra");
/// The next format, which has one more table.
fn next_format() -> Vec<Migration<LedgerError>> {
    let next: Migration<LedgerError> = |txn| {
        let _: () = drop(txn.open_table(EXTRA)?.insert(1, 10)?);
        Ok(())
    };
    schema::MIGRATIONS.iter().copied().chain([next]).collect()
}

#[test]
fn an_older_file_is_brought_forward_and_a_newer_one_refused() {
    let place = Place::new();
    place.open().unwrap().record_edits(&[(id(1), id(2))]).unwrap();
    let formats = next_format();
    let next =
        || Ledger::prepared(builder().open(place.file()).map_err(Fault::from), &place.file(), &formats);
    let ledger = next().unwrap();
    let extra = ledger.db.get().begin_read().unwrap().open_table(EXTRA).unwrap();
    assert_eq!(extra.get(1).unwrap().unwrap().value(), 10);
    assert_eq!(ledger.edits_of(id(2)).unwrap().contents, ids([1]));
    drop((extra, ledger));
    let error = place.open().unwrap_err();
    let known = schema::MIGRATIONS.len() as u64 + 1;
    let newer = matches!(&error, LedgerError::Newer { found, known: here, .. } if (*found, *here) == (known + 1, known));
    assert!(newer, "{error:?}");
    assert_eq!(next().unwrap().edits_of(id(2)).unwrap().contents, ids([1]), "not touched");
}

#[test]
fn a_bit_that_changed_in_the_planes_is_noticed() {
    let place = Place::new();
    let sound = place.open().unwrap();
    sound.add_witnesses(id(1), &witnesses([2]), now()).unwrap();
    sound.record_edits(&[(id(1), id(2))]).unwrap();
    let packed = pack::pack(&witness(2)).unwrap();
    drop(sound);
    let bytes = fs::read(place.file()).unwrap();
    let at = bytes.windows(packed.len()).position(|window| window == packed).unwrap();
    for bit in [300 * 8, packed.len() * 4, packed.len() * 8 - 1] {
        let mut bytes = bytes.clone();
        bytes[at + bit / 8] ^= 1 << (bit % 8);
        fs::write(place.file(), &bytes).unwrap();
        let ledger = place.open().unwrap();
        let error = ledger.witnesses(id(1)).unwrap_err();
        assert!(matches!(error, LedgerError::Damaged { .. }), "{error:?}");
        assert_eq!(ledger.edits_of(id(1)).unwrap().contents, ids([2]), "the rest serves");
    }
}

/// Whatever page has rotted: an error or an answer, never a panic.
#[test]
fn a_rotten_page_does_not_end_the_program() {
    let place = Place::new();
    let sound = place.open().unwrap();
    for number in 1..30 {
        sound.record_edits(&[(id(number), id(number + 100))]).unwrap();
        sound.record_drop(&drop_of(number, 50, u64::from(number))).unwrap();
    }
    sound.add_witnesses(id(1), &witnesses([2, 3]), now()).unwrap();
    drop(sound);
    let bytes = fs::read(place.file()).unwrap();
    let mut errors = 0;
    for page in 0..bytes.len() / 4096 {
        if bytes[page * 4096..][..4096].iter().all(|byte| *byte == 0) {
            continue;
        }
        for (from, with) in [(0, 0xff), (0, 0), (2, 0x5a), (8, 0xa5)] {
            let mut bytes = bytes.clone();
            bytes[page * 4096 + from..][..64].fill(with);
            fs::write(place.file(), &bytes).unwrap();
            let Ok(ledger) = place.open() else {
                errors += 1;
                continue;
            };
            let all = prefix(&format!("c:{}", id(50)));
            errors += usize::from(ledger.drops_of(&all, 99).is_err());
            errors += (0..200).filter(|number| ledger.edits_of(id(*number)).is_err()).count();
            errors += usize::from(ledger.witnesses(id(1)).is_err());
            errors += usize::from(ledger.record_edits(&[(id(240), id(241))]).is_err());
            errors += usize::from(ledger.record_drop(&drop_of(77, 50, 9999)).is_err());
        }
    }
    assert!(errors > 0);
}
