//! `p2pimg client list`.

use std::cmp::Ordering;

use super::Session;
use super::rows::{RowJson, Table, json_line, tab_separated};
use crate::cli::{Failure, ListArgs, SortBy, screen};
use crate::error::ExitCode;
use crate::limits::MAX_SORTED_ROWS;
use crate::protocol::{ImageRow, ListPage};

/// Prints every content of the swarm.
pub(super) async fn run(session: &Session, args: &ListArgs) -> Result<ExitCode, Failure> {
    let mut printer = Printer::new(args.json);
    let mut pages = Pages::new(args.filter.as_deref());
    if args.sort.is_none() && !args.reverse {
        while let Some(rows) = pages.next(session).await? {
            printer.print(&rows)?;
        }
        return Ok(pages.end(printer.end()));
    }
    let mut all = Vec::new();
    while let Some(rows) = pages.next(session).await? {
        all.extend(rows);
        if all.len() > MAX_SORTED_ROWS {
            let message = format!(
                "more than {MAX_SORTED_ROWS} pictures to sort: leave --sort and --reverse out, or name fewer with --filter"
            );
            return Err(Failure::new(ExitCode::Other, message));
        }
    }
    sort(&mut all, args.sort.unwrap_or(SortBy::Hash), args.reverse);
    printer.print(&all)?;
    Ok(pages.end(printer.end()))
}

/// Where the next page starts.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    First,
    After(Vec<u8>),
    /// There is none.
    None,
}

/// The list of a swarm, page by page.
pub(super) struct Pages<'a> {
    filter: Option<&'a str>,
    next: Next,
    /// Nodes that did not answer, at most, for any page.
    silent: u32,
}

impl<'a> Pages<'a> {
    pub(super) fn new(filter: Option<&'a str>) -> Self {
        Self { filter, next: Next::First, silent: 0 }
    }

    /// The rows of the next page that has any; `None` after the last.
    pub(super) async fn next(&mut self, session: &Session) -> Result<Option<Vec<ImageRow>>, Failure> {
        while self.next != Next::None {
            let after = match std::mem::replace(&mut self.next, Next::None) {
                Next::After(place) => Some(place),
                Next::First | Next::None => None,
            };
            let page = session.ask(session.client.list(after.clone(), self.filter)).await?;
            let rows = self.take_page(after.as_deref(), page)?;
            if !rows.is_empty() {
                return Ok(Some(rows));
            }
        }
        Ok(None)
    }

    /// A node did not answer.
    pub(super) fn is_incomplete(&self) -> bool {
        self.silent > 0
    }

    /// What the list ends with: it may lack something.
    pub(super) fn end(&self, code: ExitCode) -> ExitCode {
        match self.silent {
            0 => return code,
            1 => screen::note("p2pimg: a node did not answer: what only it holds is missing"),
            silent => screen::note(&format!(
                "p2pimg: {silent} nodes did not answer: what only they hold is missing"
            )),
        }
        if code == ExitCode::Success { ExitCode::Degraded } else { code }
    }

    /// A node that answers with the same place again would be asked for ever.
    fn take_page(&mut self, after: Option<&[u8]>, page: ListPage) -> Result<Vec<ImageRow>, Failure> {
        let next = page.next.map(serde_bytes::ByteBuf::into_vec);
        if next.is_some() && next.as_deref() <= after {
            let message = "the node's list goes in circles: is it the same version as this client?";
            return Err(Failure::new(ExitCode::Other, message));
        }
        self.silent = self.silent.max(page.silent);
        self.next = next.map_or(Next::None, Next::After);
        Ok(page.rows)
    }
}

/// Prints rows in the form that was asked for.
struct Printer {
    json: bool,
    /// Columns of the terminal, when there is one.
    width: Option<usize>,
    table: Option<Table>,
    rows: u64,
}

impl Printer {
    fn new(json: bool) -> Self {
        Self { json, width: screen::width(), table: None, rows: 0 }
    }

    fn print(&mut self, rows: &[ImageRow]) -> Result<(), Failure> {
        // In pieces: one system call for many rows, and little memory for any number.
        for rows in rows.chunks(256) {
            let mut lines = Vec::with_capacity(rows.len());
            for row in rows {
                lines.push(match (self.json, self.width) {
                    (true, _) => json_line(&RowJson::from(row))?,
                    (false, None) => tab_separated(row),
                    (false, Some(width)) => {
                        let first = self.table.is_none();
                        let table = self.table.get_or_insert_with(|| Table::new(width, rows));
                        if first {
                            format!("{}\n{}", table.heading(), table.row(row))
                        } else {
                            table.row(row)
                        }
                    }
                });
            }
            self.rows += rows.len() as u64;
            if !lines.is_empty() {
                screen::print(&lines.join("\n"))?;
            }
        }
        Ok(())
    }

    fn end(self) -> ExitCode {
        if self.rows == 0 && self.width.is_some() && !self.json {
            screen::note("no pictures");
        }
        ExitCode::Success
    }
}

/// Sorts by `by`, then by picture and content, so that the order is always the same.
fn sort(rows: &mut [ImageRow], by: SortBy, reverse: bool) {
    let turn = |order: Ordering| if reverse { order.reverse() } else { order };
    rows.sort_unstable_by(|a, b| {
        let order = match by {
            SortBy::Hash => Ordering::Equal,
            SortBy::Name => a.path.cmp(&b.path),
            SortBy::Date => {
                // Without a date: last, whichever way round.
                let dated = b.facts.taken_at.is_some().cmp(&a.facts.taken_at.is_some());
                if dated.is_ne() {
                    return dated;
                }
                a.facts.taken_at.cmp(&b.facts.taken_at)
            }
            SortBy::Size => a.facts.bytes.cmp(&b.facts.bytes),
            SortBy::Pixels => pixels(a).cmp(&pixels(b)),
            SortBy::Copies => a.copies.cmp(&b.copies),
        };
        turn(order.then_with(|| (a.facts.image, a.content).cmp(&(b.facts.image, b.content))))
    });
}

fn pixels(row: &ImageRow) -> u64 {
    u64::from(row.facts.width) * u64::from(row.facts.height)
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::row;
    use super::*;
    use serde_bytes::ByteBuf;

    fn sorted(by: SortBy, reverse: bool) -> Vec<u8> {
        let mut rows = [row(3, b"b"), row(1, b"c"), row(2, b"a")];
        rows[0].facts.taken_at = None;
        rows[1].copies = 1;
        rows[2].facts.width = 1;
        sort(&mut rows, by, reverse);
        rows.iter().map(|row| row.content.0[0]).collect()
    }

    #[test]
    fn every_order_is_total_and_turns_round() {
        assert_eq!(sorted(SortBy::Hash, false), [1, 2, 3]);
        assert_eq!(sorted(SortBy::Hash, true), [3, 2, 1]);
        assert_eq!(sorted(SortBy::Name, false), [2, 3, 1]);
        assert_eq!(sorted(SortBy::Size, true), [3, 2, 1]);
        assert_eq!(sorted(SortBy::Pixels, false), [2, 1, 3]);
        assert_eq!(sorted(SortBy::Copies, false), [1, 2, 3]);
        assert_eq!(sorted(SortBy::Date, false), [1, 2, 3]);
        assert_eq!(sorted(SortBy::Date, true), [2, 1, 3], "undated stays last");
    }

    #[test]
    fn a_list_that_goes_in_circles_ends() {
        let page = |next: Option<&[u8]>| ListPage {
            rows: vec![],
            next: next.map(|n| ByteBuf::from(n.to_vec())),
            silent: 0,
        };
        let mut pages = Pages::new(None);
        pages.next = Next::None;
        assert!(pages.take_page(None, page(Some(b"a"))).is_ok());
        assert_eq!(pages.next, Next::After(b"a".to_vec()));
        assert!(pages.take_page(Some(b"a"), page(Some(b"a"))).is_err());
        assert!(pages.take_page(Some(b"b"), page(Some(b"a"))).is_err());
        assert!(pages.take_page(Some(b"a"), page(None)).is_ok());
    }
}
