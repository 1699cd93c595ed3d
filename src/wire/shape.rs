//! A look at the shape of a CBOR header before anything is built from it.
//!
//! A decoder trusts declared lengths to some degree and recurses with the input. This walk
//! does neither: it allocates nothing, and what it lets through is a single complete item
//! with bounded nesting, a bounded number of values, and only declared lengths that the
//! bytes really contain. It does not check text for UTF-8 nor fields for their types; the
//! decoder does.

use thiserror::Error;

use crate::limits::{MAX_CBOR_DEPTH, MAX_CBOR_ITEMS};

/// Why a header is not looked at any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ShapeError {
    /// Ends in the middle, or declares more than there is.
    #[error("the header ends before what it declares")]
    Truncated,
    /// Something after the one item.
    #[error("the header is followed by {0} bytes that belong to nothing")]
    Trailing(usize),
    /// See [`MAX_CBOR_DEPTH`].
    #[error("the header is nested more than {MAX_CBOR_DEPTH} deep")]
    TooDeep,
    /// See [`MAX_CBOR_ITEMS`].
    #[error("the header has more than {MAX_CBOR_ITEMS} values")]
    TooMany,
    /// Tags, indefinite lengths, undefined and reserved values are not part of the protocol.
    #[error("the header has a byte 0x{0:02x} where the protocol knows no such value")]
    Unknown(u8),
}

/// Checks that `bytes` are exactly one CBOR item within the limits.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(bytes: &[u8]) -> Result<(), ShapeError> {
    let mut rest = bytes;
    // How many items are still to come at the present level, and at the levels around it.
    let mut due = 1_u64;
    let mut around = [0_u64; MAX_CBOR_DEPTH as usize];
    let mut depth = 0_usize;
    for _ in 0..=MAX_CBOR_ITEMS {
        while due == 0 {
            let Some(outer) = depth.checked_sub(1).and_then(|d| around.get(d)) else {
                return if rest.is_empty() { Ok(()) } else { Err(ShapeError::Trailing(rest.len())) };
            };
            due = *outer;
            depth -= 1;
        }
        due -= 1;
        let (first, value, tail) = head(rest)?;
        rest = tail;
        let inner = match first >> 5 {
            2 | 3 => {
                let length = usize::try_from(value).map_err(|_| ShapeError::Truncated)?;
                rest = rest.get(length..).ok_or(ShapeError::Truncated)?;
                continue;
            }
            4 => value,
            5 => value.checked_mul(2).ok_or(ShapeError::Truncated)?,
            _ => continue,
        };
        // Every item has at least one byte.
        if inner > rest.len() as u64 {
            return Err(ShapeError::Truncated);
        }
        *around.get_mut(depth).ok_or(ShapeError::TooDeep)? = due;
        depth += 1;
        due = inner;
    }
    Err(ShapeError::TooMany)
}

/// Reads an item's first byte and the number in or after it.
fn head(bytes: &[u8]) -> Result<(u8, u64, &[u8]), ShapeError> {
    let (first, rest) = bytes.split_first().ok_or(ShapeError::Truncated)?;
    let extra = match (first >> 5, first & 0x1f) {
        // Tags; simple values other than false, true, null and floating point numbers.
        (6, _) | (7, 0..=19 | 23 | 24) | (_, 28..=31) => return Err(ShapeError::Unknown(*first)),
        (_, 24) => 1,
        (_, 25) => 2,
        (_, 26) => 4,
        (_, 27) => 8,
        (_, small) => return Ok((*first, u64::from(small), rest)),
    };
    let (number, rest) = rest.split_at_checked(extra).ok_or(ShapeError::Truncated)?;
    Ok((*first, number.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bombs_are_refused_before_anything_is_built() {
        let huge_array = [0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        let huge_map = [0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        let huge_text = [0x7b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        for bomb in [&huge_array[..], &huge_map, &huge_text, &[0x9a, 0, 0x10, 0, 0], &[]] {
            assert_eq!(check(bomb), Err(ShapeError::Truncated), "{bomb:x?}");
        }
        assert_eq!(check(&vec![0x81; 100_000]), Err(ShapeError::TooDeep));
        let mut empties = vec![0x9a];
        empties.extend((MAX_CBOR_ITEMS as u32).to_be_bytes());
        empties.resize(5 + MAX_CBOR_ITEMS, 0x60);
        assert_eq!(check(&empties), Err(ShapeError::TooMany));
    }

    #[test]
    fn depth_and_number_are_allowed_up_to_the_limit() {
        let nested = |depth: usize| {
            let mut bytes = vec![0x81; depth];
            bytes.push(0);
            bytes
        };
        assert_eq!(check(&nested(MAX_CBOR_DEPTH as usize)), Ok(()));
        assert_eq!(check(&nested(MAX_CBOR_DEPTH as usize + 1)), Err(ShapeError::TooDeep));
        let mut many = vec![0x9a];
        many.extend((MAX_CBOR_ITEMS as u32 - 1).to_be_bytes());
        many.resize(5 + MAX_CBOR_ITEMS - 1, 0);
        assert_eq!(check(&many), Ok(()));
    }

    #[test]
    fn what_the_protocol_does_not_use_is_refused() {
        for bytes in [&[0xc0, 0x00][..], &[0x9f, 0xff], &[0xf7], &[0xf8, 0xff], &[0x1c], &[0x5f, 0xff]] {
            assert!(matches!(check(bytes), Err(ShapeError::Unknown(_))), "{bytes:x?}");
        }
        assert_eq!(check(&[0x00, 0x00]), Err(ShapeError::Trailing(1)));
        assert_eq!(check(&[0xfb, 0, 0, 0, 0, 0, 0, 0, 0]), Ok(()), "a float in a later field");
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_what_passes_is_one_item(bytes: Vec<u8>) {
            if check(&bytes).is_ok() {
                for cut in 0..bytes.len() {
                    prop_assert_eq!(check(&bytes[..cut]), Err(ShapeError::Truncated));
                }
            }
        }
    }
}
