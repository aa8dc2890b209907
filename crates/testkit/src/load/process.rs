//! What a process of this machine takes, from `/proc` (proc(5)).

use std::fs;
use std::time::Duration;

use anyhow::Context;

/// Clock ticks of a second in `/proc`: 100 on Linux for x86_64 (`USER_HZ`).
const TICKS_A_SECOND: u64 = 100;
/// Fields of `stat` after the command's name: `utime` and `stime` are the 12th and 13th, counted from the state.
const UTIME: usize = 11;
/// Bytes of a page.
const PAGE_BYTES: u64 = 4096;

/// A process that is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    pid: u32,
}

impl Process {
    /// The process of that id.
    #[must_use]
    pub const fn new(pid: u32) -> Self {
        Self { pid }
    }

    /// CPU time that it has taken so far, all threads together, to 10 ms.
    ///
    /// # Errors
    /// Where there is no such process.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        let stat = self.read("stat")?;
        let after_name = stat.rsplit_once(')').map(|(_, rest)| rest).context("read stat")?;
        let fields = after_name.split_whitespace().skip(UTIME).take(2);
        let ticks = fields.map(str::parse::<u64>).sum::<Result<u64, _>>().context("read stat")?;
        Ok(Duration::from_millis(ticks * 1000 / TICKS_A_SECOND))
    }

    /// Its resident memory.
    ///
    /// # Errors
    /// Where there is no such process.
    pub fn resident_bytes(&self) -> anyhow::Result<u64> {
        let statm = self.read("statm")?;
        let pages = statm.split_whitespace().nth(1).context("read statm")?;
        Ok(pages.parse::<u64>().context("read statm")? * PAGE_BYTES)
    }

    fn read(&self, name: &str) -> anyhow::Result<String> {
        let path = format!("/proc/{}/{name}", self.pid);
        fs::read_to_string(&path).with_context(|| format!("read {path}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_takes_time_and_memory() {
        let own = Process::new(std::process::id());
        let before = own.cpu().unwrap();
        let began = std::time::Instant::now();
        while began.elapsed() < Duration::from_millis(100) {
            std::hint::spin_loop();
        }
        assert!(own.cpu().unwrap() > before);
        assert!((1 << 20..1 << 40).contains(&own.resident_bytes().unwrap()));
        assert!(Process::new(u32::MAX).cpu().is_err());
    }
}
