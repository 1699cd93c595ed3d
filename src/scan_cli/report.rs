//! The report, for people and for programs.

use serde_json::{Value, json};

use super::duplicates::{Duplicates, Why};
use crate::cli::{Failure, screen};
use crate::client_cli::text;
use crate::picture::same::DECISION_VERSION;
use crate::store::survey::{Survey, Surveyed};
use crate::types::Format;

/// Problems that are listed one by one.
const SHOWN_PROBLEMS: usize = 20;

/// Prints the report for people: the findings to standard output, problems beside it.
pub(super) fn table(survey: &Survey, found: Option<&Duplicates>, quiet: bool) -> Result<(), Failure> {
    if let Some(found) = found {
        for group in &found.groups {
            screen::print(&format!("keep      {}", line(survey, group.keeper)))?;
            for (loser, why) in &group.losers {
                let why = match why {
                    Why::Identical => "the same bytes".to_owned(),
                    Why::Same(evidence) => evidence.to_string(),
                };
                screen::print(&format!("  same    {}", line(survey, loser)))?;
                screen::print(&format!("            {why}"))?;
            }
        }
        for pair in &found.probable {
            screen::print(&format!("probable  {}", line(survey, pair.better)))?;
            screen::print(&format!("     and  {}", line(survey, pair.other)))?;
            screen::print(&format!("            {}", pair.doubt))?;
        }
        if !found.groups.is_empty() || !found.probable.is_empty() {
            screen::print("")?;
        }
    }
    let bytes = survey.pictures.iter().map(|picture| survey.facts(picture).facts.bytes).sum();
    let pictures = text::count(survey.pictures.len() as u64, "picture");
    screen::print(&format!("{pictures}, {}", text::size(bytes)))?;
    if let Some(found) = found {
        let files: usize = found.groups.iter().map(|group| group.losers.len()).sum();
        let freed = text::size(found.freed(survey));
        let (files, probable) = (
            text::count(files as u64, "duplicate"),
            text::count(found.probable.len() as u64, "probable pair"),
        );
        screen::print(&format!("{files}, {freed} that would be freed; {probable} to look at"))?;
    }
    if !quiet {
        for (kind, count) in &survey.unprotected {
            screen::note(&format!("not handled: {kind}: {}", text::count(*count, "file")));
        }
        for (path, problem) in survey.problems.iter().take(SHOWN_PROBLEMS) {
            screen::note(&format!("{path}: {problem}"));
        }
        if let more @ 1.. = survey.problems.len().saturating_sub(SHOWN_PROBLEMS) {
            screen::note(&format!("and {}", text::count(more as u64, "more problem")));
        }
    }
    Ok(())
}

/// What makes a file better or worse than another.
fn line(survey: &Survey, picture: &Surveyed) -> String {
    let known = survey.facts(picture);
    let (facts, path) = (&known.facts, &picture.path);
    let size = text::size(facts.bytes);
    format!("{path}  {}x{} {}{}, {size}", facts.width, facts.height, facts.format, loss(survey, picture))
}

fn loss(survey: &Survey, picture: &Surveyed) -> String {
    let known = survey.facts(picture);
    if known.facts.format == Format::Jpeg {
        format!(" {}", known.encoding.fidelity.describe())
    } else {
        String::new()
    }
}

/// Prints the report for programs.
pub(super) fn json(survey: &Survey, found: Option<&Duplicates>) -> Result<(), Failure> {
    let bytes: u64 = survey.pictures.iter().map(|picture| survey.facts(picture).facts.bytes).sum();
    let problems: Vec<Value> =
        survey.problems.iter().map(|(path, problem)| json!({ "path": path, "problem": problem })).collect();
    let mut report = json!({
        "folder": survey.dir().display().to_string(),
        "pictures": survey.pictures.len(),
        "bytes": bytes,
        "not_handled": survey.unprotected,
        "problems": problems,
    });
    if let (Some(found), Some(report)) = (found, report.as_object_mut()) {
        let groups = found.groups.iter().map(|group| {
            let losers = group.losers.iter().map(|(loser, why)| with_reason(file(survey, loser), *why));
            json!({ "keeper": file(survey, group.keeper), "losers": losers.collect::<Vec<_>>() })
        });
        let probable = found.probable.iter().map(|pair| {
            json!({
                "better": file(survey, pair.better),
                "other": file(survey, pair.other),
                "stage": pair.doubt.stage(),
                "why": pair.doubt.to_string(),
            })
        });
        report.insert("decision_version".to_owned(), json!(DECISION_VERSION));
        report.insert("groups".to_owned(), groups.collect());
        report.insert("probable".to_owned(), probable.collect());
        report.insert("freed_bytes".to_owned(), json!(found.freed(survey)));
    }
    screen::print(&text::safe_json(&report.to_string()))
}

fn file(survey: &Survey, picture: &Surveyed) -> Value {
    let known = survey.facts(picture);
    json!({
        "path": String::from_utf8_lossy(picture.path.as_bytes()),
        "content": known.content.to_string(),
        "image": known.facts.image.to_string(),
        "width": known.facts.width,
        "height": known.facts.height,
        "format": known.facts.format.name(),
        "bytes": known.facts.bytes,
        // 0 to 1000, 1001: lossless.
        "fidelity": known.encoding.fidelity.0,
        "taken_at": known.facts.taken_at,
    })
}

fn with_reason(mut file: Value, why: Why) -> Value {
    let reason = match why {
        Why::Identical => json!({ "reason": "identical" }),
        Why::Same(evidence) => json!({
            "reason": "same",
            "distance": evidence.distance,
            "structure": evidence.pixels.structure,
            "structure_closely": evidence.closely.structure,
            "sharpness": evidence.sharpness,
        }),
    };
    if let (Value::Object(file), Value::Object(reason)) = (&mut file, reason) {
        file.extend(reason);
    }
    file
}
