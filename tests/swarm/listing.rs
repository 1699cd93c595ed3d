//! What nodes tell of the swarm: `list`, `show`, `status`, `peers`.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use image::ImageFormat;
use serde_json::{Value, json};

use crate::support::pictures::{self, SIZE};
use crate::support::{Site, eventually, swarm};

/// The fields of a row, as `client list --help` names them.
const FIELDS: [&str; 12] = [
    "bytes", "content", "copies", "format", "hash", "height", "holder", "holders", "path", "pinned",
    "taken_at", "width",
];

#[test]
fn each_of_three_nodes_lists_the_pictures_of_all() {
    let sites = [Site::with_pictures(1..4), Site::with_pictures(4..6), Site::new()];
    sites[2].add("deep/er/6.png", &pictures::encode(&pictures::draw(6), ImageFormat::Png));
    let nodes = swarm(sites.each_ref(), 6);

    let keys = |rows: &[Value]| -> BTreeSet<String> {
        rows.iter().map(|row| format!("{} {}", row["path"], row["holder"])).collect()
    };
    let expected: BTreeSet<String> = [(0, "1.jpg"), (0, "2.jpg"), (0, "3.jpg"), (1, "4.jpg"), (1, "5.jpg")]
        .into_iter()
        .chain([(2, "deep/er/6.png")])
        .map(|(node, path): (usize, &str)| format!("{} {}", json!(path), json!(nodes[node].peer())))
        .collect();
    for node in &nodes {
        assert_eq!(keys(&node.client().list()), expected);
    }

    let client = nodes[0].client();
    let rows = client.json(&["list", "--sort", "name", "--filter", "DEEP"]);
    assert_eq!(rows.len(), 1, "a filter does not look at capitals");
    let plain = client.ok(&["list", "--sort", "name", "--reverse"]);
    let last: Vec<&str> = plain.lines().map(|line| line.rsplit('\t').next().unwrap()).collect();
    assert_eq!(last, ["deep/er/6.png", "5.jpg", "4.jpg", "3.jpg", "2.jpg", "1.jpg"]);

    let peers = client.json(&["peers"]);
    let known: BTreeSet<&str> = peers.iter().map(|peer| peer["peer"].as_str().unwrap()).collect();
    assert_eq!(known, BTreeSet::from([nodes[1].peer(), nodes[2].peer()]));
    assert!(peers.iter().all(|peer| peer["connected"] == true && peer["trouble"].is_null()), "{peers:#?}");

    let said = client.status();
    for (field, value) in [("images", 3), ("swarm_images", 6), ("peers", 2), ("problem_count", 0)] {
        assert_eq!(said[field], value, "{field} in {said:#}");
    }
    assert_eq!(said["peer"], nodes[0].peer());
    assert!(client.run(&["status"]).text().contains("6 images, 2 peers connected"));

    // Nodes 2 and 3 were told of node 1 only, and found each other.
    eventually("nodes 2 and 3 being connected", || {
        let peers = nodes[2].client().json(&["peers"]);
        let other = peers.iter().find(|peer| peer["peer"] == nodes[1].peer());
        other.filter(|peer| peer["connected"] == true).map(drop)
    });
}

#[test]
fn a_row_says_everything_about_its_picture() {
    let (first, second) = (Site::new(), Site::new());
    let dated = pictures::dated_jpeg(20, "2016:04:21 14:03:22");
    let odd_name = OsStr::from_bytes(b"caf\xe9.jpg");
    first.add("dated.jpg", &dated);
    std::fs::write(second.photos().join(odd_name), pictures::jpeg(21)).unwrap();
    second.add("copy of dated.jpg", &dated);
    let nodes = swarm([&first, &second], 2);

    let [_, rows] = nodes.each_ref().map(|node| {
        let both = |rows: &[Value]| rows.len() == 2 && rows.iter().any(|row| row["copies"] == 2);
        node.client().lists_when("a row with two holders", both)
    });
    let dated_row = rows.iter().find(|row| row["copies"] == 2).unwrap();
    let fields: Vec<&String> = dated_row.as_object().unwrap().keys().collect();
    assert_eq!(fields, FIELDS);
    let content = blake3::hash(&dated).to_hex();
    for (field, value) in [
        ("content", json!(content.as_str())),
        ("width", json!(SIZE.0)),
        ("height", json!(SIZE.1)),
        ("bytes", json!(dated.len())),
        ("format", json!("jpeg")),
        ("taken_at", json!("2016-04-21T14:03:22")),
        ("holder", dated_row["holders"][0].clone()),
    ] {
        assert_eq!(dated_row[field], value, "{field} in {dated_row:#}");
    }
    let hash = dated_row["hash"].as_str().unwrap();
    assert!(hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
    let holders: BTreeSet<&str> =
        dated_row["holders"].as_array().unwrap().iter().map(|holder| holder.as_str().unwrap()).collect();
    assert_eq!(holders, BTreeSet::from([nodes[0].peer(), nodes[1].peer()]));

    let odd = rows.iter().find(|row| row["copies"] == 1).unwrap();
    assert_eq!(odd["path"], "caf\u{fffd}.jpg");
    assert_eq!(odd["path_hex"], "636166e92e6a7067", "its bytes, for programs");
    assert_eq!(odd["taken_at"], Value::Null);
    assert_ne!(odd["hash"], dated_row["hash"]);

    // The same of one picture, and who confirms that it has it.
    let shown = &nodes[0].client().json(&["show", hash])[0];
    for field in FIELDS.iter().filter(|field| !["holder", "holders", "path"].contains(field)) {
        assert_eq!(shown[field], dated_row[field], "{field}");
    }
    let confirmed = shown["holder_status"].as_array().unwrap();
    assert_eq!(confirmed.len(), 2, "{shown:#}");
    assert!(confirmed.iter().all(|holder| holder["confirmed"] == true), "{shown:#}");
    assert!(nodes[0].client().ok(&["show", hash]).contains("2 copies confirmed just now"));

    // What is got is named after what is left of the name.
    let client = nodes[0].client();
    client.ok(&["get", odd["hash"].as_str().unwrap(), "-o", "out/"]);
    assert_eq!(std::fs::read(client.folder().join("out/caf_.jpg")).unwrap(), pictures::jpeg(21));
}
