//! Keeps the file of the records in step with memory: what to read and write when, and what
//! people are told when that does not work.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Records;
use super::file;
use super::keeper::{Job, Keeper, News, Opener, Word};
use crate::limits::{RECORD_RETRY_FIRST, RECORD_RETRY_LONGEST, RECORD_SAVE_EVERY, RECORD_SAVE_SHARE};

/// What people are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Something does not work.
    Warning(String),
    /// It works again.
    Notice(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Records of before arrive.
    Reading,
    /// The file could not be opened yet: nothing may be written before it has been read.
    Unread,
    Idle,
    Saving,
}

/// The lasting copy of [`Records`].
#[derive(Debug)]
pub struct Lasting {
    keeper: Keeper,
    file: PathBuf,
    phase: Phase,
    /// When to write, or to try again.
    due: Instant,
    /// Since the last batch that went well.
    failures: u32,
}

impl Lasting {
    /// Begins to read the records at `path`, in a thread of its own. What it finds comes with
    /// [`Lasting::next`].
    ///
    /// # Errors
    /// When the thread can't be started.
    pub fn start(path: PathBuf) -> std::io::Result<Self> {
        Self::with_opener(path, Box::new(file::database))
    }

    pub(super) fn with_opener(path: PathBuf, open: Opener) -> std::io::Result<Self> {
        let keeper = Keeper::start(path.clone(), open)?;
        Ok(Self { keeper, file: path, phase: Phase::Reading, due: Instant::now(), failures: 0 })
    }

    /// Waits until the records of before are in memory, at most so long.
    pub async fn read(&mut self, records: &mut Records, patience: Duration) -> Vec<Said> {
        let mut said = Vec::new();
        let reading = async {
            while self.phase == Phase::Reading
                && let Some(news) = self.next().await
            {
                said.extend(self.on_news(records, news));
            }
        };
        // The rest comes while the node runs.
        let _ = tokio::time::timeout(patience, reading).await;
        said
    }

    /// What the thread has to tell, for [`Lasting::on_news`]; `None` when it is gone.
    pub async fn next(&mut self) -> Option<News> {
        self.keeper.news.recv().await
    }

    /// Takes in what the thread tells. Takes a millisecond or two.
    pub fn on_news(&mut self, records: &mut Records, news: News) -> Option<Said> {
        let now = Instant::now();
        match news.0 {
            Word::Opened(opened) => {
                records.begin_restore(&opened, now, unix());
                None
            }
            Word::Rows(rows) => {
                records.restore(rows, now);
                None
            }
            Word::Ready { warning } => {
                records.end_restore(warning.is_some());
                (self.phase, self.due) = (Phase::Idle, now + RECORD_SAVE_EVERY);
                warning.map(Said::Warning).or_else(|| self.recovered())
            }
            Word::Saved { last, took, warning } => {
                self.phase = Phase::Idle;
                self.due = if last { now + RECORD_SAVE_EVERY.max(took * RECORD_SAVE_SHARE) } else { now };
                self.keep(records, now);
                warning.map(Said::Warning).or_else(|| self.recovered())
            }
            Word::Failed(reason) => self.failed(records, &reason, now),
        }
    }

    /// Writes what has changed, if it is time. To be called now and then.
    pub fn keep(&mut self, records: &mut Records, now: Instant) {
        if now < self.due {
            return;
        }
        match self.phase {
            Phase::Idle if records.has_changes() => self.save(records, now),
            Phase::Unread if self.keeper.give(Job::Open) => self.phase = Phase::Reading,
            Phase::Idle | Phase::Unread | Phase::Reading | Phase::Saving => {}
        }
    }

    /// Writes all that has changed, and ends the thread. Blocks on the disk.
    pub fn finish(mut self, mut records: Records) {
        // Once even without changes: how long the node is off counts from now.
        let mut clock_told = records.is_empty();
        while matches!(self.phase, Phase::Idle | Phase::Saving) {
            if self.phase == Phase::Idle {
                if clock_told && !records.has_changes() {
                    break;
                }
                clock_told = true;
                self.save(&mut records, Instant::now());
            }
            match self.keeper.news.blocking_recv() {
                Some(News(Word::Saved { .. })) => self.phase = Phase::Idle,
                Some(News(Word::Failed(reason))) => {
                    tracing::warn!(reason, "the last provider records are not on the disk");
                    break;
                }
                Some(_) => {}
                None => break,
            }
        }
        self.keeper.stop();
    }

    fn save(&mut self, records: &mut Records, now: Instant) {
        if self.keeper.give(Job::Save(records.take_changes(now, unix()))) {
            self.phase = Phase::Saving;
        } else {
            // The thread has died. Memory goes on.
            records.all_changed();
            self.due = now + RECORD_RETRY_LONGEST;
        }
    }

    fn failed(&mut self, records: &mut Records, reason: &str, now: Instant) -> Option<Said> {
        if self.phase == Phase::Saving {
            // What was not on the disk is lost with the file that was open.
            records.all_changed();
            self.phase = Phase::Idle;
        } else {
            self.phase = Phase::Unread;
        }
        let longer = RECORD_RETRY_FIRST * 2_u32.saturating_pow(self.failures.min(16));
        self.due = now + longer.min(RECORD_RETRY_LONGEST);
        self.failures += 1;
        let file = self.file.display();
        tracing::debug!(%file, reason, "provider records");
        (self.failures == 1).then(|| {
            Said::Warning(format!(
                "provider records can't be kept in {file} ({reason}): they are in memory only until that \
                 works again"
            ))
        })
    }

    fn recovered(&mut self) -> Option<Said> {
        let failures = std::mem::take(&mut self.failures);
        let again = || Said::Notice(format!("provider records are kept in {} again", self.file.display()));
        (failures > 0).then(again)
    }
}

/// Seconds since 1970; a clock before that is at its beginning.
fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
