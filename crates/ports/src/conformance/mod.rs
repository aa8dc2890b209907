//! One public conformance suite for each port.

pub mod blob_store;
pub mod event_log;
pub mod face_index;
pub mod galleries;
pub mod photo_source;
