//! Many keys looked up at once: each at the nodes closest to it, on one stream a node.

use std::collections::{HashMap, HashSet};

use futures::StreamExt as _;
use futures::stream;
use libp2p::PeerId;
use libp2p_stream::Control;

use super::message::{Key, Peer};
use super::{Providers, StreamError, ask_providers};
use crate::dht_index::keyspace::Keyspace;
use crate::limits::{LOOKUP_ROUNDS, MAX_ASKED_AT_ONCE, MAX_LOOKUPS_AT_ONCE};

/// What came of looking many keys up.
#[derive(Debug, Default)]
pub struct Found {
    /// The providers of each key that has some.
    pub providers: HashMap<Key, Vec<Peer>>,
    /// Keys for which no node that was asked knows any. A query of its own may still find some,
    /// since it also asks nodes that this one knows nothing of.
    pub missing: Vec<Key>,
    /// Nodes that did not answer, and why.
    pub failed: Vec<(PeerId, StreamError)>,
}

/// Looks `keys` up, each at the node of `space` closest to it, and where that knows none at the next
/// one, [`LOOKUP_ROUNDS`] in all. Only nodes that are `connected` are asked: see the parent
/// module. The caller looks into its own store first: it may itself be the closest.
pub async fn providers_of_many(
    control: &Control,
    space: &Keyspace,
    connected: impl Fn(&PeerId) -> bool,
    keys: impl IntoIterator<Item = Key>,
) -> Found {
    let mut found = Found::default();
    let mut silent = HashSet::new();
    // How many nodes have said that they know of none.
    let mut open: HashMap<Key, usize> = keys.into_iter().map(|key| (key, 0)).collect();
    // A node that is silent costs a round without bringing a key nearer to its answer.
    for _ in 0..2 * LOOKUP_ROUNDS {
        let batches = batches(space, &open, |peer| connected(peer) && !silent.contains(peer));
        if batches.is_empty() {
            break;
        }
        let mut answers = stream::iter(batches)
            .map(|(peer, keys)| {
                let mut control = control.clone();
                async move {
                    let answer = ask_providers(&mut control, peer, &keys).await;
                    (peer, keys, answer)
                }
            })
            .buffer_unordered(MAX_ASKED_AT_ONCE);
        while let Some((peer, keys, answer)) = answers.next().await {
            match answer {
                Ok(answers) => note(&mut found, &mut open, keys, answers),
                Err(error) => {
                    if silent.insert(peer) {
                        found.failed.push((peer, error));
                    }
                }
            }
        }
    }
    found.missing = open.into_keys().collect();
    found
}

fn note(found: &mut Found, open: &mut HashMap<Key, usize>, keys: Vec<Key>, answers: Vec<Providers>) {
    for (key, Providers(providers)) in keys.into_iter().zip(answers) {
        if providers.is_empty() {
            if let Some(asked) = open.get_mut(&key) {
                *asked += 1;
            }
        } else {
            open.remove(&key);
            found.providers.insert(key, providers);
        }
    }
}

/// Whom to ask for what now, at most [`MAX_LOOKUPS_AT_ONCE`] keys at a time. A key that
/// [`LOOKUP_ROUNDS`] nodes don't know is in none.
fn batches(
    space: &Keyspace,
    open: &HashMap<Key, usize>,
    asks: impl Fn(&PeerId) -> bool,
) -> Vec<(PeerId, Vec<Key>)> {
    let mut groups: HashMap<PeerId, Vec<Key>> = HashMap::new();
    for (key, asked) in open.iter().filter(|(_, asked)| **asked < LOOKUP_ROUNDS) {
        // Some of the closest may be silent or unconnected: look a little further.
        let mut closest = space.closest(key, 4 * LOOKUP_ROUNDS).into_iter().filter(&asks);
        if let Some(peer) = closest.nth(*asked) {
            groups.entry(peer).or_default().push(*key);
        }
    }
    let mut batches = Vec::new();
    for (peer, keys) in groups {
        batches.extend(keys.chunks(MAX_LOOKUPS_AT_ONCE).map(|some| (peer, some.to_vec())));
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dht_index::keys::KEY_BYTES;

    #[test]
    fn each_key_is_asked_of_the_closest_that_can_be_asked_and_then_of_the_next() {
        let peers: Vec<PeerId> = (0..10).map(|_| PeerId::random()).collect();
        let space = Keyspace::new(peers);
        let key = [3; KEY_BYTES];
        let closest = space.closest(&key, 10);
        let asked = |asked, silent: Option<PeerId>| {
            let open = HashMap::from([(key, asked)]);
            batches(&space, &open, |peer| Some(*peer) != silent).first().map(|(peer, _)| *peer)
        };
        assert_eq!(asked(0, None), Some(closest[0]));
        assert_eq!(asked(1, None), Some(closest[1]));
        assert_eq!(asked(0, Some(closest[0])), Some(closest[1]));
        assert_eq!(asked(LOOKUP_ROUNDS, None), None);
    }

    #[test]
    fn a_batch_is_bounded() {
        let space = Keyspace::new([PeerId::random()]);
        let open: HashMap<Key, usize> = (0..=2 * MAX_LOOKUPS_AT_ONCE)
            .map(|n| {
                let mut key = [0; KEY_BYTES];
                key[..8].copy_from_slice(&n.to_be_bytes());
                (key, 0)
            })
            .collect();
        let mut sizes: Vec<usize> =
            batches(&space, &open, |_| true).iter().map(|(_, keys)| keys.len()).collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [1, MAX_LOOKUPS_AT_ONCE, MAX_LOOKUPS_AT_ONCE]);
    }
}
