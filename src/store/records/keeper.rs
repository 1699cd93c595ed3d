//! The thread that reads and writes the file of the records.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use redb::{Database, Durability};
use tokio::sync::mpsc;

use super::file::{self, Fault, RecordFile, Unusable};
use super::passing::{Batch, Opened, Row};
use crate::limits::{MAX_LAZY_RECORD_CHUNKS, RECORD_QUEUE};

/// What the thread has to tell.
#[derive(Debug)]
pub struct News(pub(super) Word);

#[derive(Debug)]
pub(super) enum Word {
    /// The file is open; its rows come next.
    Opened(Opened),
    Rows(Vec<Row>),
    /// All was read. With a warning it was not: another file has taken the place of this one.
    Ready {
        warning: Option<String>,
    },
    /// A batch is in the file; after the last one, on the disk.
    Saved {
        last: bool,
        took: Duration,
        warning: Option<String>,
    },
    /// The file can't be used now. What was not on the disk may be lost.
    Failed(String),
}

pub(super) enum Job {
    /// Try again to open the file.
    Open,
    Save(Batch),
}

/// Opens the database; the tests have some that fail.
pub(super) type Opener = Box<dyn Fn(&Path) -> Result<Database, Fault> + Send>;

/// The thread, as the node has it.
#[derive(Debug)]
pub(super) struct Keeper {
    jobs: SyncSender<Job>,
    pub(super) news: mpsc::Receiver<News>,
    thread: JoinHandle<()>,
}

impl Keeper {
    pub(super) fn start(path: PathBuf, open: Opener) -> std::io::Result<Self> {
        // One is worked on, none waits: what to write next is decided when it can be written.
        let (jobs, inbox) = sync_channel(1);
        let (outbox, news) = mpsc::channel(RECORD_QUEUE);
        let worker = Worker { path, open, news: outbox, file: None, lazy: 0 };
        let thread =
            std::thread::Builder::new().name("records".to_owned()).spawn(move || _ = worker.run(&inbox))?;
        Ok(Self { jobs, news, thread })
    }

    /// `false` when the thread is busy, or gone.
    pub(super) fn give(&self, job: Job) -> bool {
        match self.jobs.try_send(job) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }

    /// Ends the thread, and waits for that.
    pub(super) fn stop(self) {
        let Self { jobs, news, thread } = self;
        drop((jobs, news));
        if thread.join().is_err() {
            tracing::error!("the thread of the provider records has died");
        }
    }
}

struct Worker {
    path: PathBuf,
    open: Opener,
    news: mpsc::Sender<News>,
    file: Option<RecordFile>,
    /// Batches written since the disk was last waited for.
    lazy: u32,
}

/// The node listens no more.
struct Deaf;

impl Worker {
    fn run(mut self, jobs: &Receiver<Job>) -> Result<(), Deaf> {
        while let Err(reason) = self.read()? {
            self.tell(Word::Failed(reason))?;
            // Whatever the job is, it is to try again.
            jobs.recv().map_err(|_| Deaf)?;
        }
        loop {
            let Job::Save(batch) = jobs.recv().map_err(|_| Deaf)? else { continue };
            let start = Instant::now();
            let word = match self.save(&batch) {
                Ok(warning) => Word::Saved { last: batch.last, took: start.elapsed(), warning },
                Err(reason) => {
                    self.file = None;
                    Word::Failed(reason)
                }
            };
            self.tell(word)?;
        }
    }

    fn tell(&self, word: Word) -> Result<(), Deaf> {
        self.news.blocking_send(News(word)).map_err(|_| Deaf)
    }

    /// Reads the whole file, or begins another one.
    fn read(&mut self) -> Result<Result<(), String>, Deaf> {
        let warning = match self.read_file()? {
            Ok(()) => None,
            Err(Unusable::Storage(reason)) => return Ok(Err(reason)),
            Err(Unusable::Damaged(reason)) => match self.begin_anew(&reason) {
                Ok(warning) => Some(warning),
                Err(reason) => return Ok(Err(reason)),
            },
        };
        self.tell(Word::Ready { warning })?;
        Ok(Ok(()))
    }

    fn read_file(&mut self) -> Result<Result<(), Unusable>, Deaf> {
        let opened = RecordFile::open(|| (self.open)(&self.path));
        let read = opened.and_then(|file| file.opened().map(|opened| (file, opened)));
        let (file, opened) = match read {
            Ok(read) => read,
            Err(unusable) => return Ok(Err(unusable)),
        };
        self.tell(Word::Opened(opened))?;
        let mut deaf = false;
        let read = file.read(|rows| {
            deaf = self.tell(Word::Rows(rows)).is_err();
            !deaf
        });
        if deaf {
            return Err(Deaf);
        }
        self.file = Some(file);
        Ok(read)
    }

    /// Sets the file aside and makes a new one; tells what people should know.
    fn begin_anew(&mut self, reason: &str) -> Result<String, String> {
        self.file = None;
        let aside = file::set_aside(&self.path).map_err(|error| format!("{reason}; set aside: {error}"))?;
        let opened = RecordFile::open(|| (self.open)(&self.path));
        self.file = Some(opened.map_err(Unusable::reason)?);
        self.lazy = 0;
        let (file, aside) = (self.path.display(), aside.display());
        Ok(format!(
            "the provider records in {file} can't be read ({reason}): the file is now {aside}, and the \
             records come again from the other nodes"
        ))
    }

    fn save(&mut self, batch: &Batch) -> Result<Option<String>, String> {
        let mut warning = None;
        if self.file.is_none() {
            match RecordFile::open(|| (self.open)(&self.path)) {
                Ok(file) => self.file = Some(file),
                Err(Unusable::Storage(reason)) => return Err(reason),
                Err(Unusable::Damaged(reason)) => warning = Some(self.begin_anew(&reason)?),
            }
            self.lazy = 0;
        }
        let Some(file) = &self.file else { return Err("it is not open".to_owned()) };
        let durable = batch.last || self.lazy >= MAX_LAZY_RECORD_CHUNKS;
        let durability = if durable { Durability::Immediate } else { Durability::None };
        match file.write(batch, durability) {
            Ok(()) => {
                self.lazy = if durable { 0 } else { self.lazy + 1 };
                Ok(warning)
            }
            Err(Unusable::Storage(reason)) => Err(reason),
            // The next batch finds the place empty and begins a new file.
            Err(Unusable::Damaged(reason)) => {
                self.file = None;
                Err(match file::set_aside(&self.path) {
                    Ok(aside) => format!("{reason}; the file is now {}", aside.display()),
                    Err(error) => format!("{reason}; set aside: {error}"),
                })
            }
        }
    }
}
