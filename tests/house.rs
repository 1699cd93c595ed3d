//! Keeps the house tidy: imports go down only, floors 0 and 1 have no side effects, files
//! stay short (`docs/architecture.md`).
//!
//! A scan of the text, not a parser: comments and literals are blanked, and `crate::` paths
//! (in groups `crate::{a, b}` too) are taken from the rest, tests beside the code included:
//! a test may not import upwards either. For side effects, what stands after a file's first
//! `#[cfg(test)]` at the start of a line, and files named `tests.rs`, are left out: tests may
//! read the clock.

use std::fs;
use std::path::{Path, PathBuf};

/// Every module of `lib.rs`, and its floor.
const FLOORS: &[(&str, u8)] = &[
    ("types", 0),
    ("protocol", 0),
    ("limits", 0),
    ("error", 0),
    ("backoff", 1),
    ("brake", 1),
    ("catalog", 1),
    ("dedup", 1),
    ("dht_index", 1),
    ("membership", 1),
    ("picture", 1),
    ("replication", 1),
    ("transfer", 1),
    ("store", 2),
    ("behaviour", 3),
    ("wire", 3),
    ("client", 4),
    ("node", 4),
    ("cli", 5),
    ("client_cli", 5),
    ("node_cli", 5),
    ("scan_cli", 5),
    ("trash_cli", 5),
    ("main", 6),
];

/// What floors 0 and 1 never touch. `std::time::Instant` as a type is theirs; its `now` isn't.
const SIDE_EFFECTS: &[&str] = &[
    "std::fs",
    "std::net",
    "std::env",
    "std::process::Command",
    "std::thread",
    "tokio",
    "SystemTime",
    "Instant::now",
    "rand",
    "getrandom",
    "RandomState",
    "thread_rng",
];

const MAX_LINES: usize = 500;

fn floor(module: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == module).map(|(_, floor)| *floor)
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn rust_files(folder: &Path, into: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> =
        fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            rust_files(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

/// The top module a file belongs to: `src/wire/codec.rs` to `wire`.
fn module_of(file: &Path) -> String {
    let below = file.strip_prefix(source()).expect("below src").with_extension("");
    let first = below.components().next().expect("a name");
    first.as_os_str().to_string_lossy().into_owned()
}

/// The text with comments and the insides of literals blanked; line breaks stay.
fn code_only(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let mut out = String::with_capacity(text.len());
    let mut i = 0;
    let blank = |c: char| if c == '\n' { '\n' } else { ' ' };
    while i < chars.len() {
        let end = match (at(i), at(i + 1)) {
            ('/', '/') => (i..chars.len()).find(|j| at(*j) == '\n').unwrap_or(chars.len()),
            ('/', '*') => {
                let (mut depth, mut j) = (1, i + 2);
                while depth > 0 && j < chars.len() {
                    let (step, change) = match (at(j), at(j + 1)) {
                        ('/', '*') => (2, 1),
                        ('*', '/') => (2, -1),
                        _ => (1, 0),
                    };
                    depth += change;
                    j += step;
                }
                j
            }
            ('r', '"' | '#') if i == 0 || !(at(i - 1).is_alphanumeric() || at(i - 1) == '_') => {
                let hashes = (i + 1..chars.len()).take_while(|j| at(*j) == '#').count();
                if at(i + 1 + hashes) == '"' {
                    let closes = |j: usize| at(j) == '"' && (1..=hashes).all(|k| at(j + k) == '#');
                    (i + 2 + hashes..chars.len()).find(|j| closes(*j)).map_or(chars.len(), |j| j + 1 + hashes)
                } else {
                    i
                }
            }
            ('"', _) => {
                let mut j = i + 1;
                while j < chars.len() && at(j) != '"' {
                    j += if at(j) == '\\' { 2 } else { 1 };
                }
                j + 1
            }
            ('\'', '\\') => (i + 3..chars.len()).find(|j| at(*j) == '\'').map_or(chars.len(), |j| j + 1),
            // A character, and not the start of a lifetime.
            ('\'', _) if at(i + 2) == '\'' => i + 3,
            _ => i,
        };
        if end == i {
            out.push(at(i));
            i += 1;
        } else {
            out.extend(chars[i..end.min(chars.len())].iter().map(|c| blank(*c)));
            i = end;
        }
    }
    out
}

fn word(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The modules named by `crate::` paths, each with its line.
fn imports(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (start, matched) in code.match_indices("crate::") {
        let line = 1 + code[..start].matches('\n').count();
        // `$crate` and `p2pimg_crate` are something else.
        if code[..start].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = code[start + matched.len()..].trim_start();
        let Some(group) = rest.strip_prefix('{') else {
            found.push((line, word(rest)));
            continue;
        };
        let (mut depth, mut begins) = (0, true);
        for (i, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => begins = true,
                c if begins && !c.is_whitespace() => {
                    let lines_in = group[..i].matches('\n').count();
                    found.push((line + lines_in, word(&group[i..])));
                    begins = false;
                }
                _ => {}
            }
        }
    }
    found
}

fn contains_word(line: &str, what: &str) -> bool {
    let joins = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(what)
        .any(|(at, _)| !line[..at].ends_with(joins) && !line[at + what.len()..].starts_with(joins))
}

/// `use std::{fs, io}` as `std::fs std::io`, so that a group hides nothing.
fn ungrouped(line: &str) -> String {
    let Some((before, group)) = line.split_once("std::{") else { return line.to_owned() };
    let names = group.split([',', '{', '}', ';']).map(|name| format!(" std::{}", name.trim()));
    before.chars().chain(names.collect::<String>().chars()).collect()
}

struct File {
    name: String,
    module: String,
    lines: usize,
    code: String,
}

fn files() -> Vec<File> {
    let mut paths = Vec::new();
    rust_files(&source(), &mut paths);
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a text file");
        let name =
            path.strip_prefix(env!("CARGO_MANIFEST_DIR")).expect("in the project").display().to_string();
        File { name, module: module_of(&path), lines: text.lines().count(), code: code_only(&text) }
    };
    paths.into_iter().map(read).collect()
}

fn assert_none(offences: &[String], rule: &str) {
    assert!(offences.is_empty(), "{rule}:\n{}\n", offences.join("\n"));
}

#[test]
fn every_module_has_a_floor() {
    let missing: Vec<_> = files()
        .iter()
        .filter(|file| file.module != "lib" && floor(&file.module).is_none())
        .map(|file| format!("{}: module {} is not in FLOORS of tests/house.rs", file.name, file.module))
        .collect();
    assert_none(&missing, "every module of lib.rs has a floor");
}

#[test]
fn imports_go_down_only() {
    let mut offences = Vec::new();
    for file in files().iter().filter(|file| file.module != "lib") {
        let from = floor(&file.module).unwrap_or(u8::MAX);
        for (line, module) in imports(&file.code) {
            // What is no module is an item or macro of lib.rs, and there are none.
            match floor(&module) {
                Some(to) if to <= from => {}
                Some(to) => offences.push(format!(
                    "{}:{line}: floor {from} ({}) imports {module} from floor {to}",
                    file.name, file.module
                )),
                None => offences.push(format!("{}:{line}: crate::{module} has no floor", file.name)),
            }
        }
    }
    assert_none(&offences, "imports go down only");
}

#[test]
fn decisions_have_no_side_effects() {
    let mut offences = Vec::new();
    for file in files().iter().filter(|file| floor(&file.module).is_some_and(|floor| floor <= 1)) {
        if file.name.ends_with("/tests.rs") {
            continue;
        }
        for (at, line) in
            file.code.lines().enumerate().take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
        {
            let line = ungrouped(line);
            for what in SIDE_EFFECTS.iter().filter(|what| contains_word(&line, what)) {
                offences.push(format!("{}:{}: {what} on floor 0 or 1", file.name, at + 1));
            }
        }
    }
    assert_none(&offences, "floors 0 and 1 decide, they do no I/O and read no clock");
}

#[test]
fn files_have_one_job_and_fit_a_head() {
    let long: Vec<_> = files()
        .iter()
        .filter(|file| file.lines > MAX_LINES)
        .map(|file| format!("{}:{}: more than {MAX_LINES} lines", file.name, file.lines))
        .collect();
    assert_none(&long, "a file past 500 lines wants to be two");
}

#[test]
fn the_scan_sees_what_it_should() {
    let text = "//! crate::node\nuse crate::{types::{A, B},\n  wire::codec, node};\nlet s = \"crate::cli\"; /* crate::x */\nlet c = '\"'; crate::store::f::<'a>(r#\"crate::y\"#);\n";
    let found = imports(&code_only(text));
    let expected = [(2, "types"), (3, "wire"), (3, "node"), (5, "store")];
    assert_eq!(found, expected.map(|(line, name)| (line, name.to_owned())));
    assert!(contains_word(&ungrouped("use std::{fs, io};"), "std::fs"));
    assert!(contains_word("let now = Instant::now();", "Instant::now"));
    assert!(!contains_word("let operand = 1;", "rand"));
}
