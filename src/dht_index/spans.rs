//! Parts of the keyspace, as sets of places.

/// A set of places: ranges with both ends in them, in order, none touching another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spans(Vec<(u64, u64)>);

impl Spans {
    /// No place.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Every place.
    #[must_use]
    pub fn all() -> Self {
        Self(vec![(0, u64::MAX)])
    }

    /// Of ranges in any order, which may overlap; a range that ends before it begins is left out.
    #[must_use]
    pub fn of(ranges: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let mut ranges: Vec<_> = ranges.into_iter().filter(|(from, to)| from <= to).collect();
        ranges.sort_unstable();
        let mut spans = Self::none();
        for (from, to) in ranges {
            spans.push(from, to);
        }
        spans
    }

    /// Adds a range that begins no earlier than the last one.
    pub(super) fn push(&mut self, from: u64, to: u64) {
        match self.0.last_mut() {
            Some(last) if last.1.checked_add(1).is_none_or(|next| from <= next) => last.1 = last.1.max(to),
            _ => self.0.push((from, to)),
        }
    }

    /// The ranges.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().copied()
    }

    /// How many ranges it takes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no place in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the place is in it.
    #[must_use]
    pub fn contains(&self, place: u64) -> bool {
        let after = self.0.partition_point(|(from, _)| *from <= place);
        after.checked_sub(1).and_then(|at| self.0.get(at)).is_some_and(|(_, to)| place <= *to)
    }

    /// What is in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self::of(self.iter().chain(other.iter()))
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut spans = Self::none();
        let (mut ours, mut theirs) = (self.iter().peekable(), other.iter().peekable());
        while let (Some(a), Some(b)) = (ours.peek().copied(), theirs.peek().copied()) {
            let (from, to) = (a.0.max(b.0), a.1.min(b.1));
            if from <= to {
                spans.push(from, to);
            }
            if a.1 < b.1 {
                ours.next()
            } else {
                theirs.next()
            };
        }
        spans
    }

    /// What is in this one only.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        self.intersection(&other.rest())
    }

    /// Every other place.
    fn rest(&self) -> Self {
        let mut spans = Self::none();
        let mut next = Some(0);
        for (from, to) in self.iter() {
            if let Some(next) = next
                && next < from
            {
                spans.0.push((next, from - 1));
            }
            next = to.checked_add(1);
        }
        if let Some(next) = next {
            spans.0.push((next, u64::MAX));
        }
        spans
    }

    /// Takes out a range.
    pub fn remove(&mut self, from: u64, to: u64) {
        // Nearly always there is nothing to do or little to copy.
        if self.0.iter().any(|(a, b)| *a <= to && from <= *b) {
            *self = self.without(&Self::of([(from, to)]));
        }
    }

    /// Keeps the `most` longest ranges.
    pub fn forget_shortest(&mut self, most: usize) {
        if self.0.len() > most {
            let mut lengths: Vec<u64> = self.0.iter().map(|(from, to)| to - from).collect();
            lengths.sort_unstable_by(|a, b| b.cmp(a));
            let least = lengths.get(most).copied().unwrap_or(0);
            let mut as_short = most - lengths.partition_point(|length| *length > least);
            self.0.retain(|(from, to)| {
                let stays = to - from > least || (to - from == least && as_short > 0);
                as_short -= usize::from(stays && to - from == least);
                stays
            });
        }
    }

    /// Fills the shortest gaps until `most` ranges are left, of which there is at least one.
    pub fn fill_gaps(&mut self, most: usize) {
        let most = most.max(1);
        if self.0.len() <= most {
            return;
        }
        let gaps = || self.0.iter().zip(self.0.iter().skip(1)).map(|(a, b)| b.0 - a.1);
        let mut longest: Vec<u64> = gaps().collect();
        longest.sort_unstable_by(|a, b| b.cmp(a));
        // Of `most` ranges, one less are the gaps.
        let least = longest.get(most - 1).copied().unwrap_or(0);
        let mut as_short = most - 1 - longest.partition_point(|gap| *gap > least);
        let mut filled = Self::none();
        for (from, to) in self.iter() {
            let gap = filled.0.last().map(|last| from - last.1);
            let stays = gap.is_none_or(|gap| gap > least || (gap == least && as_short > 0));
            if let Some(last) = filled.0.last_mut().filter(|_| !stays) {
                last.1 = to;
            } else {
                as_short -= usize::from(gap == Some(least));
                filled.0.push((from, to));
            }
        }
        *self = filled;
    }

    /// The share of the keyspace that it is.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.iter().map(|(from, to)| ((to - from) as f64 + 1.0) / 2_f64.powi(64)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Sixteen places spread over the keyspace, the last the last; each stands for the places up
    /// to the next one.
    const STEP: u64 = 1 << 60;

    fn spans(members: u16) -> Spans {
        let part = |n: u64| (n * STEP, n * STEP + (STEP - 1));
        Spans::of((0..16).rev().filter(|n| members & (1 << n) != 0).map(part))
    }

    proptest! {
        /// Against bits.
        #[test]
        fn sets_of_places_are_sets(a: u16, b: u16, from in 0..16_u64, more in 0..16_u64, most in 0..9_usize) {
            let (x, y) = (spans(a), spans(b));
            prop_assert_eq!(x.union(&y), spans(a | b));
            prop_assert_eq!(x.intersection(&y), spans(a & b));
            prop_assert_eq!(x.without(&y), spans(a & !b));
            prop_assert_eq!(x.is_empty(), a == 0);
            prop_assert!((x.share() - f64::from(a.count_ones()) / 16.0).abs() < 1e-9);
            for n in 0..16 {
                for place in [n * STEP, n * STEP + (STEP - 1)] {
                    prop_assert_eq!(x.contains(place), a & (1 << n) != 0);
                }
            }
            let to = (from + more).min(15);
            let mut without = x.clone();
            without.remove(from * STEP, to * STEP + (STEP - 1));
            let removed = (from..=to).fold(0_u16, |bits, n| bits | 1 << n);
            prop_assert_eq!(without, spans(a & !removed));
            let mut fewer = x.clone();
            fewer.forget_shortest(most);
            prop_assert!(fewer.len() == most.min(x.len()) && fewer.without(&x).is_empty());
            let mut filled = x.clone();
            filled.fill_gaps(most);
            prop_assert!(filled.len() == most.max(1).min(x.len()) && x.without(&filled).is_empty());
        }
    }

    #[test]
    fn the_ends_of_the_keyspace_are_places_too() {
        let mut all = Spans::all();
        assert!(all.without(&Spans::all()).is_empty());
        all.remove(u64::MAX, u64::MAX);
        all.remove(0, 0);
        all.remove(7, 7);
        assert_eq!(all.iter().collect::<Vec<_>>(), [(1, 6), (8, u64::MAX - 1)]);
        assert_eq!(Spans::of([(0, u64::MAX), (3, 4), (9, 8)]), Spans::all());
    }
}
