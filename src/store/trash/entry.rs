//! What is known of a file in the trash, and the small JSON file that holds it beside the
//! file: JSON, because a person must be able to read it when there is no p2pimg around.
//!
//! ```text
//! TRASH/20261123-110819-0/IMG_0001.jpg              the file, under its own name
//! TRASH/20261123-110819-0/.p2pimg-entry.json        this
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::{MAX_ENTRY_BYTES, MAX_ENTRY_ITEMS, MAX_PROOF_BYTES, MAX_TEXT_BYTES, MAX_TRASH_PROOFS};
use crate::store::index::Fingerprint;
use crate::types::{CaptureTime, ContentId, Facts, Format, ImageId, RelPath, Traits, calendar};

/// Name of the description in an entry's folder. Scans skip names that begin like this, so
/// no file of the user's that is ever dropped has it.
pub const ENTRY_NAME: &str = ".p2pimg-entry.json";
/// The description while it is being written.
pub(super) const ENTRY_TEMP: &str = ".p2pimg-entry.tmp";
/// What was at the file's place when it was taken away from there.
pub(super) const TAKEN_NAME: &str = ".p2pimg-taken";

/// The form written and read.
const VERSION: u32 = 1;

/// Name of an entry: the moment of the drop (UTC) and a number, `20261123-110819-0`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(String);

impl EntryId {
    pub(super) fn new(at: SystemTime, number: u32) -> Self {
        let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let [year, month, day, h, m, s] = calendar::utc(seconds);
        Self(format!("{year:04}{month:02}{day:02}-{h:02}{m:02}{s:02}-{number}"))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no name of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("no name of a file in the trash; they look like 20261123-110819-0")]
pub struct NotAnEntry;

impl FromStr for EntryId {
    type Err = NotAnEntry;

    /// Digits and two dashes, so that a name given by anybody can't lead out of the trash.
    fn from_str(text: &str) -> Result<Self, NotAnEntry> {
        let lengths: Vec<_> = text.split('-').map(str::len).collect();
        let digits = text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        let fits = digits && matches!(lengths[..], [8, 6, 1..=10]);
        fits.then(|| Self(text.to_owned())).ok_or(NotAnEntry)
    }
}

/// How far an operation on an entry has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The drop is not committed: a restart puts the file back.
    Dropping,
    /// The file is in the trash.
    Dropped,
    /// The file is going back to the folder: a restart goes on with that.
    Restoring {
        /// To this place.
        #[serde(with = "path_form")]
        to: RelPath,
    },
    /// The file is being deleted. A restart that still finds it keeps it.
    Purging,
}

/// Why a file was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A better version, or the same bytes, are in the same folder.
    LocalDuplicate,
    /// A better version is in the swarm.
    Superseded,
    /// More copies than asked for.
    Excess,
    /// A person who may do so removed it.
    Removed,
    /// Its disk has changed its bytes, and the good ones took its place. It is kept until a person
    /// empties the trash: nothing proves that it is of no use.
    Damaged,
}

/// Why, with what a person wants to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// For programs.
    pub cause: Cause,
    /// For people: what was measured, by name.
    #[serde(default)]
    pub numbers: BTreeMap<String, String>,
}

/// Where the keeper was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeptAt {
    /// In the same folder.
    Here(#[serde(with = "path_form")] RelPath),
    /// At these nodes.
    Holders(Vec<String>),
}

/// What stays instead of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keeper {
    /// Its bytes.
    #[serde(with = "text_form")]
    pub content: ContentId,
    /// Its place.
    pub at: KeptAt,
}

/// What a holder said to prove that it has the keeper. Not looked into here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// Whose, and when: for people.
    pub about: String,
    /// The proof.
    #[serde(with = "hex_form")]
    pub data: Vec<u8>,
}

/// A file in the trash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name in the trash. Not written: it is the folder's name.
    #[serde(skip, default = "nowhere")]
    pub id: EntryId,
    /// What is happening to it.
    pub state: State,
    /// Where it was.
    #[serde(with = "path_form")]
    pub path: RelPath,
    /// Its bytes.
    #[serde(with = "text_form")]
    pub content: ContentId,
    /// Seconds since 1970 of the drop.
    pub dropped_at: u64,
    /// Why.
    pub reason: Reason,
    /// What stays; nothing when a person removed the file.
    pub keeper: Option<Keeper>,
    /// What the picture was.
    #[serde(default, with = "facts_form")]
    pub facts: Option<Facts>,
    /// The file as it was when the drop was decided.
    pub fingerprint: Fingerprint,
    /// That the keeper is there.
    #[serde(default)]
    pub proofs: Vec<Proof>,
}

fn nowhere() -> EntryId {
    EntryId(String::new())
}

impl Entry {
    /// When it was dropped.
    #[must_use]
    pub fn at(&self) -> SystemTime {
        UNIX_EPOCH.checked_add(Duration::from_secs(self.dropped_at)).unwrap_or(UNIX_EPOCH)
    }

    /// Its folder in the trash.
    pub(super) fn dir(&self, trash: &Path) -> PathBuf {
        trash.join(&self.id.0)
    }

    /// The trashed file, when `trash` is the trash.
    #[must_use]
    pub fn file(&self, trash: &Path) -> PathBuf {
        use std::os::unix::ffi::OsStrExt as _;
        self.dir(trash).join(std::ffi::OsStr::from_bytes(self.path.file_name()))
    }

    /// The description as it is written.
    ///
    /// # Errors
    /// When a part of it is over its limit.
    pub(super) fn encode(&self) -> Result<Vec<u8>, TooLarge> {
        #[derive(Serialize)]
        struct Versioned<'a> {
            p2pimg_trash: u32,
            #[serde(flatten)]
            entry: &'a Entry,
        }
        self.check_size()?;
        let mut data = serde_json::to_vec_pretty(&Versioned { p2pimg_trash: VERSION, entry: self })
            .map_err(|_| TooLarge("it"))?;
        data.push(b'\n');
        if data.len() > MAX_ENTRY_BYTES { Err(TooLarge("all of it")) } else { Ok(data) }
    }

    fn check_size(&self) -> Result<(), TooLarge> {
        let text = |text: &String| text.len() <= MAX_TEXT_BYTES;
        let numbers = &self.reason.numbers;
        if numbers.len() > MAX_ENTRY_ITEMS || !numbers.iter().all(|(k, v)| text(k) && text(v)) {
            return Err(TooLarge("the reason"));
        }
        if let Some(Keeper { at: KeptAt::Holders(holders), .. }) = &self.keeper
            && (holders.len() > MAX_ENTRY_ITEMS || !holders.iter().all(text))
        {
            return Err(TooLarge("the list of holders"));
        }
        let proof = |proof: &Proof| text(&proof.about) && proof.data.len() <= MAX_PROOF_BYTES;
        if self.proofs.len() > MAX_TRASH_PROOFS || !self.proofs.iter().all(proof) {
            return Err(TooLarge("the proofs"));
        }
        Ok(())
    }

    /// The inverse of [`Entry::encode`]. The error is for people.
    pub(super) fn decode(id: &EntryId, data: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Version {
            p2pimg_trash: u32,
        }
        let damaged = |e: serde_json::Error| format!("its description is damaged: {e}");
        let Version { p2pimg_trash: version } = serde_json::from_slice(data).map_err(damaged)?;
        if version != VERSION {
            return Err(format!("it was written by a newer p2pimg (form {version}): update this one"));
        }
        let entry: Self = serde_json::from_slice(data).map_err(damaged)?;
        Ok(Self { id: id.clone(), ..entry })
    }
}

/// A part of a description is over its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{0} is too large for an entry of the trash")]
pub struct TooLarge(&'static str);

/// Identifiers as their text, and not as CBOR's bytes.
mod text_form {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<T: std::fmt::Display, S: Serializer>(
        value: &T,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(super) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: std::str::FromStr<Err: std::fmt::Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

mod hex_form {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(data: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&crate::types::to_hex(data))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        let digit = |b: &u8| (*b as char).to_digit(16).map(|d| d as u8);
        let pair = |pair: &[u8]| match pair {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        };
        let data = text.as_bytes().chunks(2).map(pair).collect::<Option<_>>();
        data.ok_or_else(|| D::Error::custom("not hexadecimal digits"))
    }
}

/// A path as text, or `{"hex": "..."}` when it is not UTF-8.
pub(in crate::store) mod path_form {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

    use crate::types::RelPath;

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Form {
        Text(String),
        Bytes {
            #[serde(with = "super::hex_form")]
            hex: Vec<u8>,
        },
    }

    pub(in crate::store) fn serialize<S: Serializer>(path: &RelPath, to: S) -> Result<S::Ok, S::Error> {
        let form = match path.as_str() {
            Some(text) => Form::Text(text.to_owned()),
            None => Form::Bytes { hex: path.as_bytes().to_vec() },
        };
        form.serialize(to)
    }

    pub(in crate::store) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<RelPath, D::Error> {
        let bytes = match Form::deserialize(from)? {
            Form::Text(text) => text.into_bytes(),
            Form::Bytes { hex } => hex,
        };
        RelPath::from_bytes(bytes).ok_or_else(|| D::Error::custom("not a path inside a folder"))
    }
}

mod facts_form {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{CaptureTime, Facts, Format, ImageId, Traits};

    #[derive(Serialize, Deserialize)]
    #[serde(remote = "Facts")]
    struct Form {
        #[serde(with = "super::text_form")]
        image: ImageId,
        bytes: u64,
        width: u32,
        height: u32,
        format: Format,
        taken_at: Option<CaptureTime>,
        guard: u8,
        traits: Traits,
    }

    #[derive(Serialize, Deserialize)]
    struct Outer(#[serde(with = "Form")] Facts);

    // The form that serde calls.
    #[allow(clippy::ref_option)]
    pub(super) fn serialize<S: Serializer>(facts: &Option<Facts>, to: S) -> Result<S::Ok, S::Error> {
        facts.clone().map(Outer).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Facts>, D::Error> {
        Ok(Option::<Outer>::deserialize(from)?.map(|Outer(facts)| facts))
    }
}
