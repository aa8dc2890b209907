//! The Qdrant adapter against a server: the one that `QDRANT_URL` names, else a `qdrant-dev` of each test's own.
//!
//! What kills the server, or shows what only `qdrant-dev` refuses, runs on a `qdrant-dev` in any case.

mod conformance;
mod fixture;
mod kill;
mod recall;
mod server;
mod setup;
mod strictness;
