//! An answer on its way from one process to another.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::executor::{Lost, Process};
use crate::random::millis;

/// Where an answer is put and waited for. Its giver may die before.
pub struct Reply<T>(Rc<RefCell<Option<Result<T, Lost>>>>);

impl<T> Default for Reply<T> {
    fn default() -> Self {
        Self(Rc::new(RefCell::new(None)))
    }
}

impl<T> Clone for Reply<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T> Reply<T> {
    pub fn give(self, answer: Result<T, Lost>) {
        *self.0.borrow_mut() = Some(answer);
    }

    /// Waits for the answer; `Lost` where it has not come in time, or its giver has died.
    pub async fn wait(&self, process: &Process, wait: Duration) -> Result<T, Lost> {
        let until = process.now().plus(wait);
        let mut pause = millis(1);
        loop {
            if let Some(answer) = self.0.borrow_mut().take() {
                return answer;
            }
            if Rc::strong_count(&self.0) == 1 || process.now() >= until {
                return Err(Lost);
            }
            process.sleep(pause.min(until.since(process.now()))).await;
            pause = (pause * 2).min(millis(60_000));
        }
    }
}
