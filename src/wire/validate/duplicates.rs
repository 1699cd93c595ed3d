//! The limits of what is said about duplicates and drops.

use super::{Violation, at_most, rows, text};
use crate::limits::{
    MAX_ENTRY_ITEMS, MAX_GROUP_LOSERS, MAX_GROUPS, MAX_HISTORY_NUMBERS, MAX_MATCHES, MAX_MEMBERS,
    MAX_QUERY_BYTES,
};
use crate::protocol::{DuplicatesPage, HistoryRow, WhyAnswer};

pub(super) fn history_row(row: &HistoryRow) -> Result<(), Violation> {
    at_most("history.numbers", row.numbers.len(), MAX_HISTORY_NUMBERS)?;
    for (name, value) in &row.numbers {
        text("history.numbers (name)", name)?;
        text("history.numbers (value)", value)?;
    }
    at_most("history.trash", row.trash.as_ref().map_or(0, String::len), MAX_QUERY_BYTES)?;
    at_most("history.holders", row.holders.len(), MAX_ENTRY_ITEMS)
}

pub(super) fn page(page: &DuplicatesPage) -> Result<(), Violation> {
    at_most("duplicates.groups", page.groups.len(), MAX_GROUPS)?;
    for group in &page.groups {
        rows("duplicates.keeper", std::slice::from_ref(&group.keeper), 1)?;
        at_most("duplicates.losers", group.losers.len(), MAX_GROUP_LOSERS)?;
        for loser in &group.losers {
            rows("duplicates.losers.row", std::slice::from_ref(&loser.row), 1)?;
            text("duplicates.losers.reason", &loser.reason)?;
        }
    }
    Ok(())
}

pub(super) fn why(answer: &WhyAnswer) -> Result<(), Violation> {
    rows("why.rows", &answer.rows, MAX_MATCHES)?;
    at_most("why.qualities", answer.qualities.len(), MAX_MATCHES)?;
    answer.qualities.iter().try_for_each(|quality| text("why.qualities (text)", quality))?;
    at_most("why.history", answer.history.len(), MAX_MATCHES)?;
    answer.history.iter().try_for_each(|(_, row)| history_row(row))?;
    at_most("why.confirmed", answer.confirmed.len(), MAX_MATCHES * (MAX_MEMBERS + 1))
}
