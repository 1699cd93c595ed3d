//! The name of what may fail together: a house, a room, a rack.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use super::printable;
use crate::limits::MAX_ZONE_BYTES;

/// Where a node is, in its person's words. Copies are spread over zones; two zones are the
/// same when their names are, to the letter.
///
/// Not empty, at most [`MAX_ZONE_BYTES`], no blanks around it, safe to print: also one that
/// came from a peer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Zone(String);

/// Why a text names no zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ZoneError {
    /// Nothing but blanks.
    #[error("the name of a zone is empty: type a word for where the node is, or leave the zone away")]
    Empty,
    /// More than [`MAX_ZONE_BYTES`].
    #[error("the name of a zone has {found} bytes, at most {MAX_ZONE_BYTES} are allowed")]
    TooLong {
        /// How many there were.
        found: usize,
    },
    /// Control characters, or ones that redirect the reading order.
    #[error("the name of a zone has characters that can't be printed")]
    Unprintable,
}

impl Zone {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Zone {
    type Err = ZoneError;

    /// Blanks around the name are left away.
    fn from_str(text: &str) -> Result<Self, ZoneError> {
        let name = text.trim();
        if name.is_empty() {
            return Err(ZoneError::Empty);
        }
        if name.len() > MAX_ZONE_BYTES {
            return Err(ZoneError::TooLong { found: name.len() });
        }
        if printable(name) != name {
            return Err(ZoneError::Unprintable);
        }
        Ok(Self(name.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_a_short_printable_name() {
        let named = |text: &str| text.parse::<Zone>();
        assert_eq!(named(" mother's cellar\n").unwrap().as_str(), "mother's cellar");
        assert_eq!(named(" \t"), Err(ZoneError::Empty));
        assert_eq!(named("a\u{1b}[2J"), Err(ZoneError::Unprintable));
        assert!(named(&"ä".repeat(MAX_ZONE_BYTES / 2)).is_ok());
        let found = MAX_ZONE_BYTES + 2;
        assert_eq!(named(&"ä".repeat(found / 2)), Err(ZoneError::TooLong { found }));
    }

    #[test]
    fn what_a_peer_sends_is_checked() {
        let home: Zone = "home".parse().unwrap();
        let sent = serde_cbor::to_vec(&home).unwrap();
        assert_eq!(serde_cbor::from_slice::<Zone>(&sent).unwrap(), home);
        for wrong in ["", "a\nb", &"z".repeat(MAX_ZONE_BYTES + 1)] {
            let sent = serde_cbor::to_vec(&wrong).unwrap();
            assert!(serde_cbor::from_slice::<Zone>(&sent).is_err(), "{wrong:?}");
        }
    }
}
