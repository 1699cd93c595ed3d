//! What the times of capture say about two pictures.

use crate::types::CaptureTime;

/// Whether both know when they were taken, and not at the same time. Programs drop the
/// fraction of the second and the offset: what only one has is no difference.
pub(super) fn taken_apart(a: Option<&CaptureTime>, b: Option<&CaptureTime>) -> bool {
    let (Some(a), Some(b)) = (a, b) else { return false };
    let parts = |time: &CaptureTime| {
        let (second, rest) = time.as_str().split_at(19.min(time.as_str().len()));
        let offset_at = rest.find(['+', '-', 'Z']).unwrap_or(rest.len());
        let (fraction, offset) = rest.split_at(offset_at);
        let fraction = fraction.trim_start_matches('.').to_owned();
        (second.to_owned(), fraction, offset.to_owned())
    };
    let (a, b) = (parts(a), parts(b));
    let differ = |a: &str, b: &str| !a.is_empty() && !b.is_empty() && a != b;
    let digits = |fraction: &str| fraction.trim_end_matches('0').to_owned();
    let fractions = !a.1.is_empty() && !b.1.is_empty() && digits(&a.1) != digits(&b.1);
    a.0 != b.0 || fractions || differ(&a.2, &b.2)
}
