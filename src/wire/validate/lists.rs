//! The limits of a page of what a node holds.

use super::{Violation, at_most};
use crate::limits::{MAX_CURSOR_BYTES, MAX_PAGE_ENTRIES, MAX_QUERY_BYTES};
use crate::protocol::OwnPage;

pub(super) fn request(
    after: Option<&serde_bytes::ByteBuf>,
    query: Option<&str>,
    most: u32,
) -> Result<(), Violation> {
    at_most("list.after", after.map_or(0, |after| after.len()), MAX_CURSOR_BYTES)?;
    at_most("list.query", query.map_or(0, str::len), MAX_QUERY_BYTES)?;
    at_most("list.most", most as usize, MAX_PAGE_ENTRIES)
}

pub(super) fn own_page(page: &OwnPage) -> Result<(), Violation> {
    at_most("list.entries", page.entries.len(), MAX_PAGE_ENTRIES)?;
    at_most("list.next", page.next.as_ref().map_or(0, |next| next.len()), MAX_CURSOR_BYTES)
}
