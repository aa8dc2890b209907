//! The adapter against a real server: SeaweedFS, which each test starts for itself on free ports and in a temporary folder.

#![expect(clippy::unwrap_used, reason = "all of this is a test")]

mod answers;
mod check;
mod conformance;
mod outages;
mod proxy;
mod puts;
mod reads;
mod scripted;
mod server;
mod versions;
