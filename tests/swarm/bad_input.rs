//! Files and folders that are not what they should be.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use p2pimg::error::ExitCode;
use p2pimg::limits::SETTLE_TRUNCATED;
use serde_json::Value;

use crate::support::{ANY_PORT, Site, TestNode, damage, eventually, names, pictures};

#[test]
fn a_folder_that_can_not_be_used_is_named() {
    let site = Site::new();
    let file = site.add("file", b"");
    let (file, missing) = (file.to_str().unwrap(), site.path("missing"));
    let missing = missing.to_str().unwrap();
    site.node_fails(&["--dir", missing]).fails(ExitCode::NotFound, &[missing]);
    site.node_fails(&["--dir", file]).fails(ExitCode::Usage, &[file, "folder"]);
    assert_eq!(names(&site.photos()), ["file"], "nothing was made");

    // A state folder that can't be made: not even root makes a folder below a file.
    let photos = site.photos();
    let state = format!("{file}/state");
    let args = ["--dir", photos.to_str().unwrap(), "--state", &state, "--listen", ANY_PORT];
    site.node_fails(&args).fails(ExitCode::Other, &[&state, "--state"]);
}

#[test]
fn an_empty_folder_is_a_node_like_any_other() {
    let site = Site::new();
    let node = site.start(&[]);
    let scan = node.scanned();
    assert_eq!((&scan["images"], &scan["problems"]), (&0.into(), &0.into()));
    let client = node.client();
    assert_eq!(client.list().len(), 0);
    assert_eq!(client.ok(&["get", "--all", "-o", "out"]), "");
    let status = client.status();
    assert_eq!((&status["images"], &status["degraded"]), (&0.into(), &false.into()));
    // It is what it was when pictures come.
    site.add("a.jpg", &pictures::jpeg(130));
    client.lists(1);
}

#[test]
fn files_that_are_no_pictures_or_too_large_do_not_stop_a_scan() {
    let site = Site::with_pictures([131]);
    let text = b"Dear diary, this is no picture at all.\n".repeat(20);
    site.add("text.jpg", &text);
    site.add("empty.jpg", b"");
    site.add("bomb.png", &damage::png_bomb());
    site.add("notes.txt", &text);
    let mut node = site.start_with(&[], &["--copies", "1"]);
    let client = node.client();
    let row = |rows: &[Value], path: &str| rows.iter().find(|row| row["path"] == path).cloned();
    let rows = client.lists(2);
    let bomb = row(&rows, "bomb.png").expect("indexed by its content");
    assert_eq!((&bomb["width"], &bomb["height"]), (&50_000.into(), &50_000.into()));
    let content = blake3::hash(&damage::png_bomb()).to_hex();
    assert_eq!(bomb["content"], content.as_str());
    assert_eq!(bomb["hash"], format!("c:{content}"), "no pixels, no hash of them");
    assert_eq!(client.run(&["get", &format!("c:{content}"), "-o", "-"]).out, damage::png_bomb());
    assert!(row(&rows, "131.jpg").is_some());

    let problem = node.event("problem", |event| event["path"] == "bomb.png");
    assert!(problem["reason"].as_str().unwrap().contains("pixels"), "{problem:#}");
    // The summary said "0 problems": it counted what could not be read, and not what could
    // not be decoded.
    node.event("scan_done", |event| event["problems"] == 3);
    let status = client.run(&["status", "--json"]);
    assert_eq!(status.code, ExitCode::Degraded as i32, "{}", status.text());
    let status: Value = serde_json::from_str(&status.text()).unwrap();
    assert_eq!(status["degraded"], true);
    assert!(status["problems"].as_array().unwrap().iter().any(|p| p["path"] == "bomb.png"), "{status:#}");
    let people = client.run(&["status"]);
    assert_eq!(people.code, ExitCode::Degraded as i32);
    assert!(people.text().contains("bomb.png: "), "{}", people.text());

    // Gone, and all is well again.
    for file in ["bomb.png", "text.jpg", "empty.jpg"] {
        fs::remove_file(site.path(file)).unwrap();
    }
    eventually("a node without problems", || (client.run(&["status"]).code == 0).then_some(()));
    assert!(node.is_running());
    assert!(!node.errors().contains("panicked"), "{}", node.errors());
}

/// A damaged file may still be arriving: a node waits a minute for the rest of it. It is
/// kept from run to run, so that only the first run of this test has to wait for that.
fn damaged_files() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("damaged pictures");
    fs::create_dir_all(&folder).unwrap();
    let whole = pictures::jpeg(132);
    let mut wrong = whole.clone();
    wrong.truncate(whole.len() * 2 / 3);
    for (name, data) in [("truncated.jpg", wrong), ("whole.jpg", whole)] {
        if fs::read(folder.join(name)).ok().as_ref() != Some(&data) {
            fs::write(folder.join(name), data).unwrap();
        }
    }
    folder
}

#[test]
fn a_truncated_jpeg_is_told_of_and_kept_by_its_bytes() {
    let folder = damaged_files();
    let site = Site::new();
    let state = site.root().join("state");
    let args = ["--listen", ANY_PORT, "--state", state.to_str().unwrap()];
    let node = TestNode::start(&site.home(), &folder, &args);
    let client = node.client();
    client.lists_when("the whole one", |rows| rows.iter().any(|row| row["path"] == "whole.jpg"));

    let changed = fs::metadata(folder.join("truncated.jpg")).unwrap().modified().unwrap();
    let age = changed.elapsed().unwrap_or_default();
    // `eventually` waits for the rest.
    std::thread::sleep(SETTLE_TRUNCATED.saturating_sub(age + Duration::from_secs(1)));
    let rows = client.lists(2);
    let cut = rows.iter().find(|row| row["path"] == "truncated.jpg").unwrap();
    let data = fs::read(folder.join("truncated.jpg")).unwrap();
    assert_eq!(cut["content"], blake3::hash(&data).to_hex().as_str());
    let problem = node.event("problem", |event| event["path"] == "truncated.jpg");
    assert!(problem["reason"].as_str().unwrap().starts_with("truncated"), "{problem:#}");
    assert_eq!(client.run(&["status"]).code, ExitCode::Degraded as i32);
    let content = format!("c:{}", cut["content"].as_str().unwrap());
    assert_eq!(client.run(&["get", &content, "-o", "-"]).out, data);
}

#[test]
fn an_output_that_can_not_be_written_is_exit_code_8() {
    let site = Site::with_pictures([133]);
    let node = site.start(&[]);
    let client = node.client();
    client.lists(1);
    let hash = client.row("133.jpg")["hash"].as_str().unwrap().to_owned();
    fs::write(client.folder().join("file"), "mine").unwrap();
    for output in ["missing/a.jpg", "file/a.jpg", "file/"] {
        client.run(&["get", &hash, "-o", output]).fails(ExitCode::Output, &[output.trim_end_matches('/')]);
    }
    client.run(&["get", &hash, "--force", "-o", "/dev/null"]).fails(ExitCode::Output, &["/dev/null"]);
    assert_eq!(names(&client.folder()), ["file"]);
    assert_eq!(fs::read(client.folder().join("file")).unwrap(), b"mine");
}
