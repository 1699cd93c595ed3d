//! The nouns of the program: identifiers, units and facts that every floor shares.
//!
//! Nothing here does I/O or decides anything. Each identifier is a newtype, so that the
//! identifier of a picture ([`ImageId`]) can never be passed where the identifier of a
//! byte sequence ([`ContentId`]) is meant.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

pub mod calendar;
mod file_name;
mod prefix;
mod zone;

pub use file_name::safe_file_name;
pub use prefix::{Prefix, PrefixError};
pub use zone::{Zone, ZoneError};

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParseIdError {
    /// Wrong number of digits.
    #[error("expected 64 hexadecimal digits, found {found}")]
    Length {
        /// How many characters there were.
        found: usize,
    },
    /// Something other than `0-9`, `a-f`, `A-F`.
    #[error("'{found}' is not a hexadecimal digit")]
    Digit {
        /// The offending character.
        found: char,
    },
}

/// Writes `bytes` as lower-case hexadecimal digits.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn parse_hex32(text: &str) -> Result<[u8; 32], ParseIdError> {
    if let Some(found) = text.chars().find(|c| !c.is_ascii_hexdigit()) {
        return Err(ParseIdError::Digit { found });
    }
    if text.len() != 64 {
        return Err(ParseIdError::Length { found: text.len() });
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |c: u8| (c as char).to_digit(16).unwrap_or(0) as u8;
        *byte = digit(pair[0]) << 4 | digit(pair[1]);
    }
    Ok(bytes)
}

/// One exact sequence of bytes: the BLAKE3-256 of a file. Integrity, replicas, leases and
/// deletes speak of contents.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentId(pub [u8; 32]);

impl fmt::Display for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c:{}", to_hex(&self.0[..6]))
    }
}

impl FromStr for ContentId {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        parse_hex32(text.strip_prefix("c:").unwrap_or(text)).map(Self)
    }
}

/// A picture's identifier for people and for the DHT.
///
/// Text form: 64 hexadecimal digits for a perceptual hash, `c:` and 64 digits for a
/// picture that has none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ImageId {
    /// The 256-bit perceptual hash.
    Hash([u8; 32]),
    /// A picture with too little structure for a perceptual hash, or one that could not
    /// be decoded: it is identified by its content.
    Content(ContentId),
}

impl ImageId {
    /// Bytes of [`ImageId::to_bytes`].
    pub const LEN: usize = 33;

    /// A fixed-size form that sorts like the identifier: one tag byte (0 hash, 1 content),
    /// then the 32 bytes. Used as a database key and on the wire.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let (tag, bytes) = match self {
            Self::Hash(hash) => (0, hash),
            Self::Content(content) => (1, content.0),
        };
        let mut key = [tag; Self::LEN];
        key[1..].copy_from_slice(&bytes);
        key
    }

    /// The inverse of [`ImageId::to_bytes`]; `None` for a wrong length or an unknown tag.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (tag, rest) = bytes.split_first()?;
        let rest: [u8; 32] = rest.try_into().ok()?;
        match tag {
            0 => Some(Self::Hash(rest)),
            1 => Some(Self::Content(ContentId(rest))),
            _ => None,
        }
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hash(hash) => f.write_str(&to_hex(hash)),
            Self::Content(content) => write!(f, "c:{content}"),
        }
    }
}

impl fmt::Debug for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hash(hash) => f.write_str(&to_hex(&hash[..6])),
            Self::Content(content) => write!(f, "{content:?}"),
        }
    }
}

impl FromStr for ImageId {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        match text.strip_prefix("c:") {
            Some(content) => content.parse().map(Self::Content),
            None => parse_hex32(text).map(Self::Hash),
        }
    }
}

/// Identifiers travel as CBOR byte strings, never as arrays of numbers.
macro_rules! serde_as_bytes {
    ($type:ty, $expecting:literal, $to:expr, $from:expr) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bytes($to(self).as_ref())
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl serde::de::Visitor<'_> for Visitor {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_bytes<E: serde::de::Error>(self, v: &[u8]) -> Result<$type, E> {
                        $from(v).ok_or_else(|| E::invalid_length(v.len(), &self))
                    }
                }
                deserializer.deserialize_bytes(Visitor)
            }
        }
    };
}

serde_as_bytes!(ContentId, "32 bytes of a content id", |id: &ContentId| id.0, |v: &[u8]| v
    .try_into()
    .ok()
    .map(ContentId));
serde_as_bytes!(ImageId, "33 bytes of an image id", |id: &ImageId| id.to_bytes(), ImageId::from_bytes);
serde_as_bytes!(RelPath, "at most 4096 bytes of a path", |path: &RelPath| path.0.clone(), |v: &[u8]| {
    RelPath::from_bytes(v.to_vec())
});

/// A path inside a node's folder: relative, separated by `/`, kept as the bytes that the
/// file system gave, because a file name need not be UTF-8.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelPath(Vec<u8>);

impl RelPath {
    /// Linux's `PATH_MAX`: no file system hands out a longer one.
    pub const MAX_BYTES: usize = 4096;

    /// Takes bytes that must be a plain relative path: not empty, at most
    /// [`RelPath::MAX_BYTES`], no NUL, no empty, `.` or `..` component. `None` otherwise,
    /// so that a path sent by a peer can never point out of a folder.
    #[must_use]
    pub fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        let plain = !bytes.is_empty()
            && bytes.len() <= Self::MAX_BYTES
            && !bytes.contains(&0)
            && bytes.split(|b| *b == b'/').all(|part| !matches!(part, b"" | b"." | b".."));
        plain.then_some(Self(bytes))
    }

    /// The path of `file` below `folder`; `None` when it is not below it.
    #[must_use]
    pub fn below(folder: &Path, file: &Path) -> Option<Self> {
        use std::os::unix::ffi::OsStrExt as _;
        let relative = file.strip_prefix(folder).ok()?;
        Self::from_bytes(relative.as_os_str().as_bytes().to_vec())
    }

    /// Where the file is when `folder` is the node's folder.
    #[must_use]
    pub fn in_folder(&self, folder: &Path) -> PathBuf {
        use std::os::unix::ffi::OsStrExt as _;
        folder.join(std::ffi::OsStr::from_bytes(&self.0))
    }

    /// The raw bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path as text, when it is UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// The last component.
    #[must_use]
    pub fn file_name(&self) -> &[u8] {
        self.0.rsplit(|b| *b == b'/').next().unwrap_or(&self.0)
    }
}

impl fmt::Display for RelPath {
    /// For people: bytes that are not UTF-8 become U+FFFD, and control characters are
    /// escaped, so that a file name can't drive the terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&String::from_utf8_lossy(&self.0)))
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

/// `text` with control characters (and what redirects the reading order) escaped: what
/// came from a peer or a file name is safe to print.
#[must_use]
pub fn printable(text: &str) -> String {
    let unsafe_char = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(unsafe_char) {
        return text.to_owned();
    }
    text.chars().fold(String::with_capacity(text.len() + 8), |mut out, c| {
        if unsafe_char(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
        out
    })
}

/// The image formats that p2pimg decodes. Recognised by content, never by file name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Format {
    Jpeg,
    Png,
    WebP,
    Gif,
    Bmp,
    Tiff,
}

impl Format {
    /// The name shown to people and written in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::WebP => "webp",
            Self::Gif => "gif",
            Self::Bmp => "bmp",
            Self::Tiff => "tiff",
        }
    }

    /// The usual file name extension, without the dot.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Tiff => "tif",
            other => other.name(),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// When a picture was taken, as its EXIF data says: `YYYY-MM-DDTHH:MM:SS`, then
/// fractions of a second and an offset from UTC where the camera wrote them. Sorts by
/// time as long as the offsets are alike.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct CaptureTime(String);

impl CaptureTime {
    /// Takes a text of the form above; `None` for any other.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let template = b"dddd-dd-ddTdd:dd:dd";
        let date = bytes.get(..template.len())?;
        let fits =
            date.iter().zip(template).all(|(b, t)| if *t == b'd' { b.is_ascii_digit() } else { b == t });
        let tail = &bytes[template.len()..];
        let tail_fits = tail.len() <= 16 && tail.iter().all(|b| b.is_ascii_digit() || b".+-:Z".contains(b));
        (fits && tail_fits).then(|| Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for CaptureTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).ok_or_else(|| serde::de::Error::custom("not a capture time"))
    }
}

impl fmt::Display for CaptureTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Properties of a content that keep it from being merged with another by its looks
/// (DESIGN: "match by content only"), as a set of bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Traits(pub u16);

impl Traits {
    /// More than one frame or page (animated GIF, WebP, APNG, multi-page TIFF, MPO).
    pub const MULTI_FRAME: Self = Self(1);
    /// At least one pixel that is not opaque.
    pub const TRANSPARENT: Self = Self(1 << 1);
    /// More than 8 bits a channel.
    pub const DEEP: Self = Self(1 << 2);
    /// Data after the end of the image.
    pub const TRAILING_DATA: Self = Self(1 << 3);
    /// Truncated, or the decoder reported damage.
    pub const DAMAGED: Self = Self(1 << 4);
    /// Not decoded (too large, broken, unsupported): identified by content.
    pub const UNDECODED: Self = Self(1 << 5);
    /// Too little structure for a perceptual hash (guard below its threshold).
    pub const FEATURELESS: Self = Self(1 << 6);

    const NAMES: [(Self, &'static str); 7] = [
        (Self::MULTI_FRAME, "multi-frame"),
        (Self::TRANSPARENT, "transparent"),
        (Self::DEEP, "more than 8 bits a channel"),
        (Self::TRAILING_DATA, "data after the image"),
        (Self::DAMAGED, "damaged"),
        (Self::UNDECODED, "not decoded"),
        (Self::FEATURELESS, "featureless"),
    ];

    /// This set and `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is in this set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The names of the bits that are set, for people.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(bit, _)| self.has(*bit)).map(|(_, name)| name)
    }
}

/// What one look at a file's bytes tells about the picture in it. Computed by every
/// holder itself; decisions never use a received one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The picture's identifier.
    pub image: ImageId,
    /// Length of the content in bytes.
    pub bytes: u64,
    /// Pixels, after EXIF orientation; 0 when even the header could not be read.
    pub width: u32,
    /// Pixels, after EXIF orientation; 0 when even the header could not be read.
    pub height: u32,
    /// The format its first bytes announce.
    pub format: Format,
    /// EXIF capture time.
    pub taken_at: Option<CaptureTime>,
    /// Structure guard q, 0 to 100 (`picture::guard`).
    pub guard: u8,
    /// What keeps it from being merged by its looks.
    pub traits: Traits,
}

/// Random number that names one life of a catalog: sequence numbers of different epochs
/// can't be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

/// Position in a catalog. The first change has number 1; 0 is "before everything".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

/// A catalog and how far it has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogHead {
    /// Which life of the catalog.
    pub epoch: Epoch,
    /// Number of its last change.
    pub seq: Seq,
}

/// What a node is to this one, now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Not connected: what it holds is neither shown nor counted.
    Away,
    /// Connected and anybody (`--open`): what it holds is shown and fetched, verified, but
    /// is no copy.
    Stranger,
    /// Connected, with the same swarm key or on this machine: what it holds is a copy.
    Trusted,
}

/// Random id of a folder, kept in its marker file: two nodes on one folder are one
/// failure domain. Travels as 16 bytes, the highest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FolderId(pub u128);

// CBOR has no 128-bit numbers.
serde_as_bytes!(FolderId, "16 bytes of a folder id", |id: &FolderId| id.0.to_be_bytes(), |v: &[u8]| v
    .try_into()
    .ok()
    .map(|bytes| FolderId(u128::from_be_bytes(bytes))));

impl fmt::Display for FolderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests;
