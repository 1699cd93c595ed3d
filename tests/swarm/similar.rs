//! `client similar`: pictures by their looks.

use std::fs;

use image::ImageFormat;
use image::imageops::FilterType;
use p2pimg::error::ExitCode;
use serde_json::Value;

use crate::support::pictures::{self, SIZE};
use crate::support::{Client, Site, TestNode, eventually, paths, swarm};

/// A file on the client's machine.
fn file(client: &Client, name: &str, data: &[u8]) {
    fs::write(client.folder().join(name), data).unwrap();
}

/// Picture `number` as a mail program makes it.
fn mailed(number: u64) -> Vec<u8> {
    let small = pictures::draw(number).resize_exact(SIZE.0 / 2, SIZE.1 / 2, FilterType::Triangle);
    pictures::encode(&small, ImageFormat::Jpeg)
}

#[test]
fn a_file_that_is_not_in_the_swarm_finds_its_original_on_another_node() {
    let sites = [Site::with_pictures(1..4), Site::with_pictures(4..7)];
    let nodes = swarm(sites.each_ref(), 6);
    let client = nodes[0].client();
    file(&client, "mailed.jpg", &mailed(5));
    file(&client, "another.png", &pictures::encode(&pictures::draw(99), ImageFormat::Png));

    let rows = client.json(&["similar", "mailed.jpg"]);
    assert_eq!(paths(&rows), ["5.jpg".to_owned()].into());
    let [row] = &rows[..] else { panic!("one row: {rows:#?}") };
    let distance = row["distance"].as_u64().unwrap();
    assert!(distance <= 24, "{row:#}");
    assert_eq!(row["holders"], serde_json::json!([nodes[1].peer()]));
    let mut listed = client.row("5.jpg");
    listed["distance"] = row["distance"].clone();
    assert_eq!(*row, listed, "a row of the list and the distance");

    let plain = client.ok(&["similar", "mailed.jpg"]);
    assert!(plain.starts_with(&format!("{distance}\t{}\t1\t", row["hash"].as_str().unwrap())), "{plain}");
    assert!(plain.ends_with("\t5.jpg\n"), "{plain}");
    if distance > 0 {
        let nearer = (distance - 1).to_string();
        assert_eq!(client.ok(&["similar", "mailed.jpg", "--distance", &nearer]), "", "none is so near");
    }
    assert_eq!(client.ok(&["similar", "another.png"]), "", "finding nothing is no error");
}

#[test]
fn a_picture_of_the_swarm_is_named_by_its_hash() {
    let (first, second) = (Site::with_pictures([1]), Site::with_pictures([2]));
    second.add("small.jpg", &mailed(1));
    let nodes = swarm([&first, &second], 3);
    let client = nodes[1].client();
    let row = client.row("1.jpg");
    let (hash, content) = (row["hash"].as_str().unwrap(), row["content"].as_str().unwrap());
    let by_hash = client.json(&["similar", hash]);
    assert_eq!(by_hash[0]["path"], "1.jpg", "of two that are equally near the larger one");
    assert_eq!(by_hash[0]["distance"], 0);
    assert_eq!(paths(&by_hash), ["1.jpg".to_owned(), "small.jpg".to_owned()].into());
    for named in [format!("c:{content}"), format!("c:{}", &content[..8])] {
        assert_eq!(client.json(&["similar", &named]), by_hash, "{named}");
    }
    let other = client.row("2.jpg");
    let other = other["hash"].as_str().unwrap();
    assert_eq!(client.json(&["similar", &other[..12]]), client.json(&["similar", other]));
    assert_eq!(client.json(&["similar", hash, "--limit", "1"]), by_hash[..1]);
    // All digits of a hash that nobody has.
    let mut near = hash.to_owned();
    near.replace_range(..1, if hash.starts_with('0') { "1" } else { "0" });
    let by_near = client.json(&["similar", &near]);
    assert!(by_near[0]["distance"].as_u64().unwrap() > 0, "{by_near:#?}");
    assert!(paths(&by_near).contains("1.jpg"), "{by_near:#?}");
}

/// Waits until the node finds just these.
fn finds(node: &TestNode, number: u64, wanted: &[&str]) {
    let client = node.client();
    file(&client, "asked.jpg", &mailed(number));
    let wanted = wanted.iter().map(|path| (*path).to_owned()).collect();
    eventually("what is there to be found", || {
        let rows: Vec<Value> = client.json(&["similar", "asked.jpg"]);
        (paths(&rows) == wanted).then_some(())
    });
}

#[test]
fn what_comes_is_found_and_what_is_gone_or_away_is_not() {
    let sites = [Site::with_pictures([1, 2]), Site::with_pictures([3])];
    let [near, far] = swarm(sites.each_ref(), 3);
    finds(&near, 2, &["2.jpg"]);
    // From here on the hashes are in memory.
    sites[0].add("4.jpg", &pictures::jpeg(4));
    finds(&near, 4, &["4.jpg"]);
    sites[1].add("5.jpg", &pictures::jpeg(5));
    finds(&near, 5, &["5.jpg"]);
    fs::remove_file(sites[0].path("2.jpg")).unwrap();
    finds(&near, 2, &[]);
    finds(&near, 3, &["3.jpg"]);
    far.kill();
    finds(&near, 3, &[]);
    let _back = sites[1].start(&[&near]);
    finds(&near, 3, &["3.jpg"]);
}

#[test]
fn what_can_not_be_compared_is_said_in_one_line() {
    let site = Site::with_pictures([1]);
    let flat = pictures::encode(&image::DynamicImage::new_luma8(64, 64), ImageFormat::Png);
    site.add("flat.png", &flat);
    let node = site.start(&[]);
    let client = node.client();
    client.lists(2);
    file(&client, "text.jpg", b"hello");
    file(&client, "flat.png", &flat);
    file(&client, "abcdef", b"hello");
    fs::create_dir(client.folder().join("folder")).unwrap();
    let flat_row = client.row("flat.png");
    for (typed, code, said) in [
        (&["gone.jpg"][..], ExitCode::NotFound, "gone.jpg: no such file, and no hash"),
        (&["abcdef"], ExitCode::NotFound, "abcdef: no such picture in the swarm"),
        (&["./abcdef"], ExitCode::Refused, "not a picture"),
        (&["folder"], ExitCode::Usage, "it is a folder"),
        (&["text.jpg"], ExitCode::Refused, "text.jpg: named like a picture"),
        (&["flat.png"], ExitCode::Refused, "too little structure"),
        (&[flat_row["hash"].as_str().unwrap()], ExitCode::Refused, "has no hash to compare"),
        (&["123456", "--distance", "65"], ExitCode::Usage, "0..=64"),
        (&["123456", "--limit", "0"], ExitCode::Usage, "1..=256"),
    ] {
        client.run(&[&["similar"], typed].concat()).fails(code, &[said]);
    }
    // Without a node, too.
    let nobody = Site::new();
    nobody.client().run(&["similar", "gone.jpg"]).fails(ExitCode::NotFound, &["no such file"]);
}

#[test]
fn what_no_catalog_here_has_is_found_by_its_bands() {
    let (first, second) = (Site::with_pictures([5]), Site::new());
    let one = first.start(&[]);
    // It keeps nobody's catalog.
    let two = second.start_with(&[&one], &["--catalog-limit", "0"]);
    let client = two.client();
    file(&client, "mailed.jpg", &mailed(5));
    let row = eventually("the picture of the other node", || {
        client.json(&["similar", "mailed.jpg"]).into_iter().next()
    });
    assert_eq!(row["path"], "5.jpg");
    assert_eq!(row["holders"], serde_json::json!([one.peer()]));
}
