//! Catalogs that never end, begin anew, or make no sense.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use p2pimg::limits::MAX_PAGE_ENTRIES;
use p2pimg::node::NodeEvent;
use p2pimg::protocol::{CatalogEntry, CatalogPage, PeerRequest, PeerResponse};
use p2pimg::types::{CatalogHead, ContentId, Epoch, ImageId, Seq};

use crate::liar::{EPOCH, Liar, Lie, held, hello};
use crate::net::{Node, list, until};

fn entry(seq: u64) -> CatalogEntry {
    let mut id = [0xee; 32];
    id[..8].copy_from_slice(&seq.to_be_bytes());
    CatalogEntry { seq: Seq(seq), content: ContentId(id), held: Some(held(ImageId::Hash(id), 5)) }
}

/// A liar whose catalog's pages are what `page` makes of (epoch, after).
fn lister(
    node: &Node,
    head: CatalogHead,
    page: impl Fn(Epoch, Seq) -> CatalogPage + Send + 'static,
) -> (Liar, Arc<AtomicUsize>) {
    let pages = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&pages);
    let liar = Liar::join(&[node.address()], move |request| match request {
        PeerRequest::Hello(_) => hello(head).into(),
        PeerRequest::Catalog { epoch, after } => {
            count.fetch_add(1, Ordering::Relaxed);
            PeerResponse::Catalog(page(*epoch, *after)).into()
        }
        PeerRequest::Members => PeerResponse::Members(Vec::new()).into(),
        _ => Lie::Silence,
    });
    (liar, pages)
}

/// Several at once: the honest nodes still find each other's pictures, answer at once, and
/// ask the liars ever more seldom.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mad_catalogs_hold_up_nobody() {
    let one = Node::start(&[(1, 60)], &[]).await;
    let head = CatalogHead { epoch: EPOCH, seq: Seq(1000) };

    // Begins anew with each page.
    let lives = AtomicU64::new(100);
    let (_anew, anew_pages) = lister(&one, head, move |_, _| {
        let epoch = Epoch(lives.fetch_add(1, Ordering::Relaxed));
        let head = CatalogHead { epoch, seq: Seq(1000) };
        CatalogPage { head, upto: Seq(1), from: Seq(0), entries: vec![entry(1)] }
    });
    // Leads nowhere.
    let (_stuck, stuck_pages) = lister(&one, head, move |_, after| CatalogPage {
        head,
        upto: after,
        from: after,
        entries: Vec::new(),
    });
    // Out of order.
    let (_wild, wild_pages) = lister(&one, head, move |_, _| CatalogPage {
        head,
        upto: Seq(1000),
        from: Seq(0),
        entries: vec![entry(9), entry(3)],
    });
    // A picture that is identified by somebody else's content.
    let (_thief, thief_pages) = lister(&one, head, move |_, _| {
        let mut stolen = entry(1);
        stolen.held = Some(held(ImageId::Content(ContentId([1; 32])), 5));
        CatalogPage { head, upto: Seq(1000), from: Seq(0), entries: vec![stolen] }
    });

    let two = Node::start(&[(2, 60)], &[one.address()]).await;
    for (node, other) in [(&one, &two), (&two, &one)] {
        node.told(
            "the other's catalog",
            |e| matches!(e, NodeEvent::Synced { peer, .. } if *peer == other.id()),
        )
        .await;
    }
    // A catalog that was known may have been that of a folder not looked at yet.
    let clients = [one.client().await, two.client().await];
    for client in &clients {
        until("the honest list", async || {
            list(client).await.iter().filter(|row| row.path.as_str() != Some("claimed.png")).count() == 2
        })
        .await;
    }
    let [first, client] = &clients;
    let rows = list(first).await;
    // What the broken pages said was not taken: only the one that begins anew has said
    // something that makes sense, its one entry.
    assert!(rows.len() <= 3, "{rows:?}");

    // The node asks again, with growing pauses: 1, 2, 4 s. Two nodes do.
    tokio::time::sleep(Duration::from_secs(2)).await;
    for pages in [&anew_pages, &stuck_pages, &wild_pages, &thief_pages] {
        let asked = pages.load(Ordering::Relaxed);
        assert!((1..40).contains(&asked), "{asked} pages asked for");
    }
    tokio::time::timeout(Duration::from_secs(2), client.status()).await.unwrap().unwrap();
}

/// A catalog without an end: pages are taken one at a time, and the node answers others
/// meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_catalog_without_an_end_leaves_room_for_others() {
    let one = Node::start(&[(1, 60)], &[]).await;
    let head = CatalogHead { epoch: EPOCH, seq: Seq(u64::MAX) };
    let (_liar, pages) = lister(&one, head, move |epoch, after| {
        let from = if epoch == EPOCH { after } else { Seq(0) };
        let entries: Vec<_> = (1..=MAX_PAGE_ENTRIES as u64).map(|n| entry(from.0 + n)).collect();
        CatalogPage { head, upto: Seq(from.0 + MAX_PAGE_ENTRIES as u64), from, entries }
    });
    until("some pages", async || pages.load(Ordering::Relaxed) > 5).await;
    let two = Node::start(&[(2, 60)], &[one.address()]).await;
    one.told("the other's catalog", |e| matches!(e, NodeEvent::Synced { peer, .. } if *peer == two.id()))
        .await;
    let status = tokio::time::timeout(Duration::from_secs(3), one.handle.status()).await.unwrap().unwrap();
    assert_eq!(status.images, 1);
}
