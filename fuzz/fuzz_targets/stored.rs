//! A stored record, event or catalog object.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vidimus_domain::fuzzing::stored_values(data));
