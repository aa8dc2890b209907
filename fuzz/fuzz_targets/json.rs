//! A request of every operation.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vidimus_gateway::fuzzing::json(data));
