//! The part of `status` that tells of copies.

use std::time::Duration;

use super::text::{count, duration, field, grouped, size};
use crate::protocol::{Census, CopiesStatus};

/// Whether a person should know.
pub(super) fn wants_attention(copies: &CopiesStatus) -> bool {
    copies.census.is_some_and(|census| census.short > 0) || copies.cut_off || copies.draining
}

/// How many copies everything has, and what is being done about it.
pub(super) fn lines(copies: &CopiesStatus) -> Vec<String> {
    let (Some(census), Some(surveyed_s)) = (copies.census, copies.surveyed_s) else { return Vec::new() };
    let mut lines = vec![field("copies", &format!("{} ({surveyed_s} s ago)", counts(&census)))];
    let mut more = |shown: bool, text: String| {
        if shown {
            lines.push(field("", &text));
        }
    };
    let missing = count(census.short, "picture");
    let wanted = count(copies.wanted.into(), "node");
    more(census.short > 0, format!("{missing} on fewer than {wanted}{}", awaited(&census)));
    more(copies.short > 0, format!("{} of this node still to be copied", count(copies.short, "picture")));
    more(
        copies.without_taker > 0,
        format!(
            "{}: no other node can take it; start one more, or one with room",
            grouped(copies.without_taker)
        ),
    );
    more(copies.incoming > 0, incoming(copies));
    more(
        copies.excess > 0,
        format!("{} here to be trimmed: there are enough on other nodes", count(copies.excess, "picture")),
    );
    more(
        copies.cut_off,
        "most other nodes vanished at once: waiting longer before new copies are made".into(),
    );
    more(copies.draining, "handing over everything, to leave".into());
    lines.push(field("room", &format!("{} for copies of others", size(copies.room))));
    lines
}

fn counts(census: &Census) -> String {
    let all = [
        (census.more, "on 3 nodes or more"),
        (census.two, "on 2"),
        (census.one, "on 1"),
        (census.none, "on none that is there"),
    ];
    let some = all.iter().filter(|(number, _)| *number > 0);
    let parts: Vec<String> = some.map(|(number, where_)| format!("{} {where_}", grouped(*number))).collect();
    if parts.is_empty() { "no pictures".to_owned() } else { parts.join(", ") }
}

fn awaited(census: &Census) -> String {
    match census.awaited {
        0 => String::new(),
        number => format!("; for {} a node is expected back", grouped(number)),
    }
}

fn incoming(copies: &CopiesStatus) -> String {
    let what = format!("{} coming, {}", count(copies.incoming, "picture"), size(copies.incoming_bytes));
    match copies.incoming_bytes.checked_div(copies.rate) {
        None => what,
        Some(seconds) => {
            let left = duration(Duration::from_secs(seconds));
            format!("{what} at {}/s: some {left}", size(copies.rate))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_short_and_what_comes_is_told() {
        let census = Census { contents: 12, none: 1, one: 2, two: 8, more: 1, short: 3, awaited: 1 };
        let copies = CopiesStatus {
            wanted: 2,
            census: Some(census),
            surveyed_s: Some(3),
            short: 2,
            incoming: 1,
            incoming_bytes: 4096,
            rate: 1024,
            ..CopiesStatus::default()
        };
        assert!(wants_attention(&copies));
        let text = lines(&copies).join("\n");
        for part in [
            "1 on 3 nodes or more, 8 on 2, 2 on 1, 1 on none that is there (3 s ago)",
            "3 pictures on fewer than 2 nodes; for 1 a node is expected back",
            "1 picture coming, 4.0 KiB at 1.0 KiB/s: some 4.0 s",
        ] {
            assert!(text.contains(part), "{part} in:\n{text}");
        }
        let healthy = Census { contents: 8, two: 8, ..Census::default() };
        assert!(!wants_attention(&CopiesStatus { census: Some(healthy), ..CopiesStatus::default() }));
        assert!(lines(&CopiesStatus::default()).is_empty(), "not known yet");
    }
}
