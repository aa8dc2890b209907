//! Killing the process at a stage.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail};
use rustix::process::{Signal, getpid, kill_process};
use vidimus::adapters::Adapters;
use vidimus_ports::faulty::{
    FaultyBlobStore, FaultyEventLog, FaultyFaceIndex, Interference, Moment, Stage, StageHook,
};

/// Names the stage to die at: `STAGE|before|COUNT` or `STAGE|after|COUNT`, as in `record put|after|3`; see [`Stage`]'s
/// names.
pub const KILL_AT: &str = "VIDIMUS_KILL_AT";
/// Names the file that the current stage is noted in: `STAGE|before` or `STAGE|after`, padded with spaces.
pub const STAGE_FILE: &str = "VIDIMUS_STAGE_FILE";

/// A note's length in bytes.
const NOTE_BYTES: usize = 64;

/// A stage to die at.
#[derive(Clone, Debug, PartialEq, Eq)]
struct KillAt {
    stage: String,
    moment: Moment,
    count: u64,
}

impl KillAt {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let parts: Vec<&str> = text.split('|').collect();
        let [stage, moment, count] = parts[..] else {
            bail!("{KILL_AT}={text}: it must be STAGE|before or after|COUNT");
        };
        let moment = match moment {
            "before" => Moment::Before,
            "after" => Moment::After,
            other => bail!("{KILL_AT}: {other} is neither before nor after"),
        };
        Ok(Self { stage: stage.to_owned(), moment, count: count.parse().context(KILL_AT)? })
    }
}

struct Striker {
    kill_at: Option<KillAt>,
    note: Option<File>,
    seen: Mutex<HashMap<(Stage, Moment), u64>>,
}

impl Striker {
    fn at(&self, stage: Stage, moment: Moment) {
        if let Some(note) = &self.note {
            let side = if moment == Moment::Before { "before" } else { "after" };
            let text = format!("{:<NOTE_BYTES$}", format!("{stage}|{side}"));
            // A note that cannot be written shows in the test, which finds none.
            let _ = note.write_at(text.as_bytes(), 0);
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let count = seen.entry((stage, moment)).or_default();
        *count += 1;
        let due = |kill_at: &KillAt| {
            kill_at.moment == moment && kill_at.count == *count && kill_at.stage == stage.to_string()
        };
        if self.kill_at.as_ref().is_some_and(due) {
            // Nothing runs after it: SIGKILL cannot be caught.
            let _ = kill_process(getpid(), Signal::KILL);
        }
    }
}

/// Wraps the adapters as the environment says.
///
/// # Errors
/// Where a variable cannot be understood or the note's file cannot be opened.
pub fn wrap(adapters: Adapters, variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<Adapters> {
    let kill_at = variable(KILL_AT).map(|text| KillAt::parse(&text)).transpose()?;
    let note = variable(STAGE_FILE).map(|path| open_note(Path::new(&path))).transpose()?;
    if kill_at.is_none() && note.is_none() {
        return Ok(adapters);
    }
    let striker = Striker { kill_at, note, seen: Mutex::default() };
    let hook: Arc<dyn Interference> =
        Arc::new(StageHook::new(move |stage, moment| striker.at(stage, moment)));
    Ok(Adapters {
        blobs: adapters.blobs.map(|blobs| Arc::new(FaultyBlobStore::new(blobs, Arc::clone(&hook))) as _),
        log: adapters.log.map(|log| Arc::new(FaultyEventLog::new(log, Arc::clone(&hook))) as _),
        index: adapters.index.map(|index| Arc::new(FaultyFaceIndex::new(index, hook)) as _),
        ..adapters
    })
}

fn open_note(path: &Path) -> anyhow::Result<File> {
    OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .open(path)
        .with_context(|| format!("open {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_to_die_at_are_read() {
        let kill_at = KillAt::parse("record put|after|3").unwrap();
        assert_eq!(kill_at, KillAt { stage: "record put".to_owned(), moment: Moment::After, count: 3 });
        for wrong in ["", "commit", "commit|never|1", "commit|after|x"] {
            assert!(KillAt::parse(wrong).is_err(), "{wrong}");
        }
    }
}
