//! `p2pimg node`: runs a node and tells what it does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use libp2p::PeerId;
use libp2p::pnet::PreSharedKey;

use crate::brake::Keep;
use crate::cli::signals::EndSignals;
use crate::cli::{CommonArgs, Failure, NodeArgs, local, screen};
use crate::client_cli::text;
use crate::error::ExitCode;
use crate::limits::SHUTDOWN_DEADLINE;
use crate::node::{self, NodeConfig, NodeEvent, NodeEvents, NodeHandle};

/// Where no terminal shows a bar, a scan says this often how far it is.
const PROGRESS_LINE_EVERY: Duration = Duration::from_secs(5);

/// What changes all the time is told after so long without a change, and at the latest after
/// so long with changes.
const NEWS_REST: Duration = Duration::from_secs(2);
const NEWS_LATEST: Duration = Duration::from_secs(30);

/// How long a node stays when all is handed over.
const DRAINED_STAYS: Duration = Duration::from_secs(3);

/// Said when a node was asked to end and hands over first.
const DRAINING: &str =
    "handing over what would have too few copies without this node; ask again to end at once";

/// Runs a node until it is asked to end.
///
/// # Errors
/// It can't start.
pub async fn run(args: &NodeArgs, common: &CommonArgs) -> Result<ExitCode, Failure> {
    let mut signals = EndSignals::listen()
        .map_err(|error| Failure::new(ExitCode::Other, format_args!("cannot listen to signals: {error}")))?;
    // A node that anybody may reach must not shut out those without the key.
    let key =
        if args.open { None } else { local::load_key(args.swarm_key.as_deref(), common.home.as_deref())? };
    let config = config(args, common.home.clone(), key.map(|(_, key)| key))?;
    let (node, events) = tokio::select! {
        started = node::start(config) => started.map_err(|error| local::start_failure(&error))?,
        () = signals.next() => return Ok(ExitCode::Success),
    };
    let teller = Teller::new(args.json, common);
    tell_until_end(&node, events, teller, signals, args.drain_on_exit).await;
    Ok(ExitCode::Success)
}

fn config(
    args: &NodeArgs,
    home: Option<PathBuf>,
    swarm_key: Option<PreSharedKey>,
) -> Result<NodeConfig, Failure> {
    let keep = Keep::new(args.keep.iter().map(String::as_str));
    Ok(NodeConfig {
        dir: args.dir.clone(),
        state: args.state.clone(),
        listen: args.listen.clone(),
        bootstrap: args.bootstrap.clone(),
        mdns: !args.no_mdns,
        relay: args.relay,
        upnp: args.upnp,
        swarm_key,
        open: args.open,
        allow_write: args.allow_write,
        decode_budget: args.decode_memory.0,
        max_pixels: args.max_pixels.0,
        rescan_every: args.rescan.0,
        accept_new_folder: args.new_folder,
        home,
        dedup: args.dedup,
        keep: keep.map_err(|error| Failure::new(ExitCode::Usage, format_args!("--keep: {error}")))?,
        adopt: args.adopt,
        trash_for: Duration::from_secs(u64::from(args.trash_days) * 86_400),
        max_drop_percent: args.max_drop,
        copies: args.copies,
        capacity: args.capacity,
        zone: args.zone.clone(),
        repair_after: args.repair_after.0,
        trim_after: args.trim_after.0,
        max_bandwidth: args.max_bandwidth.map(|size| size.0),
        lease: Duration::from_secs(args.lease_seconds),
        scrub_every: Duration::from_secs(u64::from(args.scrub_days) * 86_400),
        max_cached: args.catalog_limit,
        max_members: args.max_members,
    })
}

/// Tells events until the node has stopped: by itself, or because a signal asked for it. A
/// second signal does not wait.
async fn tell_until_end(
    node: &NodeHandle,
    mut events: NodeEvents,
    mut teller: Teller,
    mut signals: EndSignals,
    drain: bool,
) {
    let mut draining = false;
    loop {
        let news_due = teller.news.due();
        let news = async { tokio::time::sleep_until(news_due.unwrap_or_else(Instant::now).into()).await };
        tokio::select! {
            event = events.next() => match event {
                Some(event) => {
                    teller.tell(&event);
                    if matches!(event, NodeEvent::Drained) {
                        // Whoever asked for it asks how far it is, every second.
                        tokio::time::sleep(DRAINED_STAYS).await;
                        break;
                    }
                }
                None => return,
            },
            () = news, if news_due.is_some() => teller.tell_news(),
            () = signals.next() => {
                if draining || !drain || !node.drain().await {
                    break;
                }
                draining = true;
                teller.tell(&NodeEvent::Notice { message: DRAINING.to_owned() });
            }
        }
    }
    let stopping = async {
        let rest = async {
            while let Some(event) = events.next().await {
                teller.tell(&event);
            }
        };
        tokio::join!(node.shutdown(), rest);
    };
    tokio::select! {
        late = tokio::time::timeout(SHUTDOWN_DEADLINE, stopping) => if late.is_err() {
            tracing::warn!("shutting down took longer than {SHUTDOWN_DEADLINE:?}: not waiting any longer");
        },
        () = signals.next() => tracing::warn!("asked a second time: ending at once"),
    }
}

/// What changes hundreds of times while folders are scanned and catalogs pulled, and is told
/// once it has come to rest.
#[derive(Debug, Default)]
struct News {
    swarm_images: u64,
    peers: BTreeSet<PeerId>,
    said: Option<String>,
    /// The first and the last change since it was told.
    changed: Option<(Instant, Instant)>,
}

impl News {
    fn note(&mut self, now: Instant, event: &NodeEvent) {
        match event {
            NodeEvent::PeerUp { peer, .. } => drop(self.peers.insert(*peer)),
            NodeEvent::PeerDown { peer } => drop(self.peers.remove(peer)),
            NodeEvent::Synced { swarm_images, .. } => {
                self.swarm_images = *swarm_images;
                let first = self.changed.map_or(now, |(first, _)| first);
                self.changed = Some((first, now));
            }
            _ => {}
        }
    }

    fn due(&self) -> Option<Instant> {
        let (first, last) = self.changed?;
        Some((last + NEWS_REST).min(first + NEWS_LATEST))
    }

    /// The line, unless it was the last one too.
    fn take(&mut self) -> Option<String> {
        self.changed = None;
        let nodes = text::count(self.peers.len() as u64 + 1, "node");
        let line = format!("in the swarm: {} on {nodes}", text::count(self.swarm_images, "image"));
        (self.said.as_ref() != Some(&line)).then(|| {
            self.said = Some(line.clone());
            line
        })
    }
}

/// Turns events into lines.
struct Teller {
    news: News,
    json: bool,
    quiet: bool,
    bars: bool,
    /// The reader of standard output is still there.
    stdout: bool,
    scan: Option<ProgressBar>,
    last_line: Option<Instant>,
    /// Drops wait for a person, who may see only the last line of a node that ends.
    braked: bool,
}

impl Teller {
    fn new(json: bool, common: &CommonArgs) -> Self {
        let bars = screen::shows_progress(common);
        let news = News::default();
        let (scan, last_line) = (None, None);
        Self { news, json, quiet: common.quiet, bars, stdout: true, scan, last_line, braked: false }
    }

    fn tell_news(&mut self) {
        if let Some(line) = self.news.take().filter(|_| !self.quiet && !self.json) {
            screen::note(&line);
        }
    }

    fn tell(&mut self, event: &NodeEvent) {
        self.show_scan(event);
        self.news.note(Instant::now(), event);
        if self.json {
            match serde_json::to_string(event) {
                Ok(line) => self.print(&text::safe_json(&line)),
                Err(error) => tracing::error!("cannot write an event as JSON: {error}"),
            }
            return;
        }
        if let Some(line) = line(event, self.quiet) {
            screen::note(&line);
        }
        match event {
            NodeEvent::Started { peer, .. } => self.print(&peer.to_string()),
            NodeEvent::Listening { address } => self.print(&address.to_string()),
            NodeEvent::Braked { .. } => self.braked = true,
            // It was approved.
            NodeEvent::Dropped { .. } => self.braked = false,
            NodeEvent::Stopping if self.braked => {
                screen::note("drops still wait for `p2pimg client dedup approve`, when the node runs again");
            }
            _ => {}
        }
    }

    /// A node does not end because nobody reads what it prints.
    fn print(&mut self, line: &str) {
        if self.stdout && screen::print(line).is_err() {
            self.stdout = false;
            screen::note("standard output is closed: the node goes on without it");
        }
    }

    fn says_progress_now(&self) -> bool {
        let wanted = !self.quiet && !self.json;
        wanted && self.last_line.is_none_or(|last| last.elapsed() >= PROGRESS_LINE_EVERY)
    }

    fn show_scan(&mut self, event: &NodeEvent) {
        match event {
            NodeEvent::ScanProgress { done, total } if self.bars => {
                let template = "scanning [{bar:30}] {pos}/{len} files, {eta} left";
                let bar = self.scan.get_or_insert_with(|| screen::bar(true, template));
                bar.set_length(*total);
                bar.set_position(*done);
            }
            NodeEvent::ScanProgress { done, total } if self.says_progress_now() => {
                self.last_line = Some(Instant::now());
                screen::note(&format!("scanning: {done} of {total} files"));
            }
            NodeEvent::ScanDone { .. } | NodeEvent::Stopping => {
                if let Some(bar) = self.scan.take() {
                    bar.finish_and_clear();
                }
                self.last_line = None;
            }
            _ => {}
        }
    }
}

/// An event as one line for people; `None` when it is told elsewhere or not asked for.
fn line(event: &NodeEvent, quiet: bool) -> Option<String> {
    let always = match event {
        NodeEvent::Warning { message } => Some(format!("warning: {message}")),
        NodeEvent::WrongBytes { peer, content } => {
            Some(format!("warning: {peer} sent wrong bytes for {content}; they were not used"))
        }
        NodeEvent::Braked { would_take, allowed, files } => Some(braked(*would_take, *allowed, *files)),
        NodeEvent::Damaged { path, content, replica } => Some(damaged(path, content, *replica)),
        _ => None,
    };
    if quiet || always.is_some() {
        return always;
    }
    Some(match event {
        NodeEvent::Started { folder, .. } => {
            format!("p2pimg {}: node for {folder}", env!("CARGO_PKG_VERSION"))
        }
        NodeEvent::Notice { message } => message.clone(),
        // A look at single files that found nothing new is not worth a line.
        NodeEvent::ScanDone { full: false, inspected: 0, .. } => return None,
        NodeEvent::ScanDone { images, bytes, inspected, unsettled, unprotected, problems, .. } => {
            scan_done([*images, *bytes, *inspected, *unsettled, *problems], unprotected)
        }
        NodeEvent::Problem { path, reason } => format!("{path}: {reason}"),
        NodeEvent::PeerUp { peer, images } => {
            format!("connected to {peer} ({})", text::count(*images, "image"))
        }
        NodeEvent::PeerDown { peer } => format!("lost {peer}"),
        NodeEvent::Dropped { path, reason, keeper, entry } => dropped(path, reason, keeper, entry.as_deref()),
        NodeEvent::Replicated { path, .. } => format!("keeping a copy of {path} for the swarm"),
        NodeEvent::Settled { contents, copies } => {
            format!("{} on {} each", text::count(*contents, "picture"), text::count((*copies).into(), "node"))
        }
        NodeEvent::Drained => "everything is handed over".to_owned(),
        NodeEvent::Removed { path, entry } => {
            format!("removed {path}, as a person asked; back with `p2pimg trash restore {entry}`")
        }
        NodeEvent::Added { path, .. } => format!("added by a client: {path}"),
        NodeEvent::Restored { path } => format!("back in the folder: {path}"),
        NodeEvent::Healed { path, entry, .. } => {
            format!("healed {path}; what its disk made of it is in the trash as {entry}")
        }
        NodeEvent::Scrubbed { contents, bytes } => {
            format!("scrubbed: {}, {}", text::count(*contents, "image"), text::size(*bytes))
        }
        NodeEvent::Stopping => "stopping".to_owned(),
        // Told together, when things have come to rest: see `News`.
        NodeEvent::Synced { .. } => return None,
        NodeEvent::Published { keys } => {
            tracing::info!("published {}", text::count(*keys, "key"));
            return None;
        }
        NodeEvent::Looked { .. }
        | NodeEvent::Listening { .. }
        | NodeEvent::ScanProgress { .. }
        | NodeEvent::Warning { .. }
        | NodeEvent::WrongBytes { .. }
        | NodeEvent::Damaged { .. }
        | NodeEvent::Braked { .. } => return None,
    })
}

fn dropped(path: &str, reason: &str, keeper: &str, entry: Option<&str>) -> String {
    let back = entry.map_or_else(String::new, |entry| format!("; back with `p2pimg trash restore {entry}`"));
    format!("dropped {path}: {reason}; kept {keeper}{back}")
}

fn damaged(path: &str, content: &str, replica: bool) -> String {
    let next = if replica { "it was set apart" } else { "it is healed as soon as a node has it" };
    format!("warning: the disk has damaged {path} (c:{content}); {next}")
}

fn braked(would_take: u64, allowed: u64, files: u64) -> String {
    let (would_take, allowed, files) =
        (text::grouped(would_take), text::grouped(allowed), text::count(files, "file"));
    format!(
        "warning: {would_take} of {files} would be dropped, and {allowed} may be: nothing goes until you have \
         seen `p2pimg client duplicates` and said `p2pimg client dedup approve`, or a larger --max-drop"
    )
}

fn scan_done(
    [images, bytes, inspected, unsettled, problems]: [u64; 5],
    unprotected: &BTreeMap<String, u64>,
) -> String {
    let mut parts = vec![
        format!("scanned: {}, {}", text::count(images, "image"), text::size(bytes)),
        format!("{} new or changed", text::grouped(inspected)),
    ];
    if unsettled > 0 {
        parts.push(format!("{} still being written", text::count(unsettled, "file")));
    }
    if problems > 0 {
        parts.push(format!("{} could not be read or decoded", text::count(problems, "file")));
    }
    if !unprotected.is_empty() {
        let kinds: Vec<String> =
            unprotected.iter().map(|(kind, number)| format!("{number} {kind}")).collect();
        parts.push(format!("of types that are not handled, and so unprotected: {}", kinds.join(", ")));
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_node_still_warns() {
        let warning = NodeEvent::Warning { message: "the disk is full".into() };
        let notice = NodeEvent::Notice { message: "port 4011 is taken".into() };
        assert_eq!(line(&warning, true).as_deref(), Some("warning: the disk is full"));
        assert_eq!(line(&notice, true), None);
        assert_eq!(line(&notice, false).as_deref(), Some("port 4011 is taken"));
    }

    #[test]
    fn a_drop_says_why_and_how_the_file_comes_back() {
        let event = NodeEvent::Dropped {
            path: "small.jpg".into(),
            reason: "hash distance 3".into(),
            keeper: "best.jpg".into(),
            entry: Some("20251123-110819-0".into()),
        };
        let told = line(&event, false).unwrap();
        assert_eq!(
            told,
            "dropped small.jpg: hash distance 3; kept best.jpg; back with `p2pimg trash restore \
             20251123-110819-0`"
        );
        assert_eq!(line(&event, true), None);
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!((json["event"].as_str(), json["path"].as_str()), (Some("dropped"), Some("small.jpg")));
        let braked = line(&NodeEvent::Braked { would_take: 1200, allowed: 300, files: 2000 }, true).unwrap();
        assert!(braked.starts_with("warning: 1,200 of 2,000 files would be dropped, and 300"), "{braked}");
        assert!(braked.contains("dedup approve"), "{braked}");
    }

    /// A node said "know all of ..." for every batch of pictures that another one scanned,
    /// and "published ..." for each key that it renewed.
    #[test]
    fn a_swarm_that_scans_is_told_of_once() {
        let peer = PeerId::random();
        let start = Instant::now();
        let mut news = News::default();
        news.note(start, &NodeEvent::PeerUp { peer, images: 0 });
        assert_eq!(news.due(), None, "a connection has its own line");
        for second in 0..=40 {
            let now = start + Duration::from_secs(second);
            news.note(now, &NodeEvent::Synced { peer, swarm_images: second });
            let due = news.due().unwrap();
            assert!(due > now || second >= 30, "{second}");
            assert_eq!(line(&NodeEvent::Synced { peer, swarm_images: second }, false), None);
        }
        assert_eq!(news.due(), Some(start + NEWS_LATEST), "but not kept back for ever");
        assert_eq!(news.take().as_deref(), Some("in the swarm: 40 images on 2 nodes"));
        news.note(start, &NodeEvent::Synced { peer, swarm_images: 40 });
        assert_eq!(news.take(), None, "nothing new");
        assert_eq!(line(&NodeEvent::Published { keys: 3 }, false), None);
    }

    #[test]
    fn a_scan_names_what_is_not_protected() {
        let unprotected = BTreeMap::from([("HEIC".to_owned(), 3)]);
        let line = scan_done([1, 2048, 1, 0, 1], &unprotected);
        assert!(line.starts_with("scanned: 1 image, 2.0 KiB; 1 new"), "{line}");
        assert!(line.contains("1 file could not be read"), "{line}");
        assert!(line.contains("unprotected: 3 HEIC"), "{line}");
    }
}
