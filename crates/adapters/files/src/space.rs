//! Room on the disk, and what is kept of it for deletions.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use vidimus_ports::{PortError, PortErrorKind, PortResult};

use crate::disk::Disk;
use crate::error::port_error;

/// How long a reading of the free room serves; what is admitted meanwhile is taken off it.
const READING_SERVES: Duration = Duration::from_secs(1);

/// Admits writes that make the store grow while more room than the reserve is left.
///
/// On a full disk deletions must go on, and they need a little room themselves: an erased face is a record that is put
/// again (smaller), a change, an audit record, a commit. So what may be refused (new objects, photos to embed) stops
/// short of the reserve, and the rest may use it up.
pub(crate) struct Space {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    reserve_bytes: u64,
    serves: Duration,
    reading: Mutex<Option<(Instant, u64)>>,
}

impl Space {
    pub(crate) fn new(disk: Arc<dyn Disk>, path: PathBuf, reserve_bytes: u64) -> Self {
        Self { disk, path, reserve_bytes, serves: READING_SERVES, reading: Mutex::default() }
    }

    /// Reads the free room every time.
    #[cfg(test)]
    pub(crate) fn always_read(mut self) -> Self {
        self.serves = Duration::ZERO;
        self
    }

    /// Refuses with `Full` where `bytes` more would touch the reserve.
    pub(crate) fn admit(&self, bytes: u64) -> PortResult<()> {
        if self.reserve_bytes == 0 {
            return Ok(());
        }
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let (read_at, free_bytes) = match *reading {
            Some((read_at, free_bytes)) if read_at.elapsed() < self.serves => (read_at, free_bytes),
            _ => {
                let free_bytes = self.disk.free_bytes(&self.path);
                (Instant::now(), free_bytes.map_err(port_error("read free space"))?)
            }
        };
        let admitted = free_bytes >= self.reserve_bytes.saturating_add(bytes);
        *reading = Some((read_at, if admitted { free_bytes - bytes } else { free_bytes }));
        if admitted {
            return Ok(());
        }
        Err(PortError::new(PortErrorKind::Full, "admit write").because(format!(
            "{free_bytes} bytes are free and {} are kept for deletions",
            self.reserve_bytes
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulated::SimulatedDisk;

    #[test]
    fn what_is_admitted_is_taken_off_the_reading() {
        let disk = SimulatedDisk::new(1);
        disk.set_free_bytes(100);
        let space = Space::new(Arc::new(disk.clone()), PathBuf::from("/"), 50);
        space.admit(30).unwrap();
        assert_eq!(space.admit(30).unwrap_err().kind(), PortErrorKind::Full);
        space.admit(20).unwrap();
        disk.set_free_bytes(1000);
        assert_eq!(space.admit(1).unwrap_err().kind(), PortErrorKind::Full, "the reading still serves");
        let anew = space.always_read();
        anew.admit(900).unwrap();
        anew.admit(900).unwrap();
        assert_eq!(anew.admit(951).unwrap_err().kind(), PortErrorKind::Full);
    }
}
