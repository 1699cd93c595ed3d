//! Nodes that keep nobody's catalog: a large swarm in small. Duplicates across nodes are found by the
//! bands in the DHT only.

use std::fs;

use crate::support::Site;
use crate::{QUICK, best, halved, holds, pictures};

fn blind() -> Vec<&'static str> {
    [QUICK, &["--catalog-limit", "0"]].concat()
}

#[test]
fn a_duplicate_in_no_catalog_is_found_by_its_bands_and_dropped() {
    let (first, second, third) = (Site::new(), Site::new(), Site::new());
    first.add("beach.png", &best(1));
    second.add("beach small.jpg", &halved(1));
    second.add("other.png", &best(2));
    third.add("forest.png", &best(3));
    let one = first.start_with(&[], &blind());
    let two = second.start_with(&[&one], &blind());
    let three = third.start_with(&[&one], &blind());
    let dropped = two.event("dropped", |event| event["path"] == "beach small.jpg");
    assert_eq!(dropped["path"], "beach small.jpg");
    holds(&first, &["beach.png"]);
    holds(&second, &["other.png"]);
    assert_eq!(pictures(&third).len(), 1, "nothing is like it");
    // They really keep nothing of each other's lists.
    for node in [&one, &two, &three] {
        let status = node.client().status();
        assert_eq!(status["asked"], 2, "{status:#}");
    }
    let rows = two.client().lists_when("all three", |rows| rows.len() == 3);
    assert!(!rows.iter().any(|row| row["path"] == "beach small.jpg"), "{rows:#?}");
    assert!(fs::read(first.path("beach.png")).unwrap() == best(1));
}
