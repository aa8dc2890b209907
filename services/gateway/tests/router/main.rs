//! The gateway's router against fake roles: what clients send and get, and what the roles are asked.

#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

mod bulk;
mod collections;
mod door;
mod faces;
mod fakes;
mod grpc;
mod house;
mod images;
mod network;
