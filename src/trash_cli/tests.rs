//! How a trash is shown. What the commands do to one is tested with the real binary
//! (`tests/cli.rs`).

use std::collections::BTreeMap;
use std::path::PathBuf;

use unicode_width::UnicodeWidthStr as _;

use super::rows::{EntryJson, Shelf, lines};
use super::*;
use crate::store::index::Fingerprint;
use crate::store::trash::{Cause, Entry, Keeper, KeptAt, Proof, Reason, State};
use crate::types::{ContentId, RelPath};

const DROPPED_AT: u64 = 1_763_896_099;
const DAY: u64 = 86_400;

fn entry(number: u32, path: &[u8]) -> Entry {
    Entry {
        id: format!("20251123-110819-{number}").parse().unwrap(),
        state: State::Dropped,
        path: RelPath::from_bytes(path.to_vec()).unwrap(),
        content: ContentId([1; 32]),
        dropped_at: DROPPED_AT,
        reason: Reason {
            cause: Cause::Superseded,
            numbers: BTreeMap::from([("distance".to_owned(), "3\x1b[2J".to_owned())]),
        },
        keeper: Some(Keeper {
            content: ContentId([2; 32]),
            at: KeptAt::Holders(vec!["12D3KooWa".to_owned(), "12D3KooWb".to_owned()]),
        }),
        facts: None,
        fingerprint: Fingerprint { bytes: 2048, mtime_ns: 0, ctime_ns: 0, inode: 1, device: 1 },
        proofs: vec![Proof { about: "12D3KooWa".to_owned(), data: vec![7] }],
    }
}

fn shelf(now: u64) -> Shelf {
    let trash = Some(PathBuf::from("/photos/.p2pimg/trash"));
    let place = Place { dir: "/photos".into(), state: "/photos/.p2pimg".into(), trash };
    Shelf::new(&place, 30, now)
}

#[test]
fn a_table_fits_its_terminal_and_names_entries_whole() {
    let entries = [entry(0, b"a/b.jpg"), entry(17, "ein sehr langer Pfad/写真/ümläut.jpg".as_bytes())];
    for width in [90, 100, 200] {
        let lines = lines(&entries, &shelf(DROPPED_AT + DAY), Some(width));
        assert!(lines.iter().all(|line| line.width() <= width), "{lines:#?}");
        assert!(
            lines[2].starts_with("20251123-110819-17  2025-11-23 11:08  2.0 KiB  superseded  in 29 d 0 h  ")
        );
        assert_eq!(lines[1].find("a/b.jpg"), lines[0].find("PATH"), "{lines:#?}");
    }
    let late = lines(&entries[..1], &shelf(DROPPED_AT + 30 * DAY), Some(100));
    assert!(late[1].contains("  due"), "{late:#?}");
    let mut leaving = entry(0, b"a.jpg");
    leaving.state = State::Restoring { to: leaving.path.clone() };
    assert!(lines(&[leaving], &shelf(DROPPED_AT), Some(100))[1].contains("being restored"));
}

#[test]
fn no_file_name_makes_a_field_or_a_line() {
    let lines = lines(&[entry(0, b"a\tb\nc\x1b[2J.jpg")], &shelf(DROPPED_AT), None);
    let start = "20251123-110819-0\t2025-11-23T11:08:19Z\t2048\tsuperseded\t2025-12-23T11:08:19Z\t";
    assert!(lines[0].starts_with(start), "{}", lines[0]);
    assert_eq!(lines[0].matches('\t').count(), 5);
    assert!(!lines[0].contains(['\n', '\x1b']));
}

#[test]
fn all_of_an_entry_is_shown_and_how_it_comes_back() {
    let text = show::lines(&entry(0, b"a/b.jpg"), &shelf(DROPPED_AT + DAY)).join("\n");
    for part in [
        "dropped     2025-11-23 11:08 UTC, 1 d 0 h ago",
        "why         a better version was in the swarm",
        "  distance: 3\\u{1b}[2J",
        "kept        c:0202",
        "at          2 nodes (then)\n  12D3KooWa\n  12D3KooWb",
        "proofs      1 proof of",
        "expires     2025-12-23 11:08 UTC, in 29 d 0 h",
        "file        /photos/.p2pimg/trash/20251123-110819-0/b.jpg",
        "restore     p2pimg trash restore 20251123-110819-0",
    ] {
        assert!(text.contains(part), "{part} in:\n{text}");
    }
    let mut local = entry(0, b"a.jpg");
    let at = KeptAt::Here(RelPath::from_bytes(b"best.jpg".to_vec()).unwrap());
    local.keeper = Some(Keeper { content: ContentId([2; 32]), at });
    local.proofs.clear();
    let text = show::lines(&local, &shelf(0)).join("\n");
    assert!(text.contains("at          best.jpg in the same folder") && !text.contains("proofs"), "{text}");
    assert!(text.contains("just now"), "a clock that went back: {text}");
}

#[test]
fn json_has_all_of_it() {
    let line = json_line(&EntryJson::new(&entry(0, b"\xff.jpg"), &shelf(DROPPED_AT))).unwrap();
    let json: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(json["entry"], "20251123-110819-0");
    assert_eq!((json["state"].as_str(), json["cause"].as_str()), (Some("dropped"), Some("superseded")));
    assert_eq!(json["path_hex"], "ff2e6a7067");
    assert_eq!(json["expires_at"], DROPPED_AT + 30 * DAY);
    assert_eq!(json["holders"][1], "12D3KooWb");
    assert_eq!(json["proofs"], 1);
    assert!(json["keeper_path"].is_null());
    assert_eq!(json["numbers"]["distance"], "3\x1b[2J");
}

#[test]
fn an_error_of_the_trash_has_its_exit_code() {
    let id: crate::store::trash::EntryId = "20251123-110819-0".parse().unwrap();
    assert_eq!(failure(&TrashError::NoEntry { id: id.clone() }).code, ExitCode::NotFound);
    assert_eq!(failure(&TrashError::Busy { id: id.clone() }).code, ExitCode::Other);
    assert_eq!(failure(&TrashError::Damaged { id, problem: String::new() }).code, ExitCode::Corrupt);
    assert_eq!(failure(&TrashError::InUse { path: "/photos".into() }).code, ExitCode::Refused);
}
