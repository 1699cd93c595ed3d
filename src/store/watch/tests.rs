//! The folder's thread, with the system's real notifications.

use std::fs;

use super::*;
use crate::store::scan::fakes::{FakeDecoder, FakeIndex, Place, rel};

const PATIENCE: Duration = Duration::from_secs(20);

struct Running {
    place: Place,
    task: FolderTask,
    events: mpsc::Receiver<FolderEvent>,
}

fn settings() -> TaskSettings {
    let scan =
        Settings { settle: Duration::from_millis(30), settle_truncated: Duration::from_secs(60), threads: 2 };
    // The periodic rescan is out of reach, so that only notifications can tell of changes.
    TaskSettings {
        scan,
        rescan_every: Duration::from_secs(3600),
        trouble_retry: Duration::from_millis(50),
        watch: true,
    }
}

impl Running {
    async fn start(place: Place, settings: TaskSettings) -> Self {
        let (index, decoder): (Arc<FakeIndex>, Arc<FakeDecoder>) =
            (Arc::clone(&place.index), Arc::clone(&place.decoder));
        let (task, events) = FolderTask::start(place.folder.root(), index, decoder, settings).unwrap();
        let mut running = Self { place, task, events };
        running.until(|event| matches!(event, FolderEvent::ScanDone { full: true, .. })).await;
        running
    }

    async fn next(&mut self) -> FolderEvent {
        tokio::time::timeout(PATIENCE, self.events.recv())
            .await
            .expect("an event in time")
            .expect("the thread runs")
    }

    async fn until(&mut self, wanted: impl Fn(&FolderEvent) -> bool) -> FolderEvent {
        loop {
            let event = self.next().await;
            if wanted(&event) {
                return event;
            }
        }
    }

    /// Reads events until the index has exactly these paths.
    async fn until_paths(&mut self, paths: &[&str]) {
        while self.place.index.paths() != paths {
            self.next().await;
        }
    }
}

#[tokio::test]
async fn what_happens_in_the_folder_reaches_the_index() {
    let place = Place::new();
    place.put("old/a.jpg", "PIC1");
    let mut run = Running::start(place, settings()).await;
    run.until_paths(&["old/a.jpg"]).await;
    run.place.put("b.jpg", "PIC2");
    run.place.put("new/deep/c.jpg", "PIC3");
    run.until_paths(&["b.jpg", "new/deep/c.jpg", "old/a.jpg"]).await;
    // The new folders are watched by now.
    run.place.put("new/deep/d.jpg", "PIC4");
    fs::remove_file(run.place.path("b.jpg")).unwrap();
    run.until_paths(&["new/deep/c.jpg", "new/deep/d.jpg", "old/a.jpg"]).await;
    let before = run.place.index.content("old/a.jpg");
    run.place.put("old/a.jpg", "PIC1 changed");
    while run.place.index.content("old/a.jpg") == before {
        run.next().await;
    }
    run.task.stop();
}

#[tokio::test]
async fn a_renamed_folder_is_watched_under_its_new_name() {
    let place = Place::new();
    place.put("x/deep/a.jpg", "PIC1");
    let mut run = Running::start(place, settings()).await;
    run.until_paths(&["x/deep/a.jpg"]).await;
    fs::rename(run.place.path("x"), run.place.path("y")).unwrap();
    run.until_paths(&["y/deep/a.jpg"]).await;
    assert_eq!(
        run.place.index.take_log().last().map(String::as_str),
        Some("-x/deep/a.jpg"),
        "moved, never without"
    );
    run.place.put("y/deep/b.jpg", "PIC2");
    run.until_paths(&["y/deep/a.jpg", "y/deep/b.jpg"]).await;
    run.task.stop();
}

#[tokio::test]
async fn a_missing_marker_is_told_and_its_return_too() {
    let place = Place::new();
    place.put("a.jpg", "PIC1");
    let mut run = Running::start(place, settings()).await;
    run.until_paths(&["a.jpg"]).await;
    let (here, away) = (run.place.path(""), run.place.temp.path().join("away"));
    fs::rename(&here, &away).unwrap();
    fs::create_dir(&here).unwrap();
    let event = run.until(|event| matches!(event, FolderEvent::Trouble(_))).await;
    assert!(matches!(event, FolderEvent::Trouble(text) if text.contains("is its drive mounted?")));
    assert_eq!(run.place.index.paths(), ["a.jpg"]);
    fs::remove_dir(&here).unwrap();
    fs::rename(&away, &here).unwrap();
    run.until(|event| matches!(event, FolderEvent::Recovered)).await;
    // It is another directory to the system, and watched all the same.
    run.place.put("b.jpg", "PIC2");
    run.until_paths(&["a.jpg", "b.jpg"]).await;
    run.task.stop();
}

#[tokio::test]
async fn without_notifications_the_rescan_finds_changes() {
    let settings = TaskSettings { watch: false, rescan_every: Duration::from_millis(50), ..settings() };
    let mut run = Running::start(Place::new(), settings).await;
    run.place.put("a.jpg", "PIC1");
    run.until_paths(&["a.jpg"]).await;
    run.task.stop();
}

#[tokio::test]
async fn a_rescan_and_a_second_look_can_be_asked_for() {
    let settings = TaskSettings { watch: false, ..settings() };
    let mut run = Running::start(Place::new(), settings).await;
    run.place.put("a.jpg", "PIC1");
    run.task.rescan();
    run.until_paths(&["a.jpg"]).await;
    run.place.index.take_log();
    run.task.distrust(rel("a.jpg"));
    while run.place.index.log.lock().unwrap().is_empty() {
        run.next().await;
    }
    assert_eq!(run.place.index.take_log(), ["+a.jpg"]);
    run.task.stop();
}

#[tokio::test]
async fn a_problem_is_told_once() {
    let place = Place::new();
    place.put("bad.jpg", "PIC1");
    place.decoder.before(|_| Err(std::io::Error::other("bad sector")));
    let mut run = Running::start(place, settings()).await;
    run.until(|event| matches!(event, FolderEvent::Problem { path, .. } if *path == rel("bad.jpg"))).await;
    for _ in 0..2 {
        run.task.rescan();
        let event = run
            .until(|event| {
                matches!(event, FolderEvent::ScanDone { full: true, .. } | FolderEvent::Problem { .. })
            })
            .await;
        assert!(matches!(event, FolderEvent::ScanDone { report, .. } if report.problem_count == 1));
    }
    run.task.stop();
}

#[tokio::test]
async fn a_node_that_reads_no_events_can_still_stop() {
    let place = Place::new();
    for n in 0..4 * FOLDER_QUEUE {
        place.put(&format!("{n}.jpg"), "no picture");
    }
    let (index, decoder) = (Arc::clone(&place.index), Arc::clone(&place.decoder));
    let (task, events) = FolderTask::start(place.folder.root(), index, decoder, settings()).unwrap();
    // More problems than the queue holds.
    while events.len() < FOLDER_QUEUE {
        tokio::task::yield_now().await;
    }
    let began = Instant::now();
    task.stop();
    assert!(began.elapsed() < crate::limits::SHUTDOWN_DEADLINE);
    drop(events);
}

#[test]
fn what_is_below_a_changed_folder_is_looked_at_once() {
    let paths = ["a", "a-b", "a/b", "a/c/d", "ab/c"].map(rel);
    assert_eq!(topmost(&paths.into_iter().collect()), ["a", "a-b", "ab/c"].map(rel));
}

#[test]
fn too_many_changes_become_a_rescan() {
    let shared = Shared { inbox: Mutex::default(), wake: Condvar::new(), cancel: Arc::default() };
    for n in 0..=MAX_DIRTY_PATHS {
        shared.mark(rel(&n.to_string()));
    }
    let inbox = shared.inbox();
    assert!(inbox.rescan && inbox.dirty.len() <= MAX_DIRTY_PATHS);
}
