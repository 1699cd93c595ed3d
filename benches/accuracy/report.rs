//! Counting and printing.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use p2pimg::picture::same::{Doubt, Verdict};

use crate::visible::{JUST_NOTICEABLE, Visible};

/// What was found of one kind of variant.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) all: u32,
    pub(crate) same: u32,
    pub(crate) probable: u32,
    pub(crate) doubts: BTreeMap<&'static str, u32>,
    pub(crate) wrong: Vec<String>,
    pub(crate) invisible: u32,
}

impl Tally {
    pub(crate) fn count(&mut self, verdict: Verdict) {
        self.all += 1;
        match verdict {
            Verdict::Same(_) => self.same += 1,
            Verdict::Probable(doubt) => {
                self.probable += 1;
                *self.doubts.entry(doubt_name(&doubt)).or_default() += 1;
            }
            Verdict::Different(doubt) => *self.doubts.entry(doubt_name(&doubt)).or_default() += 1,
        }
    }

    pub(crate) fn wrong(&mut self, text: &str, visible: Option<Visible>) {
        self.invisible += u32::from(visible.is_some_and(Visible::is_invisible));
        self.wrong.push(format!("{text}; {}", describe(visible)));
    }
}

/// The difference beside a wrong row.
pub(crate) fn describe(visible: Option<Visible>) -> String {
    match visible {
        None => "visible difference not measured".to_owned(),
        Some(seen) => format!(
            "visible difference {:.2} at most, {:.2} on average{}",
            seen.most,
            seen.mean,
            if seen.is_invisible() { " (nobody sees it)" } else { "" }
        ),
    }
}

/// Variants in the order in which they are made.
pub(crate) type Tallies = BTreeMap<(usize, &'static str), Tally>;

pub(crate) fn print_copies(tallies: &Tallies) {
    println!("\ncopies: recall");
    for ((_, name), tally) in tallies {
        let part = f64::from(tally.same) * 100.0 / f64::from(tally.all.max(1));
        println!("  {name:24} {:4} of {:4}  {part:6.2} %  {}", tally.same, tally.all, refused(tally));
    }
}

pub(crate) fn print_changes(tallies: &Tallies) {
    println!(
        "\nchanges: taken for the same, wrongly; in brackets those that nobody sees (below {JUST_NOTICEABLE})"
    );
    for ((_, name), tally) in tallies {
        let wrong = tally.wrong.len();
        println!("  {name:24} {wrong:4} of {:4}  ({})  {}", tally.all, tally.invisible, refused(tally));
        for line in &tally.wrong {
            println!("      {line}");
        }
    }
}

fn refused(tally: &Tally) -> String {
    let mut text = format!("probable {}", tally.probable);
    for (name, count) in &tally.doubts {
        let _ = write!(text, ", {name} {count}");
    }
    text
}

pub(crate) fn doubt_name(doubt: &Doubt) -> &'static str {
    match doubt {
        Doubt::NoHash => "guard",
        Doubt::Distance(_) => "hash",
        Doubt::CaptureTimes => "time",
        Doubt::Edited | Doubt::EditedOften => "edit",
        Doubt::ContentOnly(_) => "traits",
        Doubt::TooSmall(_) => "small",
        Doubt::Aspect(_) => "aspect",
        Doubt::Signature(_) => "signature",
        Doubt::Pixels(_) => "pixels",
        Doubt::Colours(_) => "colours",
        Doubt::Closely(_) => "closely",
        Doubt::LessSharp(_) => "sharpness",
        Doubt::LessMetadata => "metadata",
        Doubt::Unreadable => "unreadable",
    }
}
