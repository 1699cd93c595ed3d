//! What the benches share: real nodes as processes of their own, what the kernel says
//! they cost, made-up pictures, and a raw libp2p stream to compare with. Linux only: the
//! numbers come from `/proc`.

// Every bench uses a part of it.
#![allow(dead_code)]

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use serde_json::Value;

pub(crate) mod raw;

/// Nothing here takes longer unless something is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(150);

pub(crate) const MIB: u64 = 1 << 20;

/// A process that is killed when the bench ends, however it ends.
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("start a process");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = sync_channel(10_000);
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                // A full channel makes the process wait: nobody is interested in so much.
                let _ = sender.send(line);
            }
        });
        Self { child, lines }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line of its standard output.
    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line of output in time")
    }

    pub(crate) fn usage(&self) -> Usage {
        Usage::of(self.id())
    }

    /// Asks it to end as Ctrl-C does, and waits.
    pub(crate) fn end(mut self) {
        let asked = Command::new("kill").args(["-TERM", &self.id().to_string()]).status();
        if asked.is_ok_and(|status| status.success()) {
            let deadline = Instant::now() + Duration::from_secs(10);
            while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A node of the real binary.
pub(crate) struct Node {
    pub(crate) process: Process,
    /// With its peer id.
    pub(crate) address: String,
}

pub(crate) fn binary(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_p2pimg"));
    // Benches of something else don't want copies to be made meanwhile.
    command.env("P2PIMG_HOME", home).env("P2PIMG_CAPACITY", "0");
    command
}

impl Node {
    /// Starts a node on `root/name`; its state is in `root/name-state`.
    pub(crate) fn start(root: &Path, name: &str, bootstrap: Option<&str>) -> Self {
        Self::start_with(root, name, bootstrap, &[])
    }

    /// The same, with more options.
    pub(crate) fn start_with(root: &Path, name: &str, bootstrap: Option<&str>, options: &[&str]) -> Self {
        let dir = root.join(name);
        std::fs::create_dir_all(&dir).expect("temporary folder");
        let mut command = binary(&root.join("home"));
        command.args(["node", "--json", "--no-mdns", "--listen", "/ip4/127.0.0.1/tcp/0", "--dir"]).arg(dir);
        command.arg("--state").arg(root.join(format!("{name}-state")));
        if let Some(address) = bootstrap {
            command.args(["--bootstrap", address]);
        }
        command.args(options);
        let process = Process::start(&mut command);
        let mut node = Self { process, address: String::new() };
        let listening = node.wait("listening", |_| true);
        listening["address"].as_str().expect("an address").clone_into(&mut node.address);
        node
    }

    /// Waits for an event.
    pub(crate) fn wait(&self, event: &str, suits: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let Ok(told) = serde_json::from_str::<Value>(&self.process.line()) else { continue };
            if told["event"] == event && suits(&told) {
                return told;
            }
        }
        panic!("no {event} event within {PATIENCE:?}");
    }

    /// Waits until it has looked at all its pictures; files just made take a second to settle.
    pub(crate) fn scanned(&self, images: u64) -> Value {
        self.wait("scan_done", |told| told["images"] == images)
    }
}

/// What a process has cost until now.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    pub(crate) cpu: f64,
    /// Resident now, and at most since the start or [`forget_peak`]; bytes.
    pub(crate) resident: u64,
    pub(crate) peak: u64,
    /// Resident and not backed by a file.
    pub(crate) anonymous: u64,
    pub(crate) threads: u64,
    pub(crate) switches: u64,
}

impl Usage {
    pub(crate) fn of(process: u32) -> Self {
        let read =
            |name: &str| std::fs::read_to_string(format!("/proc/{process}/{name}")).unwrap_or_default();
        let (stat, status) = (read("stat"), read("status"));
        let number = |key: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or_default()
        };
        let switches = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
        let switches = switches.map(|task| {
            let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            line.and_then(|rest| rest.trim().parse::<u64>().ok()).unwrap_or_default()
        });
        Self {
            cpu: ticks(&stat, 11) + ticks(&stat, 12),
            resident: number("VmRSS:") * 1024,
            peak: number("VmHWM:") * 1024,
            anonymous: number("RssAnon:") * 1024,
            threads: number("Threads:"),
            switches: switches.sum(),
        }
    }
}

/// CPU seconds of children of this process that have ended.
pub(crate) fn children_cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    ticks(&stat, 13) + ticks(&stat, 14)
}

/// A field of `/proc/PID/stat`, counted from the one after the command's name, in seconds:
/// the kernel counts in hundredths.
fn ticks(stat: &str, field: usize) -> f64 {
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    fields.split_whitespace().nth(field).and_then(|text| text.parse::<f64>().ok()).unwrap_or_default() / 100.0
}

/// Makes the peak of a process its present size.
pub(crate) fn forget_peak(process: u32) {
    let _ = std::fs::write(format!("/proc/{process}/clear_refs"), "5");
}

/// Bytes that no two seeds and no compression make the same: xorshift64*.
pub(crate) struct Noise(u64);

impl Noise {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for piece in bytes.chunks_mut(8) {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            let word = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes();
            piece.copy_from_slice(&word[..piece.len()]);
        }
    }
}

/// A BMP of noise.
pub(crate) fn bmp(width: u32, height: u32, seed: u64) -> Vec<u8> {
    let row = (width * 3).next_multiple_of(4);
    let (pixels, total) = (row * height, 54 + row * height);
    let mut file = Vec::with_capacity(total as usize);
    file.extend(b"BM");
    for word in [total, 0, 54, 40, width, height, 1 | 24 << 16, 0, pixels, 2835, 2835, 0, 0] {
        file.extend(word.to_le_bytes());
    }
    file.resize(total as usize, 0);
    Noise::new(seed).fill(&mut file[54..]);
    file
}

/// An uncompressed TIFF of 10,000 pixels a row and about `bytes` of noise.
pub(crate) fn write_tiff(path: &Path, bytes: u64, seed: u64) {
    const WIDTH: u32 = 10_000;
    let height = u32::try_from(bytes / u64::from(WIDTH * 3)).expect("a size that fits");
    let strip = WIDTH * height * 3;
    let mut out = BufWriter::new(File::create(path).expect("temporary folder"));
    let mut head = b"II*\0".to_vec();
    head.extend(8_u32.to_le_bytes());
    // Type 3 is 16 bits, 4 is 32 bits.
    let after: u32 = 8 + 2 + 10 * 12 + 4;
    let entries: [(u16, u16, u32, u32); 10] = [
        (256, 4, 1, WIDTH),
        (257, 4, 1, height),
        (258, 3, 3, after),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, after + 6),
        (277, 3, 1, 3),
        (278, 4, 1, height),
        (279, 4, 1, strip),
        (284, 3, 1, 1),
    ];
    head.extend((entries.len() as u16).to_le_bytes());
    for (tag, kind, count, value) in entries {
        head.extend(tag.to_le_bytes());
        head.extend(kind.to_le_bytes());
        head.extend(count.to_le_bytes());
        head.extend(value.to_le_bytes());
    }
    head.extend([0; 4]);
    head.extend([8, 0, 8, 0, 8, 0]);
    out.write_all(&head).expect("write");
    let mut noise = Noise::new(seed);
    let mut row = vec![0; WIDTH as usize * 3];
    for _ in 0..height {
        noise.fill(&mut row);
        out.write_all(&row).expect("write");
    }
    // So that no later measurement pays for writing it back.
    out.into_inner().expect("write").sync_all().expect("write");
}

/// The value below which the share `part` of the sorted `times` is, in milliseconds.
pub(crate) fn percentile(times: &[Duration], part: f64) -> f64 {
    let at = ((times.len() as f64 * part).ceil() as usize).clamp(1, times.len()) - 1;
    times[at].as_secs_f64() * 1000.0
}

/// A temporary folder: `P2PIMG_BENCH_DIR` or the system's.
pub(crate) fn temp() -> tempfile::TempDir {
    let parent = std::env::var_os("P2PIMG_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    tempfile::tempdir_in(parent).expect("temporary folder")
}
