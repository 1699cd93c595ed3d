use std::pin::Pin;
use std::task::{Context, Poll};

use proptest::prelude::*;

use super::*;
use crate::dht_index::keys::KEY_BYTES;

/// A stream on which everything that is ever read is there already.
struct Scripted {
    answers: futures::io::Cursor<Vec<u8>>,
    written: Vec<u8>,
}

impl AsyncRead for Scripted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.answers).poll_read(cx, into)
    }
}

impl AsyncWrite for Scripted {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.written.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A node that never reads and never answers.
struct Frozen;

impl AsyncRead for Frozen {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }
}

impl AsyncWrite for Frozen {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

fn keys(count: usize) -> Vec<Key> {
    (0..count)
        .map(|n| {
            let mut key = [0; KEY_BYTES];
            key[..8].copy_from_slice(&n.to_be_bytes());
            key
        })
        .collect()
}

fn answers(kind: Kind, keys: &[Key], provider: PeerId) -> Vec<u8> {
    let mut out = Vec::new();
    for key in keys {
        push_message(&mut out, kind, key, &provider_field(provider, &[]));
    }
    out
}

fn scripted(answers: Vec<u8>) -> Scripted {
    Scripted { answers: futures::io::Cursor::new(answers), written: Vec::new() }
}

#[tokio::test]
async fn a_frozen_peer_costs_the_deadline_and_no_more() {
    let all = keys(10);
    let (published, answered) = futures::future::join(
        publish_on(Frozen, &[], all.iter().copied(), |_| panic!("nothing was read")),
        ask_on(Frozen, &all),
    )
    .await;
    assert!(matches!(published, Err(StreamError::Silent("read"))), "{published:?}");
    assert!(matches!(answered, Err(StreamError::Silent(_))), "{answered:?}");
}

#[tokio::test]
async fn a_broken_stream_tells_how_many_were_acknowledged() {
    let all = keys(3 * KAD_ACK_EVERY + 5);
    let mut acked = Vec::new();
    // Two of the four questions are answered, then the stream ends.
    let stream = scripted(answers(Kind::FindNode, &all[..2], PeerId::random()));
    let done = publish_on(stream, &[], all.iter().copied(), |count| acked.push(count)).await;
    assert!(matches!(done, Err(StreamError::Broken(_))), "{done:?}");
    assert_eq!(acked, [KAD_ACK_EVERY, 2 * KAD_ACK_EVERY]);
    let stream = scripted(answers(Kind::FindNode, &all[..4], PeerId::random()));
    let done = publish_on(stream, &[], all.iter().copied(), |_| {}).await;
    assert!(matches!(done, Ok(count) if count == all.len()), "{done:?}");
    let nothing = publish_on(scripted(Vec::new()), &[], std::iter::empty(), |_| {}).await;
    assert!(matches!(nothing, Ok(0)), "{nothing:?}");
}

#[tokio::test]
async fn answers_belong_to_their_questions() {
    let (all, provider) = (keys(500), PeerId::random());
    let found = ask_on(scripted(answers(Kind::GetProviders, &all, provider)), &all).await.expect("answers");
    assert_eq!(found.len(), all.len());
    assert!(found.iter().all(|providers| providers.0[0].id == provider));
    let swapped = answers(Kind::GetProviders, &[all[1], all[0]], provider);
    assert!(matches!(ask_on(scripted(swapped), &all).await, Err(StreamError::OtherAnswer)));
    let other = answers(Kind::FindNode, &all, provider);
    assert!(matches!(ask_on(scripted(other), &all).await, Err(StreamError::OtherAnswer)));
    let huge = vec![0xff; 8];
    assert!(matches!(ask_on(scripted(huge), &all).await, Err(StreamError::TooLong)));
}

proptest! {
    #[test]
    fn no_answer_panics(bytes in prop::collection::vec(any::<u8>(), 0..400), length: u8) {
        let framed = [&[length & 0x7f][..], &bytes[..]].concat();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let _ = ask_on(scripted(framed.clone()), &keys(3)).await;
            let _ = publish_on(scripted(framed), &[], keys(3).into_iter(), |_| {}).await;
        });
    }
}
