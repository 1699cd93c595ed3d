//! The calendar, as far as a name or a line for people needs it. UTC only: the machine's
//! time zone would take a library and a file that may not be there.

/// The last second of the year 9999: later ones would need more digits than a date has.
const LAST: u64 = 253_402_300_799;

/// Year, month, day, hour, minute and second of a number of seconds since 1970.
#[must_use]
pub fn utc(seconds: u64) -> [u64; 6] {
    let seconds = seconds.min(LAST);
    let (year, month, day) = date(seconds / 86_400);
    [year, month, day, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60]
}

/// Year, month and day of a number of days after 1970-01-01 (Howard Hinnant's
/// `civil_from_days`).
fn date(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_calendar() {
        for (seconds, moment) in [
            (0, [1970, 1, 1, 0, 0, 0]),
            (951_782_400, [2000, 2, 29, 0, 0, 0]),
            (1_763_896_099, [2025, 11, 23, 11, 8, 19]),
            (4_107_542_399, [2100, 2, 28, 23, 59, 59]),
            (4_107_542_400, [2100, 3, 1, 0, 0, 0]),
            (u64::MAX, [9999, 12, 31, 23, 59, 59]),
        ] {
            assert_eq!(utc(seconds), moment, "{seconds}");
        }
    }
}
