//! The payloads of messages about bands: entries of one length, one after the other.

use std::collections::HashMap;

use libp2p::PeerId;

use crate::dht_index::band_plan::Shown;
use crate::dht_index::bands::Bands;
use crate::limits::MAX_BAND_HOLDERS;
use crate::protocol::{BANDS_ENTRY_BYTES, BANDS_FOUND_BYTES, BANDS_QUESTION_BYTES};
use crate::store::bands::Near;
use crate::types::ContentId;

/// Stands for no holder.
const NOBODY: u16 = u16::MAX;

const _: () = assert!(BANDS_FOUND_BYTES == 2 + 64 + 2 * MAX_BAND_HOLDERS);

/// Appends an entry of `store_bands`.
pub(super) fn push_entry(out: &mut Vec<u8>, shown: &Shown, bands: Bands) {
    out.extend_from_slice(&shown.hash);
    out.extend_from_slice(&shown.content.0);
    out.extend_from_slice(&bands.0.to_be_bytes());
}

/// The entries of `store_bands`; `None` when they are not `count`.
pub(super) fn entries(payload: &[u8], count: u32) -> Option<impl Iterator<Item = (Shown, Bands)>> {
    let (entries, rest) = payload.as_chunks::<BANDS_ENTRY_BYTES>();
    let fits = rest.is_empty() && entries.len() == count as usize;
    fits.then(|| entries.iter().filter_map(|entry| Some((shown(entry)?, bands(entry.get(64..)?)?))))
}

/// Appends a question of `ask_bands`.
pub(super) fn push_question(out: &mut Vec<u8>, hash: &[u8; 32], bands: Bands) {
    out.extend_from_slice(hash);
    out.extend_from_slice(&bands.0.to_be_bytes());
}

/// The questions of `ask_bands`; `None` when they are not `count`.
pub(super) fn questions(payload: &[u8], count: u32) -> Option<Vec<([u8; 32], Bands)>> {
    let (questions, rest) = payload.as_chunks::<BANDS_QUESTION_BYTES>();
    let fits = rest.is_empty() && questions.len() == count as usize;
    fits.then(|| {
        questions.iter().filter_map(|q| Some((*q.first_chunk::<32>()?, bands(q.get(32..)?)?))).collect()
    })
}

/// What an answer is made of.
#[derive(Debug, Default)]
pub(super) struct Telling {
    /// Holders in the order of their numbers.
    pub(super) holders: Vec<PeerId>,
    numbers: HashMap<PeerId, u16>,
    pub(super) payload: Vec<u8>,
    /// Pictures.
    pub(super) count: u32,
}

impl Telling {
    /// Appends a picture that was found for a question.
    pub(super) fn push(&mut self, question: u16, near: &Near) {
        self.payload.extend_from_slice(&question.to_be_bytes());
        self.payload.extend_from_slice(&near.shown.hash);
        self.payload.extend_from_slice(&near.shown.content.0);
        for at in 0..MAX_BAND_HOLDERS {
            let number = near.holders.get(at).map_or(NOBODY, |holder| self.number(*holder));
            self.payload.extend_from_slice(&number.to_be_bytes());
        }
        self.count += 1;
    }

    fn number(&mut self, holder: PeerId) -> u16 {
        *self.numbers.entry(holder).or_insert_with(|| {
            self.holders.push(holder);
            (self.holders.len() - 1) as u16
        })
    }
}

/// The pictures of an answer, each with its question; `None` when they are not `count`, or name
/// holders that are not there.
pub(super) fn found(payload: &[u8], count: u32, holders: &[PeerId]) -> Option<Vec<(u16, Near)>> {
    let (entries, rest) = payload.as_chunks::<BANDS_FOUND_BYTES>();
    if !rest.is_empty() || entries.len() != count as usize {
        return None;
    }
    entries
        .iter()
        .map(|entry| {
            let (question, rest) = entry.split_first_chunk::<2>()?;
            let numbers = rest.get(64..)?.as_chunks::<2>().0.iter().map(|number| u16::from_be_bytes(*number));
            let named = numbers.filter(|number| *number != NOBODY);
            let holders =
                named.map(|number| holders.get(usize::from(number)).copied()).collect::<Option<Vec<_>>>()?;
            Some((u16::from_be_bytes(*question), Near { shown: shown(rest)?, holders }))
        })
        .collect()
}

fn shown(bytes: &[u8]) -> Option<Shown> {
    let (hash, rest) = bytes.split_first_chunk::<32>()?;
    Some(Shown { hash: *hash, content: ContentId(*rest.first_chunk::<32>()?) })
}

fn bands(bytes: &[u8]) -> Option<Bands> {
    Some(Bands(u16::from_be_bytes(*bytes.first_chunk::<2>()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown_of(number: u8) -> Shown {
        Shown { hash: [number; 32], content: ContentId([number + 100; 32]) }
    }

    #[test]
    fn what_is_written_is_read() {
        let mut payload = Vec::new();
        push_entry(&mut payload, &shown_of(1), Bands(5));
        push_entry(&mut payload, &shown_of(2), Bands::ALL);
        let read: Vec<_> = entries(&payload, 2).unwrap().collect();
        assert_eq!(read, [(shown_of(1), Bands(5)), (shown_of(2), Bands::ALL)]);
        assert!(entries(&payload, 1).is_none() && entries(&payload[1..], 2).is_none());

        let mut payload = Vec::new();
        push_question(&mut payload, &[7; 32], Bands(3));
        assert_eq!(questions(&payload, 1), Some(vec![([7; 32], Bands(3))]));
        assert!(questions(&payload, 0).is_none() && questions(&payload[1..], 1).is_none());

        let [one, two] = [(); 2].map(|()| PeerId::random());
        let near = [
            Near { shown: shown_of(1), holders: vec![two, one] },
            Near { shown: shown_of(2), holders: vec![one] },
            Near { shown: shown_of(3), holders: vec![] },
        ];
        let mut telling = Telling::default();
        for (near, question) in near.iter().zip([0, 9, 9]) {
            telling.push(question, near);
        }
        assert_eq!((telling.count, &telling.holders), (3, &vec![two, one]));
        let read = found(&telling.payload, 3, &telling.holders).unwrap();
        assert_eq!(read.iter().map(|(question, _)| *question).collect::<Vec<_>>(), [0, 9, 9]);
        assert!(read.into_iter().map(|(_, near)| near).eq(near));
        assert!(found(&telling.payload, 2, &telling.holders).is_none());
        assert!(found(&telling.payload, 3, &telling.holders[..1]).is_none(), "a holder that is not there");
    }
}
