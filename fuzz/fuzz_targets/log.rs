//! A file of the durable log.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vidimus_files::fuzzing::log(data));
