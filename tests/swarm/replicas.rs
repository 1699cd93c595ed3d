//! Contents that a node keeps for the swarm, put there as the node itself would do it.

use std::fs;
use std::path::PathBuf;

use p2pimg::store::replicas::{Replicas, Reserve};
use p2pimg::types::{ContentId, RelPath};

use crate::support::{Site, eventually, paths, pictures};

/// A site whose node has run before, and keeps picture `number` as a replica.
fn with_replica(number: u64) -> (Site, PathBuf) {
    let site = Site::with_pictures([70]);
    let node = site.start(&[]);
    node.scanned();
    node.end("TERM");
    let data = pictures::jpeg(number);
    let (replicas, _) = Replicas::open_in(&site.path(".p2pimg"), Reserve::default()).unwrap();
    let content = ContentId(*blake3::hash(&data).as_bytes());
    let receiving = replicas.receive(content, data.len() as u64).unwrap();
    receiving.write_at(0, &data).unwrap();
    let once_at = RelPath::from_bytes(b"far/away.jpg".to_vec()).unwrap();
    let path = replicas.commit(receiving.verify().unwrap(), &once_at).unwrap();
    (site, path)
}

#[test]
fn a_replica_is_listed_shown_and_served_also_without_an_index() {
    let ((here, replica), there) = (with_replica(71), Site::with_pictures([72]));
    let other = there.start(&[]);
    for round in ["found at the start", "still known", "inspected again"] {
        let node = here.start(&[&other]);
        let client = other.client();
        // After the index was lost, the other node first lists what it remembers, then what is
        // known anew already, and the replica once it has been inspected: so look again.
        node.client().lists_when("the replica", |rows| paths(rows).contains("far/away.jpg"));
        let rows =
            client.lists_when("all three", |rows| rows.len() == 3 && paths(rows).contains("far/away.jpg"));
        let row = rows.iter().find(|row| row["path"] == "far/away.jpg").unwrap();
        assert_eq!((row["holder"].as_str(), row["copies"].as_u64()), (Some(node.peer()), Some(1)), "{round}");
        let hash = row["hash"].as_str().unwrap();
        for client in [&client, &node.client()] {
            eventually(&format!("its bytes, {round}"), || {
                (client.run(&["get", hash, "-o", "-"]).out == pictures::jpeg(71)).then_some(())
            });
            eventually(&format!("its holder, {round}"), || {
                let shown = client.run(&["show", hash]).text();
                (shown.contains("1 copy confirmed") && shown.contains("far/away.jpg")).then_some(())
            });
        }
        let status = node.client().status();
        assert_eq!(status["images"], 1, "{round}: the folder's own");
        node.end("TERM");
        client.lists(1);
        if round == "still known" {
            fs::remove_file(here.path(".p2pimg/index.redb")).unwrap();
        }
    }
    assert!(replica.exists() && !here.path("far").exists());
}

#[test]
fn a_replica_that_was_being_removed_comes_back_and_a_removed_one_is_withdrawn() {
    let ((here, replica), there) = (with_replica(73), Site::new());
    let other = there.start(&[]);
    let node = here.start(&[&other]);
    other.client().lists(2);
    node.kill();
    fs::rename(&replica, replica.with_extension("aside")).unwrap();
    let node = here.start(&[&other]);
    other.client().lists(2);
    node.kill();
    fs::remove_file(&replica).unwrap();
    let _node = here.start(&[&other]);
    let rows = other.client().lists(1);
    assert_eq!(paths(&rows).into_iter().collect::<Vec<_>>(), ["70.jpg"]);
}

#[test]
fn a_damaged_replica_is_withdrawn_when_it_is_asked_for() {
    let ((here, replica), there) = (with_replica(74), Site::new());
    let other = there.start(&[]);
    let _node = here.start(&[&other]);
    let client = other.client();
    client.lists(2);
    let hash = client.row("far/away.jpg")["hash"].as_str().unwrap().to_owned();
    let mut data = fs::read(&replica).unwrap();
    data[100] ^= 1;
    fs::write(&replica, &data).unwrap();
    let run = client.run(&["get", &hash, "-o", "-"]);
    assert!(run.code != 0 && run.out.is_empty(), "{}", run.err);
    client.lists(1);
    eventually("the damaged file set apart", || replica.with_extension("damaged").exists().then_some(()));
    assert!(!replica.exists());
}
