//! Trusted peers that ask a node for leases: what it promises, and what floods of them do to it.

use std::time::{Duration, Instant};

use p2pimg::limits::MAX_WITNESSES;
use p2pimg::node::NodeEvent;
use p2pimg::picture::Witness;
use p2pimg::picture::quality::{Encoding, Fidelity, Metadata};
use p2pimg::picture::{Recognition, recognise};
use p2pimg::protocol::{Denial, PeerRequest, PeerResponse, Refusal, RefusalCode, WitnessFacts};
use p2pimg::types::{ContentId, ImageId};
use p2pimg::wire::codec::Frame;
use serde_bytes::ByteBuf;

use crate::liar::{Liar, settled};
use crate::net::{Memory, Node};
use crate::offers::{
    LONG, Offer, alike, best, dropping, halved, inspected, offering, patiently, proof, untouched,
};

/// Witnesses whose pixels are their own: contents of these numbers with one picture.
fn witnesses(numbers: impl IntoIterator<Item = u8>) -> Vec<Witness> {
    let (inspected, planes) = inspected(&halved(40));
    let Recognition { hash, guard, signature } = recognise(&planes);
    let mut facts = inspected.facts;
    (facts.image, facts.guard) = (ImageId::Hash(hash), guard);
    let encoding = Encoding { fidelity: Fidelity(900), metadata: Metadata::default() };
    let first = Witness { content: ContentId([0; 32]), facts, encoding, signature, planes };
    let of = |number| Witness { content: ContentId([number; 32]), ..first.clone() };
    numbers.into_iter().map(of).collect()
}

fn facts_of(witness: &Witness) -> WitnessFacts {
    WitnessFacts {
        content: witness.content,
        facts: witness.facts.clone(),
        fidelity: witness.encoding.fidelity.0,
        metadata: witness.encoding.metadata.0,
    }
}

/// A request that is as it should be.
fn request(content: ContentId, witnesses: &[Witness]) -> Frame<PeerRequest> {
    let header = PeerRequest::Lease {
        content,
        subject: witnesses.first().map_or(content, |witness| witness.content),
        keeps: true,
        nonce: ByteBuf::from([9; 32]),
        witnesses: witnesses.iter().map(facts_of).collect(),
    };
    Frame::new(header, witnesses.iter().flat_map(Witness::pixels).collect())
}

/// The same, but the asker keeps no copy.
fn keeping_none(mut frame: Frame<PeerRequest>) -> Frame<PeerRequest> {
    if let PeerRequest::Lease { keeps, .. } = &mut frame.header {
        *keeps = false;
    }
    frame
}

fn shorter(mut frame: Frame<PeerRequest>) -> Frame<PeerRequest> {
    frame.payload.pop();
    frame
}

fn without_payload(frame: Frame<PeerRequest>) -> Frame<PeerRequest> {
    Frame::new(frame.header, Vec::new())
}

/// The pixels of one picture with the signature of another.
fn mixed(mut frame: Frame<PeerRequest>) -> Frame<PeerRequest> {
    frame.payload[..100].fill(77);
    frame
}

struct Asker {
    liar: Liar,
    node: Node,
    held: ContentId,
    files: Vec<(String, Vec<u8>)>,
}

/// A node with one picture, and a trusted peer with another.
async fn asker() -> Asker {
    let files = vec![("held.png".to_owned(), best(30))];
    let node = Node::start_with(files.clone(), &[], dropping).await;
    let held = Offer::of(files[0].1.clone()).content;
    let liar = offering(&node, Offer::of(best(31)), alike(), |_, _| None).liar;
    node.told("the asker", |e| matches!(e, NodeEvent::Synced { peer, .. } if *peer == liar.id)).await;
    Asker { liar, node, held, files }
}

impl Asker {
    /// The answer, when the machine is not too busy to give one in time.
    async fn ask(&self, request: Frame<PeerRequest>) -> PeerResponse {
        let slow = |header: &PeerResponse| {
            let codes = [RefusalCode::Busy, RefusalCode::Unavailable];
            matches!(header, PeerResponse::Refused(refusal) if codes.contains(&refusal.code))
        };
        for _ in 0..10 {
            let answer = self.liar.question(self.node.id(), request.clone()).await;
            if let Some(Frame { header, .. }) = answer.filter(|answer| !slow(&answer.header)) {
                return header;
            }
        }
        panic!("no answer to {:?}", request.header)
    }

    async fn is_denied(&self, request: Frame<PeerRequest>, wanted: Denial) {
        let answer = self.ask(request).await;
        assert!(matches!(answer, PeerResponse::Denied { why } if why == wanted), "{answer:?} for {wanted:?}");
    }

    async fn is_nonsense(&self, request: Frame<PeerRequest>) {
        let answer = self.ask(request).await;
        let invalid = |refusal: &Refusal| refusal.code == RefusalCode::Invalid;
        assert!(matches!(&answer, PeerResponse::Refused(refusal) if invalid(refusal)), "{answer:?}");
    }

    async fn is_granted(&self, request: Frame<PeerRequest>) {
        let answer = self.ask(request).await;
        let PeerResponse::Leased { proof: proved } = &answer else { panic!("{answer:?}") };
        let right = proof(&self.node.id(), &self.liar.id, &[9; 32], &self.files[0].1);
        assert_eq!(proved.as_slice(), right);
    }

    async fn carried(&self) -> usize {
        let request = PeerRequest::Witnesses { content: self.held };
        let answer = self.ask(request.into()).await;
        let PeerResponse::Witnesses(facts) = answer else { panic!("{answer:?}") };
        facts.len()
    }
}

/// A lease is promised only for what is held, with witnesses that are what they say, and as long
/// as the content can carry them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_is_for_what_is_held_and_can_be_carried() {
    let asker = asker().await;
    let all = witnesses(1..=MAX_WITNESSES as u8 + 1);
    let (held, one, many) = (asker.held, &all[..1], &all[..MAX_WITNESSES]);
    asker.is_denied(request(ContentId([8; 32]), one), Denial::NotHeld).await;
    asker.is_nonsense(shorter(request(held, one))).await;
    asker.is_nonsense(mixed(request(held, one))).await;
    asker.is_denied(without_payload(request(held, one)), Denial::NotHeld).await;
    asker.is_denied(keeping_none(request(held, one)), Denial::BelowCopies).await;
    assert_eq!(asker.carried().await, 0, "what is not promised for is not recorded");

    asker.is_granted(request(held, one)).await;
    asker.is_granted(without_payload(request(held, one))).await;
    assert_eq!(asker.carried().await, 1);
    // As many as it can carry, and one more.
    asker.is_granted(request(held, many)).await;
    asker.is_denied(request(held, &all[MAX_WITNESSES..]), Denial::TooManyWitnesses).await;
    asker.is_granted(without_payload(request(held, many))).await;
    assert_eq!(asker.carried().await, MAX_WITNESSES);
    untouched(&asker.node, &asker.files);
}

/// Hundreds at once, of every kind: each comes to an end, and a client is served meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_requests_for_leases_starves_nobody_and_loses_nothing() {
    const ROUNDS: u8 = 40;
    let asker = asker().await;
    let node = asker.node.id();
    let many = witnesses(1..=MAX_WITNESSES as u8);
    let others = witnesses((0..ROUNDS).map(|round| 100 + round));
    let mut sent = 0;
    for one in others.chunks(1) {
        let held = asker.held;
        for request in [
            request(ContentId([99; 32]), one),
            request(held, &many),
            request(held, one),
            shorter(request(held, &many)),
            mixed(request(held, one)),
            without_payload(request(held, one)),
            keeping_none(request(held, one)),
            request(held, &[]),
        ] {
            asker.liar.ask(node, request).await;
            sent += 1;
        }
    }
    let image = Offer::of(asker.files[0].1.clone()).description.facts.image;
    let began = Instant::now();
    let client = asker.node.client().await;
    let mut memory = Memory::default();
    client.fetch(image, asker.held, &mut memory).await.unwrap();
    assert!(memory.0 == asker.files[0].1);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    tokio::time::timeout(Duration::from_secs(10), client.status()).await.unwrap().unwrap();
    settled(&asker.liar, sent, LONG).await;
    // It is asked again, with room: the promises it gave are what it can keep.
    patiently("an answer", async || {
        let answer = asker.liar.question(node, request(asker.held, &[])).await;
        matches!(answer, Some(Frame { header: PeerResponse::Leased { .. }, .. }))
    })
    .await;
    assert!(asker.carried().await <= MAX_WITNESSES);
    untouched(&asker.node, &asker.files);
}
