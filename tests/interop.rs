//! Another implementation in the swarm: js-libp2p, with nothing of p2pimg but `docs/protocol.md`.
//!
//! Skipped, with a line that says so, where `node` and `npm` or their registry can't be had.
#![allow(clippy::unwrap_used, reason = "a test may fail so")]

#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use image::ImageFormat;
use image::imageops::FilterType;
use serde_json::Value;

use support::{Site, eventually, pictures};

/// What the JavaScript is made of.
const FILES: [&str; 5] = ["package.json", "package-lock.json", "polyfill.mjs", "frames.mjs", "node.mjs"];

/// A running JavaScript node; it ends with its standard input, and is killed when dropped.
struct Js {
    child: Child,
    _input: ChildStdin,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Js {
    fn start(folder: &Path, args: &[&str]) -> Self {
        let mut child = Command::new("node")
            .current_dir(folder)
            .args(["--import", "./polyfill.mjs", "node.mjs"])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { _input: child.stdin.take().unwrap(), child, lines }
    }

    /// What it says next, which has to be about `what`.
    #[track_caller]
    fn says(&mut self, what: &str) -> Value {
        let line = self.lines.next().unwrap_or_else(|| panic!("it ended before '{what}'")).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        assert!(said[what].is_object(), "{what} in {line}");
        said[what].clone()
    }
}

impl Drop for Js {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn runs(program: &str) -> bool {
    let run = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    run.is_ok_and(|status| status.success())
}

/// The JavaScript with all that it needs, outside of the checkout; or why there is none.
fn installed() -> Result<PathBuf, String> {
    if let Some(missing) = ["node", "npm"].into_iter().find(|program| !runs(program)) {
        return Err(format!("there is no {missing}"));
    }
    let cache = std::env::var_os("P2PIMG_CI_CACHE")
        .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    fs::create_dir_all(&cache).unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop");
    let all: Vec<u8> = FILES.iter().flat_map(|name| fs::read(source.join(name)).unwrap()).collect();
    let ready = cache.join(format!("interop-{}", &blake3::hash(&all).to_hex()[..16]));
    if ready.is_dir() {
        return Ok(ready);
    }
    // Under another name until it is complete: a run that was stopped leaves no half of it.
    let making = tempfile::tempdir_in(&cache).unwrap();
    for name in FILES {
        fs::copy(source.join(name), making.path().join(name)).unwrap();
    }
    let npm = Command::new("npm")
        .args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"])
        .current_dir(making.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    if !npm.status.success() {
        let said = String::from_utf8_lossy(&npm.stderr).into_owned();
        return Err(format!("npm could not install what it needs: {}", said.trim()));
    }
    // When another run was quicker, its folder is there, and this one goes.
    match fs::rename(making.path(), &ready) {
        Ok(()) => drop(making.keep()),
        Err(error) => assert!(ready.is_dir(), "{error}"),
    }
    Ok(ready)
}

#[test]
fn a_js_node_finds_and_fetches_and_is_found_and_asked() {
    let js = match installed() {
        Ok(folder) => folder,
        Err(why) => {
            // Not by a macro: the test harness would keep it to itself.
            let _ = writeln!(std::io::stderr(), "SKIPPED: js-libp2p in the swarm: {why}");
            return;
        }
    };
    let (holder, door) = (Site::new(), Site::new());
    // Of several chunks.
    let picture = pictures::draw(70).resize_exact(600, 400, FilterType::Triangle);
    let picture = pictures::encode(&picture, ImageFormat::Bmp);
    holder.add("a.bmp", &picture);
    let holds = holder.start(&[]);
    let node = door.start(&[&holds]);
    let client = node.client();
    let row = client.lists(1).remove(0);
    let (fetched, own) = (door.root().join("fetched"), door.root().join("own.jpg"));
    fs::write(&own, pictures::jpeg(71)).unwrap();

    let (width, height) = (pictures::SIZE.0.to_string(), pictures::SIZE.1.to_string());
    let (into, from) = (fetched.to_str().unwrap(), own.to_str().unwrap());
    let hash = row["hash"].as_str().unwrap();
    let mut js = Js::start(&js, &[node.address(), hash, into, from, &width, &height]);

    // It finds by the DHT what a node of p2pimg has published, and fetches it there.
    let what = js.says("fetched");
    assert_eq!((&what["path"], &what["chunks"]), (&"a.bmp".into(), &3.into()));
    assert_eq!(what["from"], holds.peer());
    assert!(fs::read(&fetched).unwrap() == picture, "the bytes are those of the file");

    // What it publishes is found by a node of p2pimg, by the DHT alone, and fetched from it.
    let published = js.says("publishing");
    let image = published["image"].as_str().unwrap();
    assert_eq!(image, format!("c:{}", blake3::hash(&pictures::jpeg(71)).to_hex()));
    eventually("the picture of the js node", || {
        (client.run(&["get", image, "-o", "-"]).code == 0).then_some(())
    });
    assert_eq!(client.run(&["get", image, "-o", "-"]).out, pictures::jpeg(71));
    let shown = client.ok(&["show", image]);
    let peer = published["peer"].as_str().unwrap();
    let line = shown.lines().find(|line| line.contains(peer)).unwrap_or_else(|| panic!("{peer} in {shown}"));
    assert!(line.contains("confirmed") && line.contains("by the DHT"), "{line}");
}
