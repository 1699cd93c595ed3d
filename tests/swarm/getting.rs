//! `client get`, when all is well with the swarm.

use std::fs;

use image::ImageFormat;
use p2pimg::error::ExitCode;
use serde_json::Value;

use crate::support::{Site, names, pictures, swarm};

fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row[field].as_str().unwrap()
}

#[test]
fn a_picture_comes_by_hash_prefix_or_content_and_goes_where_it_is_told() {
    let sites = [Site::with_pictures([30]), Site::with_pictures([31]), Site::with_pictures([32])];
    let nodes = swarm(sites.each_ref(), 3);
    // Node 1 has neither of the two; 2 and 3 are asked through it.
    let client = nodes[0].client();
    let (row, bytes) = (client.row("32.jpg"), pictures::jpeg(32));
    let (hash, content) = (text(&row, "hash"), text(&row, "content"));
    let here = client.folder();
    let read = |name: &str| fs::read(here.join(name)).unwrap();

    assert_eq!(client.ok(&["get", hash]), "32.jpg\n", "says what it made");
    assert_eq!(read("32.jpg"), bytes);
    assert_eq!(client.ok(&["get", &hash[..6], "-o", "mine.jpeg"]), "mine.jpeg\n");
    assert_eq!(read("mine.jpeg"), bytes);
    assert_eq!(client.ok(&["get", &format!("c:{content}"), "-o", "new/folder/"]), "new/folder/32.jpg\n");
    assert_eq!(read("new/folder/32.jpg"), bytes);
    assert_eq!(client.ok(&["get", &hash.to_uppercase(), "-o", "new"]), "new/32.jpg\n");
    assert_eq!(client.run(&["get", hash, "-o", "-"]).out, bytes);

    // Nothing is overwritten by accident.
    fs::write(here.join("32.jpg"), "mine").unwrap();
    client.run(&["get", hash]).fails(ExitCode::Output, &["32.jpg exists", "--force"]);
    client.run(&["get", hash, "-o", "32.jpg"]).fails(ExitCode::Output, &["32.jpg exists", "--force"]);
    assert_eq!(read("32.jpg"), b"mine");
    client.ok(&["get", hash, "--force"]);
    assert_eq!(read("32.jpg"), bytes);

    // Several, and all.
    let other = client.row("31.jpg");
    client.ok(&["get", hash, text(&other, "hash"), "-o", "two"]);
    assert_eq!(names(&here.join("two")), ["31.jpg", "32.jpg"]);
    assert_eq!(read("two/31.jpg"), pictures::jpeg(31));
    client.ok(&["get", "--all", "-o", "two"]);
    assert_eq!(names(&here.join("two")), ["30.jpg", "31.jpg", "32.jpg"]);
    assert_eq!(client.ok(&["get", "--all", "-o", "two"]), "", "all is there already");
    assert_eq!(names(&here), ["32.jpg", "mine.jpeg", "new", "two"], "and nothing else was made");
}

/// One picture in two files, and two pictures whose hashes begin alike.
#[test]
fn what_is_ambiguous_is_listed_and_a_content_chooses() {
    let (here, there) = (Site::new(), Site::new());
    let [png, bmp] = [ImageFormat::Png, ImageFormat::Bmp].map(|f| pictures::encode(&pictures::draw(40), f));
    here.add("a.png", &png);
    there.add("a.bmp", &bmp);
    for touch in [1, 3] {
        let picture = pictures::encode(&pictures::like(41, touch), ImageFormat::Png);
        there.add(&format!("like {touch}.png"), &picture);
    }
    let nodes = swarm([&here, &there], 4);
    let client = nodes[0].client();
    let (a, b) = (client.row("a.png"), client.row("a.bmp"));
    assert_eq!(a["hash"], b["hash"], "the same pixels");
    assert_ne!(a["content"], b["content"]);

    for command in ["get", "show"] {
        let run = client.run(&[command, text(&a, "hash")]);
        assert_eq!(run.code, ExitCode::Ambiguous as i32, "{}", run.err);
        let lines: Vec<&str> = run.err.lines().collect();
        assert_eq!(lines.len(), 3, "one line each and what to do: {}", run.err);
        assert!(lines[2].contains("2 contents of one picture") && lines[2].contains("c:"), "{}", lines[2]);
        for row in [&a, &b] {
            let choice = format!("c:{}", &text(row, "content")[..16]);
            assert!(lines[..2].iter().any(|line| line.contains(&choice)), "{choice} in {}", run.err);
        }
        assert!(run.out.is_empty());
    }
    for (row, bytes) in [(&a, &png), (&b, &bmp)] {
        let chosen = format!("c:{}", &text(row, "content")[..16]);
        assert_eq!(&client.run(&["get", &chosen, "-o", "-"]).out, bytes);
    }

    let (c, d) = (client.row("like 1.png"), client.row("like 3.png"));
    assert_ne!(c["hash"], d["hash"], "two pictures");
    let prefix = &text(&c, "hash")[..6];
    assert!(text(&d, "hash").starts_with(prefix), "made so: {c:#} {d:#}");
    let run = client.run(&["get", prefix]);
    assert_eq!(run.code, ExitCode::Ambiguous as i32, "{}", run.err);
    assert!(run.err.lines().last().unwrap().contains("2 contents, listed above"), "{}", run.err);
    assert_eq!(client.run(&["get", text(&c, "hash"), "-o", "-"]).code, 0, "a whole hash is not ambiguous");
    assert_eq!(names(&client.folder()), [""; 0]);
}

#[test]
fn a_hash_that_is_none_or_nobodys_is_told_apart() {
    let site = Site::with_pictures([45]);
    let [node] = swarm([&site], 1);
    let client = node.client();
    let unknown = "0".repeat(64);
    for command in ["get", "show"] {
        client.run(&[command, &unknown]).fails(ExitCode::NotFound, &[&unknown, "list"]);
        client.run(&[command, "000000"]).fails(ExitCode::NotFound, &["000000"]);
        client.run(&[command, "c:000000"]).fails(ExitCode::NotFound, &["c:000000"]);
        client.run(&[command, &unknown[1..62].repeat(2)]).fails(ExitCode::Usage, &["122"]);
        client.run(&[command, "00000"]).fails(ExitCode::Usage, &["5"]);
    }
    // What is there still comes when a part of the wish does not.
    let hash = client.row("45.jpg")["hash"].as_str().unwrap().to_owned();
    let run = client.run(&["get", &unknown, &hash, "-o", "out"]);
    assert_eq!(run.code, ExitCode::NotFound as i32);
    assert_eq!(run.text(), "out/45.jpg\n");
    assert_eq!(run.err.lines().count(), 2, "the one, and the sum: {}", run.err);
}
