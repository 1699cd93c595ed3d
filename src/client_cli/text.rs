//! Numbers, times and columns for people.

use std::fmt::Write as _;
use std::time::Duration;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::protocol::DropCause;
use crate::types::calendar;

/// `1 image`, `2 images`.
#[must_use]
pub fn count(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", grouped(number))
}

/// `1,234,567`.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    digits.char_indices().fold(String::with_capacity(digits.len() * 4 / 3), |mut text, (at, digit)| {
        if at != 0 && at % 3 == first {
            text.push(',');
        }
        text.push(digit);
        text
    })
}

/// Bytes in the largest fitting unit of 1024: `812 B`, `1.5 MiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next().unwrap_or(&"KiB");
    // 1023.95 would be shown as 1024.0.
    while value >= 1023.95
        && let Some(next) = units.next()
    {
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// `340 ms`, `2.5 s`, `4 min 10 s`, `3 h 5 min`, `2 d 4 h`.
#[must_use]
pub fn duration(span: Duration) -> String {
    let secs = span.as_secs();
    match secs {
        0 => format!("{} ms", span.as_millis()),
        1..60 => format!("{:.1} s", (span.as_millis() / 100) as f64 / 10.0),
        60..3600 => format!("{} min {} s", secs / 60, secs % 60),
        3600..86_400 => format!("{} h {} min", secs / 3600, secs % 3600 / 60),
        _ => format!("{} d {} h", secs / 86_400, secs % 86_400 / 3600),
    }
}

/// `name        value`.
#[must_use]
pub fn field(name: &str, value: &str) -> String {
    format!("{name:<12}{value}")
}

/// A moment of UTC for people: `2026-11-23 11:08`.
#[must_use]
pub fn moment(seconds: u64) -> String {
    let [year, month, day, hour, minute, _] = calendar::utc(seconds);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}")
}

/// A moment for programs (RFC 3339): `2026-11-23T11:08:19Z`.
#[must_use]
pub fn timestamp(seconds: u64) -> String {
    let [year, month, day, hour, minute, second] = calendar::utc(seconds);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Why a file left its folder, in a word.
#[must_use]
pub fn cause_word(cause: DropCause) -> &'static str {
    match cause {
        DropCause::LocalDuplicate => "duplicate",
        DropCause::Superseded => "superseded",
        DropCause::Excess => "excess",
        DropCause::Removed => "removed",
        DropCause::Damaged => "damaged",
    }
}

/// Why a file left its folder.
#[must_use]
pub fn cause(cause: DropCause) -> &'static str {
    match cause {
        DropCause::LocalDuplicate => "a better version, or the same bytes, were in the same folder",
        DropCause::Superseded => "a better version was in the swarm",
        DropCause::Excess => "there were more copies than asked for",
        DropCause::Removed => "a person removed it",
        DropCause::Damaged => "its disk changed its bytes, and the good ones took its place",
    }
}

/// `text` in exactly `width` columns, cut at its end.
#[must_use]
pub fn left(text: &str, width: usize) -> String {
    let cut = cut_end(text, width);
    let fill = width.saturating_sub(cut.width());
    format!("{cut}{}", " ".repeat(fill))
}

/// `text` at the right edge of `width` columns; longer text is left whole, because a
/// number without its last digits is another number.
#[must_use]
pub fn right(text: &str, width: usize) -> String {
    format!("{}{text}", " ".repeat(width.saturating_sub(text.width())))
}

/// At most `width` columns of `text`.
fn cut_end(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut used = 1;
    let kept = text.chars().take_while(|c| {
        used += c.width().unwrap_or(0);
        used <= width
    });
    kept.chain(['…']).collect()
}

/// At most `width` columns of `text`, cut at its beginning: of a path, the name counts.
#[must_use]
pub fn cut_start(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut used = 1;
    let kept: Vec<char> = text
        .chars()
        .rev()
        .take_while(|c| {
            used += c.width().unwrap_or(0);
            used <= width
        })
        .collect();
    ['…'].into_iter().chain(kept.into_iter().rev()).collect()
}

/// A line of JSON whose strings can't drive a terminal: what JSON itself leaves as it is
/// (DEL, C1 controls, what redirects the reading order) becomes `\u....`, which every
/// JSON parser reads back as the same text.
#[must_use]
pub fn safe_json(line: &str) -> String {
    let drives = |c: char| crate::types::printable(c.encode_utf8(&mut [0; 4])).len() != c.len_utf8();
    if line.is_ascii() && !line.contains('\x7f') {
        return line.to_owned();
    }
    line.chars().fold(String::with_capacity(line.len()), |mut out, c| {
        if drives(c) {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(count(1, "image"), "1 image");
        assert_eq!(count(0, "image"), "0 images");
        for (number, text) in
            [(0, "0"), (999, "999"), (1000, "1,000"), (12_345, "12,345"), (1_234_567, "1,234,567")]
        {
            assert_eq!(grouped(number), text);
        }
        for (bytes, text) in
            [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1_048_575, "1.0 MiB"), (3 << 29, "1.5 GiB")]
        {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(size(u64::MAX), "16.0 EiB");
        for (ms, text) in [(5, "5 ms"), (2_550, "2.5 s"), (250_000, "4 min 10 s"), (11_100_000, "3 h 5 min")]
        {
            assert_eq!(duration(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn moments_say_the_same_to_people_and_programs() {
        assert_eq!(moment(1_763_896_099), "2025-11-23 11:08");
        assert_eq!(timestamp(1_763_896_099), "2025-11-23T11:08:19Z");
    }

    proptest! {
        #[test]
        fn columns_keep_their_width(text in "[a-zé写真ｱ…]{0,30}", width in 2usize..20) {
            prop_assert!(cut_start(&text, width).width() <= width);
            prop_assert_eq!(left(&text, width).width(), width);
        }

        #[test]
        fn safe_json_is_the_same_json_and_drives_nothing(text: String) {
            let line = serde_json::to_string(&text).unwrap();
            let safe = safe_json(&line);
            prop_assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), text);
            prop_assert_eq!(crate::types::printable(&safe), safe.clone());
        }
    }

    #[test]
    fn paths_lose_their_beginning_and_names_their_end() {
        assert_eq!(cut_start("holiday/2016/beach.jpg", 12), "…6/beach.jpg");
        assert_eq!(left("landscape", 5), "land…");
        assert_eq!(left("né", 4), "né  ");
        assert_eq!(right("12", 4), "  12");
        assert_eq!(cut_start("写真写真.jpg", 8), "…真.jpg", "wide characters count twice");
    }
}
