//! Randomness as a port.

use std::sync::{Mutex, PoisonError};

use rand::rand_core::UnwrapErr;
use rand::rngs::SysRng;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use vidimus_domain::Nonce;

/// Gives random bytes. Implementations for production MUST be cryptographically secure; those for tests are seeded.
pub trait Random: Send + Sync {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);

    /// Sixteen random bytes.
    fn bytes16(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        bytes
    }

    /// A fresh nonce.
    fn nonce(&self) -> Nonce {
        Nonce::from_random(self.bytes16())
    }
}

/// The operating system's generator.
///
/// # Panics
/// Its methods, where the operating system has no randomness to give: nothing could be done safely then.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        UnwrapErr(SysRng).fill_bytes(bytes);
    }
}

/// A generator for tests: the same seed gives the same bytes (xoshiro256++, Blackman and Vigna 2021).
#[derive(Debug)]
pub struct SeededRandom(Mutex<Xoshiro256PlusPlus>);

impl SeededRandom {
    /// Begins at `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(Xoshiro256PlusPlus::seed_from_u64(seed)))
    }
}

impl Random for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_bytes_again_and_the_system_does_not() {
        assert_eq!(SeededRandom::new(7).bytes16(), SeededRandom::new(7).bytes16());
        assert_ne!(SeededRandom::new(7).bytes16(), SeededRandom::new(8).bytes16());
        let seeded = SeededRandom::new(7);
        assert_ne!(seeded.nonce(), seeded.nonce());
        assert_ne!(SystemRandom.bytes16(), SystemRandom.bytes16());
    }
}
