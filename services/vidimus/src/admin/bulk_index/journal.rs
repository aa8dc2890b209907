//! A job's journal: what it is of, and what was answered, one JSON line each.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use vidimus_proto::internal::v1;

/// What is written may be lost for so long when this process is killed: it is asked for again then.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);
/// Reasons that are told apart in a summary.
const REASONS_MAX: usize = 20;

/// What a job is of. It stays so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) tenant: String,
    pub(super) collection: String,
    pub(super) source: String,
    /// The source's content where names depend on it: BLAKE3, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) content: Option<String>,
}

/// What came of a photo, or of one template or a record of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    Enrolled,
    AlreadyThere,
    Gone,
    Refused,
    /// It could not be brought in now. It is not answered: the job's next run tries it again.
    Failed,
}

/// One line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) name: String,
    pub(super) outcome: Outcome,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    #[serde(default)]
    pub(super) faces: u64,
}

/// How many came to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) enrolled: u64,
    pub(super) already_there: u64,
    pub(super) gone: u64,
    pub(super) refused: u64,
    pub(super) failed: u64,
    pub(super) faces: u64,
}

/// The journal of one job, open.
pub(super) struct Journal {
    folder: PathBuf,
    answered: HashSet<String>,
    totals: Totals,
    reasons: BTreeMap<String, u64>,
    answers: BufWriter<File>,
    refusals: BufWriter<File>,
    flushed_at: Instant,
}

impl Answer {
    /// What the service has said of `name`.
    pub(super) fn of(name: String, state: &v1::BulkState) -> Self {
        let outcome = match state.outcome() {
            v1::BulkOutcome::Enrolled => Outcome::Enrolled,
            v1::BulkOutcome::AlreadyThere => Outcome::AlreadyThere,
            v1::BulkOutcome::Gone => Outcome::Gone,
            v1::BulkOutcome::Refused => Outcome::Refused,
            v1::BulkOutcome::Waiting | v1::BulkOutcome::Unspecified => Outcome::Failed,
        };
        let reason = Some(state.reason.clone()).filter(|reason| !reason.is_empty());
        Self { name, outcome, reason, faces: state.face_ids.len() as u64 }
    }

    /// A refusal that needs no service.
    pub(super) fn refused(name: String, reason: String) -> Self {
        Self { name, outcome: Outcome::Refused, reason: Some(reason), faces: 0 }
    }
}

impl Totals {
    pub(super) const fn answered(&self) -> u64 {
        self.enrolled + self.already_there + self.gone + self.refused
    }

    fn count(&mut self, answer: &Answer) {
        let counter = match answer.outcome {
            Outcome::Enrolled => &mut self.enrolled,
            Outcome::AlreadyThere => &mut self.already_there,
            Outcome::Gone => &mut self.gone,
            Outcome::Refused => &mut self.refused,
            Outcome::Failed => &mut self.failed,
        };
        *counter += 1;
        self.faces += answer.faces;
    }
}

impl Journal {
    /// Opens the journal of a job under `root`; makes it where it is new.
    ///
    /// # Errors
    /// Where the job is of something else, or its folder cannot be written.
    pub(super) fn open(root: &Path, job_id: &str, job: &Job) -> anyhow::Result<Self> {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        ensure!(
            !job_id.is_empty() && job_id.len() <= 64 && job_id.bytes().all(is_name),
            "a job's id has 1 to 64 of letters, digits, `_`, `-`"
        );
        let folder = root.join(job_id);
        let opening = || format!("open the journal {}", folder.display());
        fs::create_dir_all(&folder).with_context(opening)?;
        check_job(&folder.join("job.json"), job_id, job)?;
        let mut journal = Self {
            answers: appending(&folder.join("answered.jsonl")).with_context(opening)?,
            refusals: appending(&folder.join("refused.jsonl")).with_context(opening)?,
            answered: HashSet::new(),
            totals: Totals::default(),
            reasons: BTreeMap::new(),
            flushed_at: Instant::now(),
            folder,
        };
        journal.read_answers()?;
        Ok(journal)
    }

    /// When a job was last at work, as far as its journal under `root` tells.
    pub(super) fn last_at_work(root: &Path, job_id: &str) -> Option<SystemTime> {
        fs::metadata(root.join(job_id).join("answered.jsonl")).and_then(|file| file.modified()).ok()
    }

    fn read_answers(&mut self) -> anyhow::Result<()> {
        let path = self.folder.join("answered.jsonl");
        let file = File::open(&path).with_context(|| format!("read {}", path.display()))?;
        for line in BufReader::new(file).split(b'\n') {
            let line = line.with_context(|| format!("read {}", path.display()))?;
            // A line that was cut off when the job was killed, within a letter perhaps, is asked for again.
            if let Ok(answer) = serde_json::from_slice::<Answer>(&line) {
                self.note(&answer);
            }
        }
        Ok(())
    }

    fn note(&mut self, answer: &Answer) {
        if answer.outcome != Outcome::Failed && !self.answered.insert(answer.name.clone()) {
            return;
        }
        self.totals.count(answer);
        if answer.outcome == Outcome::Refused {
            let reason = answer.reason.clone().unwrap_or_default();
            if self.reasons.len() < REASONS_MAX || self.reasons.contains_key(&reason) {
                *self.reasons.entry(reason).or_default() += 1;
            }
        }
    }

    /// Whether it is known what came of it.
    pub(super) fn has(&self, name: &str) -> bool {
        self.answered.contains(name)
    }

    /// Every name of which it is known.
    pub(super) fn names(&self) -> HashSet<String> {
        self.answered.clone()
    }

    /// Writes an answer down.
    pub(super) fn write(&mut self, answer: &Answer) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(answer)?;
        line.push(b'\n');
        if answer.outcome != Outcome::Failed && !self.has(&answer.name) {
            self.answers.write_all(&line).context("write the journal")?;
            if answer.outcome == Outcome::Refused {
                self.refusals.write_all(&line).context("write the refusals")?;
            }
        }
        self.note(answer);
        if self.flushed_at.elapsed() >= FLUSH_INTERVAL {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        self.flushed_at = Instant::now();
        // Refusals first: one that is answered is not asked for again.
        self.refusals.flush().context("write the refusals")?;
        self.answers.flush().context("write the journal")
    }

    /// Writes everything down for good.
    pub(super) fn close(&mut self) -> anyhow::Result<()> {
        self.flush()?;
        self.refusals.get_ref().sync_all().context("write the refusals")?;
        self.answers.get_ref().sync_all().context("write the journal")
    }

    pub(super) const fn totals(&self) -> Totals {
        self.totals
    }

    /// Reasons of refusals and how often each came, as far as they were told apart.
    pub(super) fn reasons(&self) -> impl Iterator<Item = (&str, u64)> {
        self.reasons.iter().map(|(reason, count)| (reason.as_str(), *count))
    }

    pub(super) fn refused_path(&self) -> PathBuf {
        self.folder.join("refused.jsonl")
    }
}

/// Appends behind what is there. What was cut off by a kill is ended first, so that the next line is one of its own.
fn appending(path: &Path) -> std::io::Result<BufWriter<File>> {
    let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
    let length = file.metadata()?.len();
    if length > 0 {
        let mut last = [0];
        file.seek(SeekFrom::Start(length - 1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(BufWriter::new(file))
}

/// A job that is gone on with is of the same things.
fn check_job(path: &Path, job_id: &str, job: &Job) -> anyhow::Result<()> {
    match fs::read(path) {
        Ok(bytes) => {
            let begun: Job = serde_json::from_slice(&bytes).with_context(|| path.display().to_string())?;
            let Job { tenant, collection, source, content } = &begun;
            if (tenant, collection, source) != (&job.tenant, &job.collection, &job.source) {
                bail!("job {job_id} brings {source} into {collection} of {tenant}, and nothing else");
            }
            ensure!(
                *content == job.content,
                "{source} has changed since job {job_id} began: begin another job with a file of what is missing"
            );
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            write_whole(path, &serde_json::to_vec(job)?).with_context(|| format!("write {}", path.display()))
        }
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
    }
}

/// Writes beside and renames: a power loss leaves all of it or nothing.
fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Job {
        let text = |text: &str| text.to_owned();
        Job { tenant: text("acme"), collection: text("staff"), source: text("/photos"), content: None }
    }

    fn answer(name: &str, outcome: Outcome) -> Answer {
        Answer { name: name.to_owned(), outcome, reason: Some("because".to_owned()), faces: 1 }
    }

    #[test]
    fn a_job_goes_on_where_it_was() {
        let root = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(root.path(), "one", &job()).unwrap();
        for (name, outcome) in
            [("a", Outcome::Enrolled), ("b", Outcome::Refused), ("c", Outcome::Failed), ("a", Outcome::Gone)]
        {
            journal.write(&answer(name, outcome)).unwrap();
        }
        journal.close().unwrap();
        drop(journal);
        // The process was killed while it wrote.
        let path = root.path().join("one/answered.jsonl");
        let mut bytes = fs::read(&path).unwrap();
        bytes.extend(b"{\"name\":\"d\xc3");
        fs::write(&path, bytes).unwrap();
        let mut journal = Journal::open(root.path(), "one", &job()).unwrap();
        assert!(journal.has("a") && journal.has("b"));
        assert!(!journal.has("c") && !journal.has("d"), "what failed, or was cut off, is tried again");
        journal.write(&answer("d", Outcome::Enrolled)).unwrap();
        journal.close().unwrap();
        let journal = Journal::open(root.path(), "one", &job()).unwrap();
        assert!(journal.has("d"), "it stands on a line of its own");
        let totals = journal.totals();
        assert_eq!((totals.enrolled, totals.refused, totals.failed, totals.faces), (2, 1, 0, 3));
        assert_eq!(journal.reasons().collect::<Vec<_>>(), [("because", 1)]);
        let refused = fs::read_to_string(journal.refused_path()).unwrap();
        assert_eq!(refused.lines().count(), 1);
    }

    #[test]
    fn a_job_is_of_one_thing() {
        let root = tempfile::tempdir().unwrap();
        drop(Journal::open(root.path(), "one", &job()).unwrap());
        let other = Job { collection: "other".to_owned(), ..job() };
        let error = Journal::open(root.path(), "one", &other).err().unwrap().to_string();
        assert!(error.contains("into staff of acme"), "{error}");
        let changed = Job { content: Some("00".to_owned()), ..job() };
        let error = Journal::open(root.path(), "one", &changed).err().unwrap().to_string();
        assert!(error.contains("has changed since"), "{error}");
        for bad in ["", "a/b", "..", "a b", &"x".repeat(65)] {
            assert!(Journal::open(root.path(), bad, &job()).is_err(), "{bad:?}");
        }
    }
}
