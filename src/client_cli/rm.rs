//! `p2pimg client rm`: removes pictures from the whole swarm.

use serde::Serialize;

use super::Session;
use super::rows::json_line;
use super::text::count;
use crate::cli::{Failure, RmArgs, screen};
use crate::error::ExitCode;
use crate::protocol::{ImageRow, RemovalAnswer, RemovalEnd};
use crate::types::printable;

/// The fields are part of the program's interface.
#[derive(Serialize)]
struct RmJson {
    hash: String,
    content: String,
    path: String,
    nodes: Vec<NodeJson>,
}

/// What one node did.
#[derive(Serialize)]
struct NodeJson {
    peer: String,
    end: RemovalEnd,
    files: u32,
    why: Option<String>,
}

/// Whether it was said twice.
pub(super) fn check(args: &RmArgs) -> Result<(), Failure> {
    if args.yes {
        return Ok(());
    }
    let many = count(args.hashes.len() as u64, "picture");
    let message = format!(
        "nothing was removed: {many} would go to the trash of every node that has it; if you mean it, add --yes"
    );
    Err(Failure::new(ExitCode::Refused, message))
}

/// Removes each; a failure does not keep the others.
pub(super) async fn run(session: &Session, args: &RmArgs) -> Result<ExitCode, Failure> {
    let mut worst = None;
    for hash in &args.hashes {
        let ended = async {
            let row = session.resolve_one(hash).await?;
            let answers = session.ask(session.client.remove(row.content)).await?;
            tell(&row, &answers, args.json)?;
            Ok::<_, Failure>(code(&answers))
        };
        match ended.await {
            Ok(None) => {}
            Ok(Some(code)) => drop(worst.get_or_insert(code)),
            Err(failure) if args.hashes.len() == 1 => return Err(failure),
            Err(failure) => {
                if let Some(message) = &failure.message {
                    screen::error(message);
                }
                worst.get_or_insert(failure.code);
                if failure.code == ExitCode::CannotConnect {
                    break;
                }
            }
        }
    }
    // All has been said.
    worst.map_or(Ok(ExitCode::Success), |code| Err(Failure::silent(code)))
}

/// `None` when it is gone everywhere.
fn code(answers: &[RemovalAnswer]) -> Option<ExitCode> {
    let has = |end| answers.iter().any(|answer| answer.end == end);
    match () {
        () if has(RemovalEnd::Spared) => Some(ExitCode::Refused),
        () if has(RemovalEnd::Later) || has(RemovalEnd::Away) => Some(ExitCode::Degraded),
        () => None,
    }
}

fn tell(row: &ImageRow, answers: &[RemovalAnswer], json: bool) -> Result<(), Failure> {
    if json {
        let nodes = answers.iter().map(|answer| NodeJson {
            peer: answer.peer.to_string(),
            end: answer.end,
            files: answer.files,
            why: answer.why.clone(),
        });
        return screen::print(&json_line(&RmJson {
            hash: row.facts.image.to_string(),
            content: row.content.to_string(),
            path: row.path.to_string(),
            nodes: nodes.collect(),
        })?);
    }
    let files: u64 = answers.iter().map(|answer| u64::from(answer.files)).sum();
    let nodes = answers.iter().filter(|answer| answer.files > 0).count() as u64;
    screen::print(&format!(
        "{}  {}  {} on {} to the trash",
        row.facts.image,
        row.path,
        count(files, "file"),
        count(nodes, "node")
    ))?;
    for answer in answers {
        if let Some(line) = line(answer) {
            screen::note(&line);
        }
    }
    Ok(())
}

/// What a person has to know of one node.
fn line(answer: &RemovalAnswer) -> Option<String> {
    let why = answer.why.as_deref().map(printable).unwrap_or_default();
    let peer = answer.peer;
    match answer.end {
        RemovalEnd::Removed | RemovalEnd::NotHere => None,
        RemovalEnd::Away => Some(format!("  {peer} is away: it removes the picture when it comes back")),
        RemovalEnd::Later => Some(format!("  {peer} removes it later: {why}")),
        RemovalEnd::Spared => Some(format!("  {peer} keeps it: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ContentId;

    fn answer(end: RemovalEnd) -> RemovalAnswer {
        let why = Some("a reason".to_owned());
        RemovalAnswer { content: ContentId([1; 32]), peer: libp2p::PeerId::random(), end, files: 1, why }
    }

    #[test]
    fn the_exit_code_tells_whether_it_is_gone_everywhere() {
        use RemovalEnd::{Away, Later, NotHere, Removed, Spared};
        for (ends, wanted) in [
            (&[Removed, NotHere][..], None),
            (&[Removed, Away], Some(ExitCode::Degraded)),
            (&[Later], Some(ExitCode::Degraded)),
            (&[Removed, Later, Spared], Some(ExitCode::Refused)),
        ] {
            let answers: Vec<_> = ends.iter().map(|end| answer(*end)).collect();
            assert_eq!(code(&answers), wanted, "{ends:?}");
            let told = ends.iter().filter(|end| !matches!(end, Removed | NotHere)).count();
            assert_eq!(answers.iter().filter_map(line).count(), told, "{ends:?}");
        }
        assert!(line(&answer(Spared)).unwrap().ends_with("keeps it: a reason"));
    }

    #[test]
    fn it_has_to_be_said_twice() {
        let args = |yes| RmArgs { hashes: vec!["abcdef".parse().unwrap()], yes, json: false };
        let failure = check(&args(false)).unwrap_err();
        assert_eq!(failure.code, ExitCode::Refused);
        assert!(failure.message.unwrap().contains("--yes"));
        assert_eq!(check(&args(true)), Ok(()));
    }
}
