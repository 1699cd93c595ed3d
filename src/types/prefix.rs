//! What a person types to name a picture: a hash, or enough of its first digits.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::limits::MIN_PREFIX_DIGITS;

/// Digits of a whole identifier.
const ALL_DIGITS: usize = 64;

/// The first digits of an identifier: at least [`MIN_PREFIX_DIGITS`], at most all 64.
/// Lower-case hexadecimal digits; [`Prefix::parse`] sees to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prefix {
    /// Of a perceptual hash.
    Image(String),
    /// Of a content id (typed as `c:` and digits).
    Content(String),
}

/// Why a text names no picture.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PrefixError {
    /// Too few digits.
    #[error("'{text}' is too short: type at least {MIN_PREFIX_DIGITS} digits of the hash")]
    TooShort {
        /// What was typed, safe to print.
        text: String,
    },
    /// More digits than any identifier has.
    #[error("a hash has {ALL_DIGITS} digits, this text has {found}")]
    TooLong {
        /// How many there were.
        found: usize,
    },
    /// Something other than `0-9`, `a-f`, `A-F`.
    #[error(
        "'{found}' is not a hexadecimal digit: type a hash or its first digits (0-9, a-f), or c: and a content id"
    )]
    Digit {
        /// The offending character, safe to print.
        found: String,
    },
}

impl Prefix {
    /// Reads what a person typed: digits of a perceptual hash, or `c:` and digits of a
    /// content id, in lower or upper case, with blanks around.
    ///
    /// # Errors
    /// Says which rule the text breaks.
    pub fn parse(text: &str) -> Result<Self, PrefixError> {
        let text = text.trim();
        let content = text.strip_prefix("c:").or_else(|| text.strip_prefix("C:"));
        let digits = content.unwrap_or(text);
        if let Some(found) = digits.chars().find(|c| !c.is_ascii_hexdigit()) {
            return Err(PrefixError::Digit { found: super::printable(&found.to_string()) });
        }
        match digits.len() {
            0..MIN_PREFIX_DIGITS => return Err(PrefixError::TooShort { text: text.to_owned() }),
            MIN_PREFIX_DIGITS..=ALL_DIGITS => {}
            found => return Err(PrefixError::TooLong { found }),
        }
        let digits = digits.to_ascii_lowercase();
        Ok(if content.is_some() { Self::Content(digits) } else { Self::Image(digits) })
    }

    /// The lowest and the highest 32 bytes that start with these digits; an odd last digit
    /// is the upper half of its byte. `None` when the digits don't obey the rules.
    #[must_use]
    pub fn bounds(&self) -> Option<([u8; 32], [u8; 32])> {
        let (Self::Image(digits) | Self::Content(digits)) = self;
        if !(MIN_PREFIX_DIGITS..=ALL_DIGITS).contains(&digits.len()) {
            return None;
        }
        let (mut low, mut high) = ([0; 32], [0xff; 32]);
        for (at, digit) in digits.chars().enumerate() {
            let digit = digit.to_digit(16)? as u8;
            let (low, high) = (low.get_mut(at / 2)?, high.get_mut(at / 2)?);
            if at % 2 == 0 {
                (*low, *high) = (digit << 4, digit << 4 | 0x0f);
            } else {
                (*low, *high) = (*low | digit, *high & 0xf0 | digit);
            }
        }
        Some((low, high))
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;
    fn from_str(text: &str) -> Result<Self, PrefixError> {
        Self::parse(text)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(digits) => f.write_str(digits),
            Self::Content(digits) => write!(f, "c:{digits}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::to_hex;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bounds_enclose_exactly_what_starts_with_the_digits(id: [u8; 32], other: [u8; 32], digits in 6..=64usize) {
            let text = &to_hex(&id)[..digits];
            let prefix = Prefix::parse(&text.to_uppercase()).unwrap();
            prop_assert_eq!(&prefix, &Prefix::Image(text.to_owned()));
            let (low, high) = prefix.bounds().unwrap();
            let mut near = id;
            near[31] ^= other[31];
            for candidate in [id, near, other, low, high] {
                let inside = (low..=high).contains(&candidate);
                prop_assert_eq!(inside, to_hex(&candidate).starts_with(text));
            }
        }
    }

    #[test]
    fn wrong_texts_say_what_is_wrong() {
        assert_eq!(Prefix::parse(" c:ABCDEF1 "), Ok(Prefix::Content("abcdef1".into())));
        assert_eq!(Prefix::parse("abcde"), Err(PrefixError::TooShort { text: "abcde".into() }));
        assert_eq!(Prefix::parse("c:"), Err(PrefixError::TooShort { text: "c:".into() }));
        assert_eq!(Prefix::parse(&"a".repeat(65)), Err(PrefixError::TooLong { found: 65 }));
        assert_eq!(Prefix::parse("beach.jpg"), Err(PrefixError::Digit { found: "h".into() }));
        assert_eq!(Prefix::parse("abc\x1bdef"), Err(PrefixError::Digit { found: "\\u{1b}".into() }));
        assert_eq!(Prefix::Image("xyzxyz".into()).bounds(), None);
    }
}
