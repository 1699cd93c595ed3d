//! `docs/protocol.md` says what the code does: numbers, and names of messages and fields.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use p2pimg::limits;
use p2pimg::protocol::{self, CLIENT_PROTOCOL, IDENTIFY_VERSION, KAD_PROTOCOL, PEER_PROTOCOL};

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("a text file")
}

/// The source of a module and of the modules in it.
fn room(name: &str) -> String {
    let folder =
        fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(name)).expect("a folder");
    let inner = folder.map(|entry| fs::read_to_string(entry.expect("a file").path()).expect("a text file"));
    inner.fold(read(&format!("src/{name}.rs")), |all, part| all + &part)
}

/// The second column of the table row that begins with `name`.
fn value<'a>(document: &'a str, name: &str) -> Option<&'a str> {
    let row = document.lines().find(|line| line.starts_with(&format!("| `{name}` |")))?;
    row.split('|').nth(2).map(str::trim)
}

macro_rules! numbers {
    ($($name:ident),* $(,)?) => { [$((stringify!($name), limits::$name.to_string())),*] };
}

macro_rules! seconds {
    ($($name:ident),* $(,)?) => { [$((stringify!($name), limits::$name)),*] };
}

#[test]
fn limits_are_those_of_the_code() {
    let document = read("docs/protocol.md");
    let in_tables = numbers![
        MAX_HEADER_BYTES,
        MAX_PAYLOAD_BYTES,
        MAX_CBOR_DEPTH,
        MAX_CBOR_ITEMS,
        CHUNK_BYTES,
        RUN_CHUNKS,
        MAX_CONTENT_BYTES,
        MAX_PAGE_ENTRIES,
        MAX_HOLDING_KEYS,
        MAX_MATCHES,
        MAX_MEMBERS,
        MAX_ADDRESSES_PER_PEER,
        MAX_ADDRESS_BYTES,
        MAX_OWN_ADDRESSES,
        MAX_REPORTED_PROBLEMS,
        MAX_TEXT_BYTES,
        MAX_FILTER_BYTES,
        MAX_QUERY_BYTES,
        MIN_PREFIX_DIGITS,
        MAX_CURSOR_BYTES,
        MAX_DESCRIBED,
        MAX_EDITS,
        MAX_WITNESSES,
        MAX_OFFERED,
        MAX_ZONE_BYTES,
        MAX_GROUPS,
        MAX_GROUP_LOSERS,
        MAX_HISTORY_NUMBERS,
        MAX_ENTRY_ITEMS,
        MAX_NAME_BYTES,
        MAX_REMOVALS_TOLD,
        MAX_SIMILAR,
        MAX_SIMILAR_DISTANCE,
        MAX_BANDS_STORED,
        MAX_BANDS_ASKED,
        MAX_NEAR_DISTANCE,
        MAX_NEAR,
        MAX_NEAR_TOLD,
        MAX_BAND_SENDERS,
    ];
    for (name, number) in in_tables {
        assert_eq!(value(&document, name), Some(number.as_str()), "{name}");
    }
    for (name, time) in seconds![HOLDER_DEADLINE, PEER_DEADLINE, RELAY_DEADLINE, CLIENT_DEADLINE] {
        let documented = value(&document, name).and_then(|s| s.parse().ok()).map(Duration::from_secs);
        assert_eq!(documented, Some(time), "{name}");
    }
    // No row for a limit that the code doesn't have.
    let source = room("limits");
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    for name in rows.filter(|name| name.chars().all(|c| c.is_ascii_uppercase() || c == '_')) {
        assert!(source.contains(&format!("pub const {name}:")), "{name}");
    }
}

/// Numbers that stand in sentences.
#[test]
fn limits_in_sentences_are_those_of_the_code() {
    let document = read("docs/protocol.md").split_whitespace().collect::<Vec<_>>().join(" ");
    let sentences = [
        format!("{} bytes (`PAGE_BYTES`)", limits::PAGE_BYTES),
        format!("{} requests worked on at once (`MAX_SERVED_PER_PEER`)", limits::MAX_SERVED_PER_PEER),
        format!("{} streams of a protocol open", limits::MAX_STREAMS_PER_CONNECTION),
        format!("{} chunks in flight", limits::CHUNK_WINDOW),
        format!("{} times (`MAX_BUSY_RETRIES`)", limits::MAX_BUSY_RETRIES),
        format!(
            "from {} s to {} s",
            limits::BUSY_PAUSE_FIRST.as_secs_f64(),
            limits::BUSY_PAUSE_LONGEST.as_secs_f64()
        ),
        format!("one every {} s", limits::PING_INTERVAL.as_secs()),
        format!("at most every {} ms", limits::ANNOUNCE_EVERY.as_millis()),
        format!(
            "pause of {} s to {} s",
            limits::PULL_RETRY_FIRST.as_secs(),
            limits::PULL_RETRY_LONGEST.as_secs()
        ),
        format!("and {} in all", limits::MAX_PULLS),
        format!("live {} hours", limits::RECORD_TTL.as_secs() / 3600),
        format!("within every {}.", limits::REPUBLISH_EVERY.as_secs() / 3600),
        format!("at most {} providers", limits::MAX_PROVIDERS_PER_KEY),
        format!("{} (`MAX_KAD_MESSAGE`)", limits::MAX_KAD_MESSAGE),
        format!("{} peers of each kind count (`MAX_KAD_PEERS`)", limits::MAX_KAD_PEERS),
        format!("after every {} (`KAD_ACK_EVERY`)", limits::KAD_ACK_EVERY),
        format!("at most {} unanswered (`KAD_ASK_WINDOW`)", limits::KAD_ASK_WINDOW),
        format!("more than {} s (`KAD_STEP_DEADLINE`)", limits::KAD_STEP_DEADLINE.as_secs()),
        format!("`hash_version` ({};", protocol::HASH_VERSION),
        format!("Nested at most {} deep, at most {} values", limits::MAX_CBOR_DEPTH, limits::MAX_CBOR_ITEMS),
    ];
    for sentence in sentences {
        assert!(document.contains(&sentence), "the document does not say: {sentence}");
    }
    assert_eq!(limits::MAX_PING_FAILURES, 1, "the document says: the first failure");
}

fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

/// Every name that serde writes, read from the source: variants of the enums, in the case
/// that travels, names of the structs and their fields.
fn names() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let protocol = room("protocol");
    let types = read("src/types.rs");
    let facts = types.split("pub struct Facts").nth(1).and_then(|rest| rest.split("\n}").next());
    let lines = protocol.lines().chain(facts.expect("Facts").lines());
    let mut in_enum = false;
    for line in lines {
        let text = line.trim();
        let name: String = text.trim_start_matches("pub ").trim_start_matches("struct ").to_owned();
        let word: String = name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if line.starts_with("pub enum") {
            in_enum = true;
        } else if line.starts_with('}') {
            in_enum = false;
        } else if line.starts_with("pub struct")
            || (line.starts_with("    pub ") && !text.starts_with("pub fn"))
        {
            names.insert(word);
        } else if in_enum && !word.is_empty() && !text.starts_with("//") {
            names.insert(if line.starts_with("        ") { word } else { snake_case(&word) });
        }
    }
    names
}

#[test]
fn every_name_on_the_wire_is_documented() {
    let document = read("docs/protocol.md");
    let names = names();
    for known in ["hello", "catalog", "not_found", "refused", "to_publish", "taken_at", "index", "ImageRow"] {
        assert!(names.contains(known), "the scan lost {known}: {names:?}");
    }
    let missing: Vec<_> = names.iter().filter(|name| !document.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "not in docs/protocol.md: {missing:?}");
}

#[test]
fn protocol_names_are_those_of_the_code() {
    let document = read("docs/protocol.md");
    for name in [KAD_PROTOCOL, PEER_PROTOCOL, CLIENT_PROTOCOL, IDENTIFY_VERSION] {
        assert!(document.contains(&format!("`{name}`")), "{name}");
    }
}
