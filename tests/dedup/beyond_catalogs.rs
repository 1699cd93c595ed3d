//! Nodes that don't read each other's catalogs: a large swarm in small. Duplicates across nodes are
//! found by the bands in the DHT only.

use std::fs;

use crate::support::Site;
use crate::{QUICK, best, halved, holds, pictures};

fn blind() -> Vec<&'static str> {
    [QUICK, &["--without-catalogs"]].concat()
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
    // They really know nothing of each other's lists: `two` has its own, and the replica of the
    // better version that it made before it let the other go.
    let rows = two.client().lists_when("its own", |rows| rows.len() == 2);
    assert!(rows.iter().all(|row| row["copies"] == 1), "{rows:#?}");
    assert!(three.client().list().len() == 1);
    assert!(fs::read(first.path("beach.png")).unwrap() == best(1));
}
