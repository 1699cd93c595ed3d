//! What the redb files of a node have in common: what can go wrong, the number of a file's
//! format, and the way from one format to the next.

use redb::{Database, ReadTransaction, ReadableDatabase as _, ReadableTable as _, WriteTransaction};
use redb::{TableDefinition, TableHandle as _};

mod reopen;

pub(super) use reopen::Lasting;

/// Numbers of the file itself, by name.
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");

/// The key of the format's number in META.
const SCHEMA: &str = "schema";

/// The first format that a file ever had.
const FIRST: u64 = 1;

/// Makes format `n + 1` of format `n`.
pub(super) type Migration<R> = fn(&WriteTransaction) -> Result<(), Fault<R>>;

/// An error that doesn't know the file yet. `R` is what the file's own functions refuse with.
#[derive(Debug)]
pub(super) enum Fault<R> {
    Database(Box<redb::Error>),
    /// A value in the named table that this program did not write like that.
    Value(&'static str),
    Newer {
        found: u64,
        known: u64,
    },
    Refused(Box<R>),
}

/// A fault, by what a person can do about it.
pub(super) enum Sorted<R> {
    InUse,
    Newer { found: u64, known: u64 },
    Damaged(String),
    Storage(Box<redb::Error>),
    Refused(Box<R>),
}

impl<R> Fault<R> {
    /// Whether redb refuses everything, because a write has failed before.
    fn is_refusal(&self) -> bool {
        matches!(self, Self::Database(error) if matches!(**error, redb::Error::PreviousIo))
    }

    pub(super) fn sorted(self) -> Sorted<R> {
        match self {
            Self::Refused(error) => Sorted::Refused(error),
            Self::Newer { found, known } => Sorted::Newer { found, known },
            Self::Value(table) => Sorted::Damaged(format!("a wrong value in {table}")),
            Self::Database(source) => match *source {
                redb::Error::DatabaseAlreadyOpen => Sorted::InUse,
                redb::Error::Io(ref error) if error.kind() != std::io::ErrorKind::InvalidData => {
                    Sorted::Storage(source)
                }
                // After a failed write redb refuses everything: not the file's fault.
                redb::Error::PreviousIo | redb::Error::DatabaseClosed => Sorted::Storage(source),
                ref other => Sorted::Damaged(other.to_string()),
            },
        }
    }
}

macro_rules! from_redb {
    ($($error:ident),*) => {
        $(impl<R> From<redb::$error> for Fault<R> {
            fn from(error: redb::$error) -> Self {
                Self::Database(Box::new(error.into()))
            }
        })*
    };
}

from_redb!(CommitError, DatabaseError, SetDurabilityError, StorageError, TableError, TransactionError);

/// Makes the tables of a new file (`create`), or brings an older file to the newest format.
/// Element `i` of `migrations` goes from format `FIRST + i` to the next. A newer file and a
/// file of another program stay untouched.
pub(super) fn prepare<R>(
    db: &Database,
    migrations: &[Migration<R>],
    create: impl FnOnce(&WriteTransaction) -> Result<(), Fault<R>>,
) -> Result<(), Fault<R>> {
    let known = FIRST + migrations.len() as u64;
    let found = version(&db.begin_read()?)?;
    if found == Some(known) {
        return Ok(());
    }
    if let Some(found) = found.filter(|found| *found > known) {
        return Err(Fault::Newer { found, known });
    }
    let txn = db.begin_write()?;
    match found {
        None => create(&txn)?,
        Some(found) => {
            let skip = found.checked_sub(FIRST).ok_or(Fault::Value("meta"))?;
            for migration in migrations.iter().skip(skip as usize) {
                migration(&txn)?;
            }
        }
    }
    set_number(&txn, SCHEMA, known)?;
    txn.commit()?;
    Ok(())
}

/// The format of the file; `None` when it is new.
fn version<R>(txn: &ReadTransaction) -> Result<Option<u64>, Fault<R>> {
    let mut tables = txn.list_tables()?.map(|table| table.name().to_owned()).peekable();
    if tables.peek().is_none() {
        return Ok(None);
    }
    if !tables.any(|name| name == META.name()) {
        return Err(Fault::Value("the list of tables"));
    }
    let version = txn.open_table(META)?.get(SCHEMA)?.map(|version| version.value());
    version.map(Some).ok_or(Fault::Value("meta"))
}

/// A number of META in a reading transaction; 0 when it was never set.
pub(super) fn number<R>(txn: &ReadTransaction, key: &str) -> Result<u64, Fault<R>> {
    Ok(txn.open_table(META)?.get(key)?.map_or(0, |number| number.value()))
}

/// Like [`number`], in a writing transaction.
pub(super) fn number_mut<R>(txn: &WriteTransaction, key: &str) -> Result<u64, Fault<R>> {
    let table = txn.open_table(META)?;
    let number = table.get(key)?.map_or(0, |number| number.value());
    Ok(number)
}

pub(super) fn set_number<R>(txn: &WriteTransaction, key: &str, number: u64) -> Result<(), Fault<R>> {
    txn.open_table(META)?.insert(key, number)?;
    Ok(())
}
