//! Kademlia's messages, written and read by hand.
//!
//! libp2p's own types are private. Three messages of a small, frozen format are needed, in
//! numbers that make a general protobuf encoder and its allocations the larger part of the cost.
//!
//! ```text
//! Message: 1 type (varint) | 2 key (bytes) | 8 closer peers (Peer, repeated) | 9 providers (same)
//! Peer:    1 peer id (bytes) | 2 address (bytes, repeated) | 3 connection (varint)
//! ```
//!
//! Before each message stands its length as a varint. Fields that are not known are skipped, as
//! protobuf wants it; an address that can't be understood too: there will be kinds of addresses
//! that this program has not heard of. Anything else that is wrong makes the message an error.

use libp2p::{Multiaddr, PeerId};
use thiserror::Error;

use crate::dht_index::keys::KEY_BYTES;
use crate::limits::{MAX_ADDRESS_BYTES, MAX_ADDRESSES_PER_PEER, MAX_KAD_PEERS};

/// A key of a provider record.
pub type Key = [u8; KEY_BYTES];

/// The types of message that are used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// "I provide this." Has no answer.
    AddProvider,
    /// "Who provides this?"
    GetProviders,
    /// "Who is close to this?"
    FindNode,
}

impl Kind {
    fn number(self) -> u8 {
        match self {
            Self::AddProvider => 2,
            Self::GetProviders => 3,
            Self::FindNode => 4,
        }
    }

    fn of(number: u64) -> Result<Self, MessageError> {
        match number {
            2 => Ok(Self::AddProvider),
            3 => Ok(Self::GetProviders),
            4 => Ok(Self::FindNode),
            _ => Err(MessageError::Kind(number)),
        }
    }
}

/// A node, and where it says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its id.
    pub id: PeerId,
    /// Its addresses, at most [`MAX_ADDRESSES_PER_PEER`].
    pub addresses: Vec<Multiaddr>,
}

/// A message as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// What it is about; libp2p's answers leave it empty.
    pub key: Vec<u8>,
    /// Nodes that are closer to the key, at most [`MAX_KAD_PEERS`].
    pub closer: Vec<Peer>,
    /// Providers of the key, at most [`MAX_KAD_PEERS`].
    pub providers: Vec<Peer>,
}

/// Why bytes are no message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MessageError {
    /// Ends before what it declares.
    #[error("a message ends before what it declares")]
    Truncated,
    /// A number of more than 64 bits.
    #[error("a number in a message is too long")]
    Number,
    /// Groups, and what protobuf has no meaning for.
    #[error("a message has a field of the unknown form {0}")]
    Form(u8),
    /// A field that is known in another form than it should have.
    #[error("field {0} of a message does not have its form")]
    Field(u64),
    /// A type that is no answer to what is asked here.
    #[error("a message has the unexpected type {0}")]
    Kind(u64),
    /// Not a peer id.
    #[error("a message names a node by an id that is none")]
    PeerId,
}

/// The field of an `ADD_PROVIDER` that names its sender. The same for all records of a stream.
#[must_use]
pub fn provider_field(me: PeerId, addresses: &[Multiaddr]) -> Vec<u8> {
    let mut peer = Vec::new();
    push_bytes(&mut peer, 1, &me.to_bytes());
    let short = addresses.iter().filter(|address| address.len() <= MAX_ADDRESS_BYTES);
    for address in short.take(MAX_ADDRESSES_PER_PEER) {
        push_bytes(&mut peer, 2, address.as_ref());
    }
    // "Connected": it is the sender itself.
    peer.extend([3 << 3, 1]);
    let mut field = Vec::with_capacity(peer.len() + 4);
    push_bytes(&mut field, 9, &peer);
    field
}

/// Appends a message with its length: `kind`, `key`, and the fields that follow them.
pub fn push_message(out: &mut Vec<u8>, kind: Kind, key: &Key, fields: &[u8]) {
    push_varint(out, (2 + 2 + KEY_BYTES + fields.len()) as u64);
    out.extend([1 << 3, kind.number()]);
    push_bytes(out, 2, key);
    out.extend_from_slice(fields);
}

/// Reads a message, without the length before it.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn read_message(bytes: &[u8]) -> Result<Message, MessageError> {
    let mut fields = Fields(bytes);
    let mut kind = 0;
    let mut message =
        Message { kind: Kind::FindNode, key: Vec::new(), closer: Vec::new(), providers: Vec::new() };
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => kind = value.number(number)?,
            2 => message.key = value.bytes(number)?.to_vec(),
            8 => push_peer(&mut message.closer, value.bytes(number)?)?,
            9 => push_peer(&mut message.providers, value.bytes(number)?)?,
            _ => {}
        }
    }
    message.kind = Kind::of(kind)?;
    Ok(message)
}

fn push_peer(peers: &mut Vec<Peer>, bytes: &[u8]) -> Result<(), MessageError> {
    let mut fields = Fields(bytes);
    let mut id = None;
    let mut addresses = Vec::new();
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => id = Some(PeerId::from_bytes(value.bytes(number)?).map_err(|_| MessageError::PeerId)?),
            2 => {
                let bytes = value.bytes(number)?;
                if addresses.len() < MAX_ADDRESSES_PER_PEER
                    && bytes.len() <= MAX_ADDRESS_BYTES
                    && let Ok(address) = Multiaddr::try_from(bytes.to_vec())
                {
                    addresses.push(address);
                }
            }
            _ => {}
        }
    }
    let id = id.ok_or(MessageError::PeerId)?;
    if peers.len() < MAX_KAD_PEERS {
        peers.push(Peer { id, addresses });
    }
    Ok(())
}

/// What a field says.
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Four or eight bytes; no field of these messages is one.
    Fixed,
}

impl<'a> Value<'a> {
    fn number(self, field: u64) -> Result<u64, MessageError> {
        if let Self::Number(number) = self { Ok(number) } else { Err(MessageError::Field(field)) }
    }

    fn bytes(self, field: u64) -> Result<&'a [u8], MessageError> {
        if let Self::Bytes(bytes) = self { Ok(bytes) } else { Err(MessageError::Field(field)) }
    }
}

/// The fields of a message that are still to be read.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn next(&mut self) -> Result<Option<(u64, Value<'a>)>, MessageError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| MessageError::Truncated)?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            form => return Err(MessageError::Form(form as u8)),
        };
        Ok(Some((tag >> 3, value)))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], MessageError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(MessageError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, MessageError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or(MessageError::Truncated)?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(MessageError::Number);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(MessageError::Number)
    }
}

fn push_bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push(field << 3 | 2);
    push_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The message without its length, which has to be right.
    fn body(framed: &[u8]) -> &[u8] {
        let mut fields = Fields(framed);
        let length = fields.varint().expect("a length");
        assert_eq!(length, fields.0.len() as u64);
        fields.0
    }

    fn peer() -> impl Strategy<Value = Peer> {
        (any::<[u8; 32]>(), prop::collection::vec(any::<(u32, u16)>(), 0..MAX_ADDRESSES_PER_PEER)).prop_map(
            |(seed, places)| Peer {
                id: libp2p::identity::Keypair::ed25519_from_bytes(seed)
                    .expect("a seed")
                    .public()
                    .to_peer_id(),
                addresses: places
                    .into_iter()
                    .map(|(host, port)| {
                        format!("/ip4/{}/tcp/{port}", std::net::Ipv4Addr::from(host))
                            .parse()
                            .expect("an address")
                    })
                    .collect(),
            },
        )
    }

    #[test]
    fn the_bytes_are_the_documented_ones() {
        let me = PeerId::from_bytes(&[[0x12, 0x20].as_slice(), &[7; 32]].concat()).expect("a peer id");
        let address: Multiaddr = "/ip4/127.0.0.1/tcp/4001".parse().expect("an address");
        let mut out = Vec::new();
        push_message(&mut out, Kind::AddProvider, &[9; KEY_BYTES], &provider_field(me, &[address]));
        let expected = [
            &[88, 0x08, 0x02, 0x12, 34][..],
            &[9; 34],
            &[0x4a, 48, 0x0a, 34, 0x12, 0x20],
            &[7; 32],
            &[0x12, 8, 4, 127, 0, 0, 1, 6, 0x0f, 0xa1, 0x18, 1],
        ]
        .concat();
        assert_eq!(out, expected);
        out.clear();
        push_message(&mut out, Kind::GetProviders, &[9; KEY_BYTES], &[]);
        assert_eq!(out, [&[38, 0x08, 0x03, 0x12, 34][..], &[9; 34]].concat());
    }

    #[test]
    fn more_than_the_bounds_is_left_out_and_hostile_lengths_are_errors() {
        let mut many = vec![0x08, 3];
        let id = PeerId::random();
        for _ in 0..50 {
            many.extend(provider_field(id, &[]));
        }
        assert_eq!(read_message(&many).expect("a message").providers.len(), MAX_KAD_PEERS);
        let huge = [0x08, 3, 0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(read_message(&huge), Err(MessageError::Truncated));
        assert_eq!(read_message(&[0x08, 0xff]), Err(MessageError::Truncated));
        assert_eq!(read_message(&[0x80; 11]), Err(MessageError::Number));
        assert_eq!(read_message(&[0x0b]), Err(MessageError::Form(3)));
        assert_eq!(read_message(&[0x10, 0]), Err(MessageError::Field(2)));
        assert_eq!(read_message(&[0x08, 0]), Err(MessageError::Kind(0)));
        assert_eq!(read_message(&[0x08, 3, 0x4a, 0]), Err(MessageError::PeerId));
        assert_eq!(read_message(&[]), Err(MessageError::Kind(0)));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(key: [u8; 32], provider in peer(), kind in 2..5_u64) {
            let kind = Kind::of(kind).expect("a kind");
            let key = { let mut all = [0; KEY_BYTES]; all[2..].copy_from_slice(&key); all };
            let mut out = Vec::new();
            push_message(&mut out, kind, &key, &provider_field(provider.id, &provider.addresses));
            let read = read_message(body(&out)).expect("a message");
            prop_assert_eq!(read, Message { kind, key: key.to_vec(), closer: vec![], providers: vec![provider] });
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = read_message(&bytes);
        }

        #[test]
        fn no_damage_panics(provider in peer(), at: prop::sample::Index, byte: u8, end: prop::sample::Index) {
            let mut out = vec![0x08, 3];
            out.extend(provider_field(provider.id, &provider.addresses));
            let at = at.index(out.len());
            out[at] = byte;
            let _ = read_message(&out[..end.index(out.len())]);
        }
    }
}
