//! The limits of messages about bands.

use super::{Violation, at_most};
use crate::limits::{MAX_BAND_SENDERS, MAX_BANDS_ASKED, MAX_BANDS_STORED, MAX_NEAR_DISTANCE, MAX_NEAR_TOLD};
use crate::protocol::{AskBands, BandsFound, StoreBands};

pub(super) fn store(store: &StoreBands) -> Result<(), Violation> {
    at_most("store_bands.count", store.count as usize, MAX_BANDS_STORED)
}

pub(super) fn ask(ask: &AskBands) -> Result<(), Violation> {
    at_most("ask_bands.count", ask.count as usize, MAX_BANDS_ASKED)?;
    at_most("ask_bands.most", ask.most as usize, MAX_NEAR_DISTANCE as usize)
}

pub(super) fn found(found: &BandsFound) -> Result<(), Violation> {
    at_most("bands_found.count", found.count as usize, MAX_NEAR_TOLD)?;
    at_most("bands_found.holders", found.holders.len(), MAX_BAND_SENDERS)
}
