//! The limits of what is said about similar pictures.

use super::{Violation, at_most, rows};
use crate::limits::{MAX_SIMILAR, MAX_SIMILAR_DISTANCE};
use crate::protocol::{SimilarPage, SimilarQuery};

pub(super) fn query(query: &SimilarQuery) -> Result<(), Violation> {
    at_most("similar.distance", query.distance as usize, MAX_SIMILAR_DISTANCE as usize)?;
    at_most("similar.limit", query.limit as usize, MAX_SIMILAR)
}

pub(super) fn page(page: &SimilarPage) -> Result<(), Violation> {
    at_most("similar.rows", page.rows.len(), MAX_SIMILAR)?;
    page.rows.iter().try_for_each(|similar| rows("similar.rows.row", std::slice::from_ref(&similar.row), 1))
}
