//! A second copy of everything: one node with many pictures, another that joins and is empty.
//! Then the same files with rsync (a local daemon, which neither encrypts nor verifies) and with Syncthing
//! (discovery and relays off).
//!
//! `cargo bench --bench copies`; some minutes. `P2PIMG_BENCH_FILES` sets the number of pictures
//! (2,000), `P2PIMG_BENCH_KB` their size (500), `P2PIMG_BENCH_ROUNDS` the rounds (3),
//! `P2PIMG_BENCH_DIR` the folder. Without `rsync` or `syncthing` on the machine that part is left out.
//!
//! Last, kill -9 of one of four nodes that hold 1,000 of the pictures between them: from the moment that
//! it is given up to the moment that all have two copies again.

mod kit;

use std::fs;
use std::io::Cursor;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, RgbImage};
use kit::{MIB, Node, Process};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Pictures that decode like photos; few, because encoding takes longer than all that is measured.
const BASES: u64 = 20;

/// A JPEG of about `kb` KB: smooth colours with as much noise as that needs.
fn base(seed: u64, kb: u64) -> Vec<u8> {
    let (width, height) = (1600, 1200);
    let mut noise = kit::Noise::new(seed);
    let mut grain = vec![0; width as usize * height as usize];
    noise.fill(&mut grain);
    let mut quality = 90;
    loop {
        let image = RgbImage::from_fn(width, height, |x, y| {
            let grain = u32::from(grain[(y * width + x) as usize]) / 16;
            let tone = |shift: u32| ((x * 200 / width + y * 50 / height + shift + grain) % 256) as u8;
            image::Rgb([tone(seed as u32 * 11), tone(40), tone(90)])
        });
        let mut file = Cursor::new(Vec::new());
        let encoder = JpegEncoder::new_with_quality(&mut file, quality);
        DynamicImage::from(image).write_with_encoder(encoder).expect("a JPEG");
        let file = file.into_inner();
        if file.len() as u64 <= kb * 1100 || quality <= 20 {
            return file;
        }
        quality -= 5;
    }
}

/// The same picture in other bytes: with a comment behind the first marker.
fn variant(base: &[u8], number: u64) -> Vec<u8> {
    let text = number.to_be_bytes();
    let comment = [&[0xff, 0xfe, 0, 10][..], &text].concat();
    [&base[..2], &comment, &base[2..]].concat()
}

fn fill(folder: &Path, files: std::ops::Range<u64>, bases: &[Vec<u8>]) -> u64 {
    fs::create_dir_all(folder).expect("temporary folder");
    let mut bytes = 0;
    for number in files {
        let data = variant(&bases[(number % BASES) as usize], number);
        bytes += data.len() as u64;
        fs::write(folder.join(format!("{number:05}.jpg")), data).expect("temporary folder");
    }
    bytes
}

const OPTIONS: [&str; 6] = ["--capacity", "1T", "--dedup", "off", "--repair-after", "2s"];

struct Cost {
    wall: f64,
    cpu: f64,
    peaks: [u64; 2],
}

/// From the start of the empty node to two copies of everything.
fn second_copies(root: &Path, files: u64) -> Cost {
    let full = Node::start_with(root, "full", None, &OPTIONS);
    full.scanned(files);
    kit::forget_peak(full.process.id());
    let before = full.process.usage().cpu;
    let start = Instant::now();
    let empty = Node::start_with(root, "empty", Some(&full.address), &OPTIONS);
    full.wait("settled", |told| told["contents"] == files);
    let wall = start.elapsed().as_secs_f64();
    let (one, other) = (full.process.usage(), empty.process.usage());
    Cost { wall, cpu: one.cpu - before + other.cpu, peaks: [one.peak, other.peak] }
}

/// The same files to an empty folder, with rsync and its daemon. `None` when there is none.
fn rsync(root: &Path) -> Option<Cost> {
    Command::new("rsync").arg("--version").stdout(Stdio::null()).status().ok()?;
    let port = TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?.port();
    let config = root.join("rsyncd.conf");
    let full = root.join("full");
    let text = format!(
        "use chroot = no\naddress = 127.0.0.1\n[full]\npath = {}\nread only = yes\nexclude = .p2pimg*\n",
        full.display()
    );
    fs::write(&config, text).expect("temporary folder");
    let before = kit::children_cpu();
    let mut daemon = Command::new("rsync")
        .args(["--daemon", "--no-detach", "--port", &port.to_string(), "--config"])
        .arg(&config)
        .spawn()
        .ok()?;
    let to = root.join("rsynced");
    let ready = Instant::now() + Duration::from_secs(10);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() && Instant::now() < ready {
        std::thread::sleep(Duration::from_millis(10));
    }
    let start = Instant::now();
    // Written through to the disk, as copies are.
    let got = Command::new("rsync")
        .args(["-a", "--fsync", &format!("rsync://127.0.0.1:{port}/full/")])
        .arg(&to)
        .status()
        .ok()?;
    let wall = start.elapsed().as_secs_f64();
    let _ = daemon.kill();
    let _ = daemon.wait();
    let cpu = kit::children_cpu() - before;
    let _ = fs::remove_dir_all(&to);
    got.success().then_some(Cost { wall, cpu, peaks: [0, 0] })
}

/// The same files with Syncthing (discovery and relays off), from the start of the empty one. `None`
/// when there is none.
fn syncthing(root: &Path, files: u64) -> Option<Cost> {
    let port = || Some(TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?.port());
    let homes = ["st-full", "st-empty"].map(|name| root.join(name));
    let mut ids = Vec::new();
    for home in &homes {
        let generate = Command::new("syncthing").args(["generate", "--home"]).arg(home).output().ok()?;
        generate.status.success().then_some(())?;
        let id = Command::new("syncthing").arg("--home").arg(home).arg("--device-id").output().ok()?;
        ids.push(String::from_utf8(id.stdout).ok()?.trim().to_owned());
    }
    let ports = [port()?, port()?, port()?, port()?];
    let folders = [root.join("full"), root.join("synced")];
    fs::create_dir_all(folders[1].join(".stfolder")).ok()?;
    fs::create_dir_all(folders[0].join(".stfolder")).ok()?;
    fs::write(folders[0].join(".stignore"), ".p2pimg*\n").ok()?;
    let device = |at: usize| {
        format!(r#"<device id="{}"><address>tcp://127.0.0.1:{}</address></device>"#, ids[at], ports[at])
    };
    for at in 0..2 {
        let text = format!(
            r#"<configuration version="36"><folder id="f" path="{}" rescanIntervalS="3600" fsWatcherEnabled="false">
            <device id="{}"/><device id="{}"/></folder>{}{}
            <gui enabled="true" tls="false"><address>127.0.0.1:{}</address><apikey>bench</apikey></gui>
            <options><listenAddress>tcp://127.0.0.1:{}</listenAddress>
            <globalAnnounceEnabled>false</globalAnnounceEnabled><localAnnounceEnabled>false</localAnnounceEnabled>
            <relaysEnabled>false</relaysEnabled><natEnabled>false</natEnabled><urAccepted>-1</urAccepted>
            <crashReportingEnabled>false</crashReportingEnabled></options></configuration>"#,
            folders[at].display(),
            ids[0],
            ids[1],
            device(0),
            device(1),
            ports[at + 2],
            ports[at],
        );
        fs::write(homes[at].join("config.xml"), text).ok()?;
    }
    let start = |at: usize| {
        let mut command = Command::new("syncthing");
        command.args(["serve", "--no-browser", "--home"]).arg(&homes[at]).env("STMONITORED", "yes");
        Process::start(command.stderr(Stdio::null()))
    };
    let has = |at: usize| {
        let deadline = Instant::now() + kit::PATIENCE;
        while Instant::now() < deadline {
            let status = http(ports[at + 2], "/rest/db/status?folder=f").unwrap_or_default();
            let local = status.split("\"localFiles\": ").nth(1).and_then(|rest| rest.split(',').next());
            if local.and_then(|number| number.trim().parse::<u64>().ok()) == Some(files) {
                return Some(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    };
    let full = start(0);
    has(0)?;
    let before = full.usage().cpu;
    let began = Instant::now();
    let empty = start(1);
    has(1)?;
    let wall = began.elapsed().as_secs_f64();
    let (one, other) = (full.usage(), empty.usage());
    Some(Cost { wall, cpu: one.cpu - before + other.cpu, peaks: [one.peak, other.peak] })
}

/// The body of an answer.
fn http(port: u16, path: &str) -> Option<String> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nX-API-Key: bench\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn show(name: &str, files: u64, bytes: u64, costs: &mut [Cost], other: Option<f64>) -> f64 {
    costs.sort_by(|a, b| a.wall.total_cmp(&b.wall));
    let median = &costs[costs.len() / 2];
    let rate = bytes as f64 / median.wall / 1e6;
    let share = other.map_or(String::new(), |other| format!("  {:.2} of rsync", rate / other));
    println!(
        "{name:9} {rate:6.1} MB/s  {:5.0} files/s  {:5.2} CPU s/GB{share}",
        files as f64 / median.wall,
        median.cpu / (bytes as f64 / 1e9),
    );
    let peak = |at: usize| costs.iter().map(|cost| cost.peaks[at]).max().unwrap_or(0) / MIB;
    if peak(1) > 0 {
        println!("         peak memory: the full node {} MiB, the empty one {} MiB", peak(0), peak(1));
    }
    rate
}

/// Seconds from a kill -9 to two copies of everything again.
fn heal(root: &Path, files: u64, bases: &[Vec<u8>]) -> f64 {
    let share = files / 4;
    let mut nodes: Vec<Node> = Vec::new();
    for name in 0..4 {
        let folder = format!("heal{name}");
        fill(&root.join(&folder), name * share..(name + 1) * share, bases);
        let first = nodes.first().map(|node| node.address.clone());
        nodes.push(Node::start_with(root, &folder, first.as_deref(), &OPTIONS));
    }
    let all = share * 4;
    nodes[0].wait("settled", |told| told["contents"] == all);
    let Some(dead) = nodes.pop() else { return 0.0 };
    let start = Instant::now();
    drop(dead);
    nodes[0].wait("peer_down", |_| true);
    nodes[0].wait("settled", |told| told["contents"] == all);
    start.elapsed().as_secs_f64()
}

fn main() {
    let files = number("P2PIMG_BENCH_FILES", 2000);
    let rounds = number("P2PIMG_BENCH_ROUNDS", 3);
    let temp = kit::temp();
    let bases: Vec<Vec<u8>> = (0..BASES).map(|seed| base(seed, number("P2PIMG_BENCH_KB", 500))).collect();
    let (mut ours, mut theirs, mut third) = (Vec::new(), Vec::new(), Vec::new());
    let mut bytes = 0;
    for round in 0..rounds {
        let root = temp.path().join(round.to_string());
        bytes = fill(&root.join("full"), 0..files, &bases);
        theirs.extend(rsync(&root));
        third.extend(syncthing(&root, files));
        ours.push(second_copies(&root, files));
        let _ = fs::remove_dir_all(&root);
    }
    println!(
        "{files} JPEGs, {} MB, to a second node over loopback; {rounds} rounds, medians",
        bytes / 1_000_000
    );
    let rate = (!theirs.is_empty()).then(|| show("rsync", files, bytes, &mut theirs, None));
    if !third.is_empty() {
        show("syncthing", files, bytes, &mut third, rate);
    }
    show("p2pimg", files, bytes, &mut ours, rate);
    let root = temp.path().join("heal");
    let seconds = heal(&root, 1000.min(files), &bases);
    println!("kill -9 of one of 4 nodes with 1,000 pictures: two copies of each again after {seconds:.1} s");
    println!("         (2 s of them: --repair-after)");
}
